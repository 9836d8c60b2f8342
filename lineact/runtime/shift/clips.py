"""Short clips of deviations, cut out of recordings or of what a station kept."""

import io
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lineact.errors import InputError
from lineact.runtime.shift.reading import Finding, Recording
from lineact.runtime.sources.files import start_utc_s
from lineact.video import find_videos, opened_video

BEFORE_S, AFTER_S = 1.5, 1.5  # shown around a deviation
MOST_S = 20.0  # a longer one is shown from its start on
LONG_SIDE_PX = 480
MOST_FPS = 12.5
TICKS_PER_S = 90_000
JPEG_QUALITY = 70

log = logging.getLogger(__name__)


class Clip(NamedTuple):
    """A clip and a picture of it.

    Attributes:
        mp4: H.264, no sound.
        jpeg: from its middle.
    """

    mp4: bytes
    jpeg: bytes


class Video(NamedTuple):
    """A file that clips are cut from.

    Attributes:
        path: where it is.
        start_utc_s: seconds since 1970 of its begin.
        first_s: its first timestamp, media seconds.
        duration_s: its length.
    """

    path: Path
    start_utc_s: float
    first_s: float
    duration_s: float


def videos_of(path: Path) -> list[Video]:
    """A file, or all videos of a folder; those that cannot be read are named and left out.

    Raises:
        InputError: where none can be read.
    """
    import av

    found = []
    for one in find_videos(path):
        try:
            with opened_video(one) as container:
                stream = container.streams.video[0]
                first_s = float((stream.start_time or 0) * stream.time_base)
                duration_s = (container.duration or 0) / av.time_base
                found.append(Video(one, start_utc_s(one, container), first_s, duration_s))
        except (InputError, FileNotFoundError) as error:  # a station that runs removes its oldest
            log.warning("%s; no clips from it", error)
    if not found:
        raise InputError(f"{path}: expected videos to cut clips from, found none that can be read")
    return found


def clip_of(finding: Finding, recording: Recording, videos: list[Video]) -> Clip | None:
    """A clip; None where no video shows that time."""
    place = _place(finding, recording, videos)
    if place is None:
        return None
    video, at_s = place
    length_s = min(finding.end_s - finding.start_s, MOST_S)
    try:
        return _cut(video.path, at_s - BEFORE_S, at_s + length_s + AFTER_S)
    except (InputError, FileNotFoundError) as error:
        log.warning("%s; no clip of it", error)
        return None


def _place(finding: Finding, recording: Recording, videos: list[Video]) -> tuple[Video, float] | None:
    """The video that shows a finding, and when in it."""
    named = [video for video in videos if recording.name in (video.path.name, video.path.stem)]
    if named or (len(videos) == 1 and not recording.is_utc):
        return (named or videos)[0], finding.media_s
    if not recording.is_utc:
        return None
    for video in videos:
        since_s = finding.start_s - video.start_utc_s
        if 0 <= since_s < video.duration_s:
            return video, video.first_s + since_s
    return None


def _cut(path: Path, from_s: float, to_s: float) -> Clip | None:
    import av
    import cv2

    file = io.BytesIO()
    written: Any = None
    still = np.zeros(0, np.uint8)
    with av.open(file, "w", format="mp4") as container:
        for picture, at_s in _pictures(path, from_s, to_s):
            if written is None:
                written = container.add_stream("libx264", options={"preset": "veryfast", "crf": "30", "g": "25"})
                scale = min(LONG_SIDE_PX / max(picture.width, picture.height), 1.0)
                written.width, written.height = (
                    max(round(side * scale / 2) * 2, 2) for side in (picture.width, picture.height)
                )
                written.pix_fmt = "yuv420p"
                written.codec_context.time_base = Fraction(1, TICKS_PER_S)
                first_s = at_s
            small = picture.reformat(written.width, written.height, "yuv420p")
            small.pts, small.time_base = round((at_s - first_s) * TICKS_PER_S), Fraction(1, TICKS_PER_S)
            small.pict_type = 0
            container.mux(written.encode(small))
            if not still.size or at_s <= (from_s + to_s) / 2:
                still = small.to_ndarray(format="bgr24")
        if written is not None:
            container.mux(written.encode(None))
    if written is None:
        return None
    jpeg = cv2.imencode(".jpg", still, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return Clip(file.getvalue(), jpeg)


def _pictures(path: Path, from_s: float, to_s: float) -> Iterator[tuple[Any, float]]:
    """Pictures of a span, at most `MOST_FPS` a second, with their media seconds."""
    with opened_video(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        container.seek(max(round(from_s / stream.time_base), 0), stream=stream)
        last_s = float("-inf")
        for picture in container.decode(stream):
            if picture.pts is None or picture.width < 1:
                continue
            at_s = float(picture.pts * stream.time_base)
            if at_s >= to_s:
                return
            if at_s >= from_s and at_s - last_s >= 1 / MOST_FPS - 1e-6:
                last_s = at_s
                yield picture, at_s
