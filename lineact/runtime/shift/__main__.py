"""The shift report: `python -m lineact.runtime.shift --events DIR --out report.html [--bundle DIR] [--video PATH]`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from lineact.bundle.manifest import MANIFEST, manifest_in
from lineact.bundle.work import WorkSettings
from lineact.errors import ConfigError, InputError, LineactError
from lineact.files import write_text
from lineact.runtime.settings import read_settings
from lineact.runtime.shift.clips import Video, clip_of, videos_of
from lineact.runtime.shift.drawing import Mark
from lineact.runtime.shift.figures import figures_of
from lineact.runtime.shift.page import Part, page
from lineact.runtime.shift.reading import Recording, between, read_recordings, with_work
from lineact.runtime.work.events import CYCLE

IDLE_S = 10.0  # where no standard says otherwise
MOST_CLIPS = 60  # of a page; about 0.1 to 0.3 MB each


def arguments_of(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(
        prog="python -m lineact.runtime.shift",
        description="Writes what was done when, cycle times and deviations as one HTML page.",
        epilog="With --bundle or --settings cycles and deviations are found anew in the actions; without, they are "
        "those that the station reported. Ends with 0; 2 a setting, 3 a file, 74 a full disk.",
    )
    parser.add_argument("--events", type=Path, required=True, help="a station's folder, or segments.json or .csv")
    parser.add_argument("--out", type=Path, default=Path("shift.html"), help="the page; default: %(default)s")
    parser.add_argument("--bundle", type=Path, help="folder of the released pair, for its standard work")
    parser.add_argument("--settings", type=Path, help="the runtime's TOML file, for its section [work]")
    parser.add_argument("--video", type=Path, help="a recording or a folder of them, for clips of deviations")
    parser.add_argument(
        "--clips", type=int, default=MOST_CLIPS, help="at most so many; 0 for none; default: %(default)s"
    )
    parser.add_argument("--from", dest="begin", default="", help="time of day and date, e.g. 2026-11-21T06:00")
    parser.add_argument("--to", dest="end", default="", help="likewise")
    return parser.parse_args(given)


def standard_of(bundle: Path | None, settings: Path | None) -> WorkSettings | None:
    """The standard work: that of the settings, else that of the bundle; None where neither is given.

    Raises:
        ConfigError: where what is given has none.
    """
    work = read_settings(settings).work if settings else None
    if work is None and bundle is not None:
        work = manifest_in(bundle / MANIFEST).work
    if work is None and (bundle or settings):
        raise ConfigError(f"{bundle or settings}: expected the standard work, found none; see `release.work` in conf/")
    return work


def report(recordings: Sequence[Recording], work: WorkSettings | None, videos: Sequence[Video], most_clips: int) -> str:
    """The page of what was read.

    Raises:
        InputError: where nothing was done at all.
    """
    told_s = [one.end_s - one.start_s for recording in recordings for one in recording.findings if one.kind == "idle"]
    idle_s = work.idle_s if work else min(told_s, default=IDLE_S)
    parts, number = [], 0
    for recording in recordings:
        if not recording.acts:
            continue
        marks = []
        for finding in recording.findings:
            if finding.kind != CYCLE:
                number += 1
                marks.append(Mark(number, finding))
        shown = [mark for mark in marks if mark.number <= most_clips] if videos else []
        clips = {mark.number: clip_of(mark.finding, recording, list(videos)) for mark in shown}
        found = {number: clip for number, clip in clips.items() if clip is not None}
        left_out = len(marks) - len(shown) if videos else 0
        parts.append(Part(recording, figures_of(recording, idle_s), tuple(marks), found, left_out))
    if not parts:
        raise InputError("expected actions within the time that was asked for, found none")
    return page(parts, work, idle_s)


def main(given: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = arguments_of(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        work = standard_of(arguments.bundle, arguments.settings)
        recordings = between(read_recordings(arguments.events), _moment(arguments.begin), _moment(arguments.end))
        videos = videos_of(arguments.video) if arguments.video and arguments.clips > 0 else []
        told = with_work(recordings, work) if work else recordings
        write_text(arguments.out, report(told, work, videos, arguments.clips))
    except LineactError as error:
        print(f"lineact.runtime.shift: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{arguments.out}: {sum(len(one.acts) for one in told)} actions")
    return 0


def _moment(words: str) -> float | None:
    if not words:
        return None
    try:
        return datetime.fromisoformat(words).timestamp()
    except ValueError as error:
        raise ConfigError(f"expected a time such as 2026-11-21T06:00, found {words!r}") from error


if __name__ == "__main__":
    sys.exit(main())
