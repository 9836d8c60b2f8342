"""Segments as subtitles: SubRip (.srt) and WebVTT (.vtt), which every player shows over the video."""

from lineact.temporal.activitynet import rows_of
from lineact.temporal.segments import Segments


def srt_of(segments: Segments) -> str:
    """SubRip's text: numbered, with a comma before the milliseconds."""
    cues = [
        f"{number}\n{_time(start_s, ',')} --> {_time(end_s, ',')}\n{_line(label)} {score:.2f}\n"
        for number, (_, start_s, end_s, label, score) in enumerate(rows_of(segments), 1)
    ]
    return "\n".join(cues)


def vtt_of(segments: Segments) -> str:
    """WebVTT's text; what has a meaning in it is escaped."""
    cues = []
    for _, start_s, end_s, label, score in rows_of(segments):
        escaped = _line(label).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        cues.append(f"{_time(start_s, '.')} --> {_time(end_s, '.')}\n{escaped} {score:.2f}\n")
    return "\n".join(["WEBVTT\n", *cues])


def _line(label: str) -> str:
    return " ".join(label.split())  # an empty line would end the cue


def _time(seconds: float, point: str) -> str:
    whole_ms = round(seconds * 1000)
    minutes, milliseconds = divmod(whole_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"
