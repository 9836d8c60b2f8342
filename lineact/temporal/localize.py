"""`python -m lineact.temporal.localize --bundle DIR --localizer DIR [--out DIR] VIDEO...`: when each action happened.

Prints a video's segments and writes them: segments.json (ActivityNet's layout), segments.csv, subtitles (.srt, .vtt)
and a timeline (.png) for each video.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lineact.errors import InputError, LineactError
from lineact.files import write_csv, write_text
from lineact.temporal.activitynet import rows_of, write_predictions
from lineact.temporal.segments import MEANT_SCORE, Row, Segments, segments_of
from lineact.temporal.subtitles import srt_of, vtt_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lineact.temporal.localize", description="Tells when each action of a video happened."
    )
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--bundle", type=Path, required=True, help="the released pair's folder")
    parser.add_argument("--localizer", type=Path, required=True, help="the trained localiser's folder")
    parser.add_argument("--out", type=Path, default=Path("segments"), help="folder of what is written (segments)")
    parser.add_argument("--min-score", type=float, default=MEANT_SCORE, help=f"surer segments alone ({MEANT_SCORE})")
    asked = parser.parse_args(arguments)
    try:
        _localize(asked.bundle, asked.localizer, asked.videos, asked.out, asked.min_score)
    except LineactError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _localize(bundle_folder: Path, localizer_folder: Path, videos: list[Path], out: Path, min_score: float) -> None:
    from lineact.bundle import load_bundle
    from lineact.temporal.features.student import extract
    from lineact.temporal.localizer import load_localizer

    if missing := [str(path) for path in videos if not path.is_file()]:
        raise InputError(f"expected videos, found no file {', '.join(missing)}")
    bundle, localizer = load_bundle(bundle_folder), load_localizer(localizer_folder)
    found: list[Row] = []
    for path in videos:
        extraction = extract(bundle, path, path.name, localizer.spec.clips)
        segments = localizer.segments(extraction.features)
        meant = in_order(segments.take(segments.scores >= min_score))
        found += rows_of(meant)
        _tell(path, meant, extraction.real_time_factor)
        _write_one(out, path.stem, meant, localizer.spec.labels, extraction.features.duration_s)
    write_predictions(out / "segments.json", segments_of(found))
    rows = [(video, f"{start:.3f}", f"{end:.3f}", label, f"{score:.4f}") for video, start, end, label, score in found]
    write_csv(out / "segments.csv", ("video", "start_s", "end_s", "action", "score"), rows)


def in_order(segments: Segments) -> Segments:
    """By their start."""
    return segments.take(segments.start_s.argsort(kind="stable"))


def _tell(path: Path, segments: Segments, real_time_factor: float) -> None:
    print(f"{path}: {len(segments)} actions, {real_time_factor:.2f} s of work for each second of video")
    for _, start_s, end_s, label, score in rows_of(segments):
        print(f"  {start_s:8.2f} - {end_s:8.2f} s  {label}  {score:.2f}")


def _write_one(out: Path, stem: str, segments: Segments, labels: tuple[str, ...], duration_s: float) -> None:
    from lineact.temporal.timeline import draw_timeline

    write_text(out / f"{stem}.srt", srt_of(segments))
    write_text(out / f"{stem}.vtt", vtt_of(segments))
    draw_timeline(out / f"{stem}.png", {"found": segments}, labels, duration_s, stem)


if __name__ == "__main__":
    sys.exit(main())
