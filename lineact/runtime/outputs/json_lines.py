"""Events on disk: one JSON object per line, on the disk before anybody else is told of it."""

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from lineact.errors import FullDiskError
from lineact.files import is_full_disk
from lineact.runtime.settings import EventFileSettings
from lineact.runtime.work.events import Reported

CURRENT = "events.jsonl"  # being written; closed ones have their time in their name
STAMP = "%Y%m%dT%H%M%S.%fZ"

log = logging.getLogger(__name__)


class EventFile:
    """Appends events to `events.jsonl` of a folder; a full file is renamed to `events-<UTC>.jsonl`.

    Names of closed files rise, whatever the clock does: one that was set back counts on from the last name.
    A line that a kill or a power cut left torn at the end is removed at the next start: it had not been reported.

    Args:
        folder: made where it is missing. One process at a time may write there.
        settings: see `EventFileSettings`.

    Raises:
        FullDiskError: where the disk is full.
    """

    def __init__(self, folder: Path, settings: EventFileSettings) -> None:
        self._path = folder / CURRENT
        self._settings = settings
        folder.mkdir(parents=True, exist_ok=True)
        self._stream = self._opened()

    def write(self, event: Reported) -> None:
        """Appends an event; once this returns it survives a power cut.

        Raises:
            FullDiskError: where the disk is full; the file ends with the event before.
        """
        line = json.dumps(event.as_json(), ensure_ascii=False).encode() + b"\n"
        if self._size_bytes and self._size_bytes + len(line) > self._settings.rotate_mb * 1e6:
            self._rotate()
        try:
            rest = memoryview(line)
            while rest:  # a disk that gets full takes a part, and refuses the rest
                rest = rest[self._stream.write(rest) :]
            os.fsync(self._stream.fileno())
        except OSError as error:
            self._stream.truncate(self._size_bytes)
            if is_full_disk(error, self._path.parent):
                raise FullDiskError(self._path) from error
            raise
        self._size_bytes += len(line)

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()

    def _opened(self) -> BinaryIO:
        stream = self._path.open("ab", buffering=0)
        whole_bytes = _whole_lines_bytes(self._path)
        torn_bytes = stream.tell() - whole_bytes
        if torn_bytes:
            log.warning("%s: removed a torn last line of %d bytes", self._path, torn_bytes)
            stream.truncate(whole_bytes)
        self._size_bytes = whole_bytes
        return stream

    def _rotate(self) -> None:
        self._stream.close()
        closed = closed_files(self._path.parent)
        at = datetime.now(UTC)
        if closed and (before := _closed_at(closed[-1])):
            at = max(at, before + timedelta(microseconds=1))
        self._path.rename(self._path.with_name(f"{self._path.stem}-{at.strftime(STAMP)}.jsonl"))
        self._stream = self._opened()
        for path in closed_files(self._path.parent)[: -self._settings.keep_files]:
            path.unlink()


def closed_files(folder: Path) -> list[Path]:
    """The full files of a folder, in the order in which they were written; what else lies there is none."""
    found = {path: _closed_at(path) for path in folder.glob(f"{Path(CURRENT).stem}-*.jsonl")}
    return sorted(path for path, at in found.items() if at)


def _closed_at(path: Path) -> datetime | None:
    stamp = path.stem.partition("-")[2]
    try:
        at = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return at if at.strftime(STAMP) == stamp else None


def last_event(folder: Path) -> dict[str, object] | None:
    """The event that was last written whole into a folder; None where there is none. Lines that are none are told."""
    for path in [folder / CURRENT, *reversed(closed_files(folder))]:
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        for line in reversed([line for line in lines if line.endswith(b"\n")]):
            event = _event_in(line)
            if event is not None:
                return event
            log.warning("%s: expected an event in each line, found %r near its end; that line is left out", path, line)
    return None


def events_after(folder: Path, event_id: str | None) -> list[dict[str, object]]:
    """The events that were written after one; where nobody knows that one, at most the last."""
    files = [path for path in [folder / CURRENT, *reversed(closed_files(folder))] if path.is_file()]
    later: list[dict[str, object]] = []
    for path in files if event_id else ():
        content = path.read_bytes()
        if (event_id or "").encode() not in content:
            continue
        for one in [path, *reversed(files[: files.index(path)])]:
            lines = one.read_bytes().splitlines(keepends=True)
            later += [event for line in lines if line.endswith(b"\n") and (event := _event_in(line))]
        ids = [event["event_id"] for event in later]
        return later[ids.index(event_id) + 1 :] if event_id in ids else later[-1:]
    last = last_event(folder)
    return [last] if last else []


def _event_in(line: bytes) -> dict[str, object] | None:
    try:
        event = json.loads(line)
        datetime.fromisoformat(event["end_utc"])
        return event if isinstance(event["event_id"], str) else None
    except (ValueError, KeyError, TypeError):
        return None


def _whole_lines_bytes(path: Path) -> int:
    """Size of a file up to its last newline; read from the end, since files may be long."""
    with path.open("rb") as stream:
        at = stream.seek(0, os.SEEK_END)
        while at:
            start = max(at - 4096, 0)
            stream.seek(start)
            newline = stream.read(at - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            at = start
    return 0
