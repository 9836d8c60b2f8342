"""`python -m lineact.temporal.localize --bundle DIR --localizer DIR [--out DIR] VIDEO...`: when each action happened.

Prints a video's segments and writes them: segments.json (ActivityNet's layout), segments.csv, subtitles (.srt, .vtt)
and a timeline (.png) for each video. With --follow it takes one file or camera, plays it at its own rate, and tells
each segment within 2 s of its end, as a line of JSON.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lineact.errors import ConfigError, InputError, LineactError
from lineact.files import write_csv, write_text
from lineact.temporal.activitynet import rows_of, write_predictions
from lineact.temporal.segments import MEANT_SCORE, Row, Segments, segments_of
from lineact.temporal.subtitles import srt_of, vtt_of

if TYPE_CHECKING:
    from lineact.runtime.frame import Frame
    from lineact.temporal.features.student import Pair
    from lineact.temporal.follow import Follower


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lineact.temporal.localize", description="Tells when each action of a video happened."
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO")
    parser.add_argument("--bundle", type=Path, help="the released pair's folder, which makes rows of the kind student")
    parser.add_argument("--localizer", type=Path, required=True, help="the trained localiser's folder")
    parser.add_argument("--out", type=Path, default=Path("segments"), help="folder of what is written (segments)")
    parser.add_argument("--min-score", type=float, default=MEANT_SCORE, help=f"surer segments alone ({MEANT_SCORE})")
    parser.add_argument("--follow", action="store_true", help="tells segments while the one video or camera runs")
    asked = parser.parse_args(arguments)
    if asked.follow and len(asked.videos) > 1:
        parser.error(f"--follow: expected one video or camera, found {len(asked.videos)}")
    if not 0 <= asked.min_score <= 1:
        parser.error(f"--min-score: expected 0 to 1, found {asked.min_score:g}")
    try:
        if asked.follow:
            _follow(asked.bundle, asked.localizer, asked.videos[0], asked.min_score)
        else:
            _localize(asked.bundle, asked.localizer, [Path(one) for one in asked.videos], asked.out, asked.min_score)
    except LineactError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _localize(
    bundle_folder: Path | None, localizer_folder: Path, videos: list[Path], out: Path, min_score: float
) -> None:
    from lineact.temporal.features.opening import extractor_of
    from lineact.temporal.localizer import load_localizer

    if missing := [str(path) for path in videos if not path.is_file()]:
        raise InputError(f"expected videos, found no file {', '.join(missing)}")
    stems = Counter(path.stem for path in videos)
    if twice := [str(path) for path in videos if stems[path.stem] > 1]:
        raise InputError(
            f"expected videos of different names, for what is written is named as they are, found {', '.join(twice)}; "
            "call the command for each of them, with another --out"
        )
    localizer = load_localizer(localizer_folder)
    extractor = extractor_of(localizer.spec.extractor, bundle_folder)
    localizer.spec.check_maker(extractor)
    found: list[Row] = []
    for path in videos:
        extraction = extractor.extract(path, path.name, localizer.spec.clips)
        segments = localizer.segments(extraction.features)
        meant = in_order(segments.take(segments.scores >= min_score))
        found += rows_of(meant)
        _tell(path, meant, extraction.real_time_factor)
        _write_one(out, path.stem, meant, localizer.spec.labels, extraction.features.duration_s)
    write_predictions(out / "segments.json", segments_of(found))
    rows = [(video, f"{start:.3f}", f"{end:.3f}", label, f"{score:.4f}") for video, start, end, label, score in found]
    write_csv(out / "segments.csv", ("video", "start_s", "end_s", "action", "score"), rows)


def _follow(bundle_folder: Path | None, localizer_folder: Path, address: str, min_score: float) -> None:
    from lineact.runtime.settings import SourceSettings
    from lineact.runtime.sources import camera_name, open_source
    from lineact.temporal.features.opening import STUDENT, student_of
    from lineact.temporal.follow import Follower, FollowParams
    from lineact.temporal.localizer import load_localizer

    localizer = load_localizer(localizer_folder)
    if localizer.spec.extractor.name != STUDENT or bundle_folder is None:
        raise ConfigError(
            f"--follow: expected a localiser of rows that the released pair makes, and --bundle, found one of "
            f"{localizer.spec.extractor.name} and {bundle_folder or 'no bundle'}"
        )
    student = student_of(bundle_folder)
    localizer.spec.check_maker(student)
    source = open_source(address, SourceSettings(mode="latest"))
    follower = Follower(localizer, camera_name(address), FollowParams(min_score=min_score))
    for row in followed(student.pair, source, follower, localizer.spec.clips.fps):
        _, start_s, end_s, label, score = row
        told = {"action": label, "start_s": round(start_s, 3), "end_s": round(end_s, 3), "score": round(score, 4)}
        print(json.dumps(told), flush=True)


def followed(pair: "Pair", frames: "Iterable[Frame]", follower: "Follower", fps: float) -> Iterator[Row]:
    """Segments as they end.

    Args:
        pair: the released one.
        frames: of a running source.
        follower: of that source.
        fps: frames a second that are looked at.
    """
    from lineact.temporal.features import Rate
    from lineact.temporal.features.student import row_of

    chosen, first_s, now_s = Rate(fps), None, 0.0
    for frame in frames:
        first_s = frame.pts_s if first_s is None else first_s
        now_s = frame.pts_s - first_s
        if chosen.takes(frame.pts_s):
            yield from follower.push(now_s, row_of(pair, frame.rgb()))
    yield from follower.close(now_s)


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
