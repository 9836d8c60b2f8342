"""What a report is made of: a station's events, or segments that `lineact.temporal.localize` found in videos."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from lineact.bundle.work import WorkSettings
from lineact.errors import InputError
from lineact.runtime.events import ACTION, EVENT_VERSION, Event, Origin
from lineact.runtime.outputs.json_lines import CURRENT
from lineact.runtime.work.events import CYCLE
from lineact.runtime.work.replay import replay

SEGMENTS = ("video", "start_s", "end_s", "action", "score")  # columns of segments.csv
WAY_OUT = "name a station's folder of events, or segments.json or segments.csv of `python -m lineact.temporal.localize`"


class Act(NamedTuple):
    """An action that was done.

    Attributes:
        action: its label.
        start_s: seconds of the recording's clock.
        end_s: likewise, excluded.
        media_s: its start in media seconds.
        hand: number of the hand; 0 where nobody told.
        product: "" where nobody told.
    """

    action: str
    start_s: float
    end_s: float
    media_s: float
    hand: int
    product: str


class Finding(NamedTuple):
    """A finished cycle or a deviation.

    Attributes:
        kind: see `lineact.runtime.work.events`.
        action: "" where it is about none.
        words: the same in a sentence.
        start_s: seconds of the recording's clock.
        end_s: likewise, excluded.
        media_s: its start in media seconds.
        cycle: number of the cycle.
        product: "" where nobody told.
        cycle_s: of a cycle that was seen whole, its duration; else None.
    """

    kind: str
    action: str
    words: str
    start_s: float
    end_s: float
    media_s: float
    cycle: int
    product: str
    cycle_s: float | None


@dataclass
class Recording:
    """One camera, or one video.

    Attributes:
        name: of the camera or the video.
        line: "" where nobody told.
        is_utc: whether the clock is seconds since 1970; else media seconds.
        acts: by start.
        findings: by start.
        bundles: that recognised.
    """

    name: str
    line: str
    is_utc: bool
    acts: list[Act] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    bundles: list[str] = field(default_factory=list)


def read_recordings(path: Path) -> list[Recording]:
    """Reads a folder of events, one file of them, or segments.

    Raises:
        InputError: naming the file, the line and what was expected there.
    """
    if path.is_dir():
        closed = sorted(path.glob(f"{Path(CURRENT).stem}-*.jsonl"))
        files = [one for one in (*closed, path / CURRENT) if one.is_file()]
        if files:
            return _of_events(files)
        segments = [one for one in (path / "segments.json", path / "segments.csv") if one.is_file()]
        if not segments:
            raise InputError(f"{path}: expected {CURRENT} or segments.json, found neither; {WAY_OUT}")
        path = segments[0]
    if not path.is_file():
        raise InputError(f"{path}: expected events or segments, found nothing; {WAY_OUT}")
    if path.suffix == ".jsonl":
        return _of_events([path])
    if path.suffix == ".csv":
        return _of_segments(path, _rows_of_csv(path))
    return _of_segments(path, _rows_of_json(path))


def with_work(recordings: Iterable[Recording], settings: WorkSettings) -> list[Recording]:
    """The recordings with what the standard work says of their actions, in place of what the station told."""
    found = []
    for recording in recordings:
        begin_s = recording.acts[0].start_s if recording.acts else 0.0
        shown = [
            Event(
                recording.line, recording.name, act.action, act.start_s - begin_s, act.end_s - begin_s, act.start_s,
                1.0, act.hand, "", act.product,
            )
            for act in recording.acts
        ]  # fmt: skip
        media_less_s = recording.acts[0].media_s - begin_s if recording.acts else 0.0
        told = replay(shown, settings, Origin(recording.line, recording.name, ""))
        findings = [
            Finding(
                one.kind, one.action, one.words, one.start_s + begin_s, one.end_s + begin_s,
                _media_s(recording, one.start_s + begin_s, media_less_s), one.cycle, one.product,
                one.times.cycle_s if one.times and one.times.whole else None,
            )
            for one in told
        ]  # fmt: skip
        findings.sort(key=lambda one: one.start_s)
        found.append(
            Recording(recording.name, recording.line, recording.is_utc, recording.acts, findings, recording.bundles)
        )
    return found


def between(recordings: Iterable[Recording], from_s: float | None, to_s: float | None) -> list[Recording]:
    """What began within a time, seconds since 1970; recordings without a time of day stay as they are."""
    found = []
    for recording in recordings:
        if recording.is_utc:
            least, most = from_s or float("-inf"), float("inf") if to_s is None else to_s
            recording.acts = [act for act in recording.acts if least <= act.start_s < most]
            recording.findings = [one for one in recording.findings if least <= one.start_s < most]
        found.append(recording)
    return found


def _media_s(recording: Recording, at_s: float, otherwise_less_s: float) -> float:
    """Media seconds of a moment: as of the last action that began before it."""
    before = [act for act in recording.acts if act.start_s <= at_s]
    return at_s + (before[-1].media_s - before[-1].start_s if before else otherwise_less_s)


def _of_events(files: list[Path]) -> list[Recording]:
    recordings: dict[tuple[str, str], Recording] = {}
    for path in files:
        for number, said in _lines(path):
            where = f"{path}: line {number}"
            if not isinstance(said, dict) or not isinstance(said.get("version"), int):
                raise InputError(f"{where}: expected an event, found something else; {WAY_OUT}")
            if said["version"] > EVENT_VERSION:
                raise InputError(f"{where}: expected version {EVENT_VERSION} or older; update lineact on this machine")
            try:
                key = said["line"], said["camera"]
                recording = recordings.setdefault(key, Recording(said["camera"], said["line"], is_utc=True))
                _add(recording, said)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{where}: expected an event, found one that is not whole ({error!r})") from error
    for recording in recordings.values():
        recording.acts.sort(key=lambda act: act.start_s)
        recording.findings.sort(key=lambda one: one.start_s)
    return list(recordings.values())


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            return  # a line that is being written, or was torn
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}: line {number}: expected JSON, found something else ({error})") from error


def _add(recording: Recording, said: dict[str, Any]) -> None:
    start_s = datetime.fromisoformat(said["start_utc"]).timestamp()
    media_s, length_s = float(said["start_s"]), float(said["end_s"]) - float(said["start_s"])
    if said["bundle"] not in recording.bundles:
        recording.bundles.append(said["bundle"])
    kind = said.get("kind", ACTION)  # version 1 had actions alone
    if kind == ACTION:
        recording.acts.append(
            Act(said["action"], start_s, start_s + length_s, media_s, int(said["hand"]), said["product"])
        )
        return
    cycle_s = float(said["cycle_s"]) if kind == CYCLE and said["whole"] else None
    recording.findings.append(
        Finding(
            kind, said["action"], said["words"], start_s, start_s + length_s, media_s, int(said["cycle"]),
            said["product"], cycle_s,
        )
    )  # fmt: skip


Row = tuple[str, float, float, str]


def _of_segments(path: Path, rows: Iterable[Row]) -> list[Recording]:
    recordings: dict[str, Recording] = {}
    for video, start_s, end_s, action in rows:
        if not 0 <= start_s < end_s < float("inf"):
            raise InputError(f"{path}: {video}: expected 0 <= start < end, found {action} [{start_s:g}, {end_s:g}]")
        recording = recordings.setdefault(video, Recording(video, "", is_utc=False))
        recording.acts.append(Act(action, start_s, end_s, start_s, 0, ""))
    for recording in recordings.values():
        recording.acts.sort(key=lambda act: act.start_s)
    return list(recordings.values())


def _rows_of_json(path: Path) -> list[Row]:
    try:
        results = json.loads(path.read_text())["results"]
        return [
            (str(video), float(entry["segment"][0]), float(entry["segment"][1]), str(entry["label"]))
            for video, entries in results.items()
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{path}: expected segments, found something else ({error!r}); {WAY_OUT}") from error


def _rows_of_csv(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != SEGMENTS:
            raise InputError(f"{path}: expected the columns {', '.join(SEGMENTS)}, found others; {WAY_OUT}")
        try:
            return [(row["video"], float(row["start_s"]), float(row["end_s"]), row["action"]) for row in reader]
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: line {reader.line_num}: expected numbers of seconds ({error})") from error
