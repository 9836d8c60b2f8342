"""The folder of bundles that were copied from elsewhere: what no station needs any more is removed.

Stations may share it, also those of several containers. Each leaves a note of what it needs: `stations/ID.json`, and
holds `stations/ID.lock` while it runs.
"""

import fcntl
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from lineact.bundle.manifest import MANIFEST
from lineact.errors import LineactError
from lineact.files import write_json
from lineact.runtime.bundles import DIGITS, is_copied
from lineact.runtime.releases import read_releases

STATIONS = "stations"
LOCK = ".lock"
REMOVED = ".removed-"  # before its name: a kill in the middle leaves no half copy that looks like a whole one
FORGOTTEN_S = 30 * 86400.0  # a station that has not run for so long fetches anew what it needs
_COPY = re.compile(rf".+-(?P<name>[0-9a-f]{{{DIGITS}}})")

log = logging.getLogger(__name__)


class Copies:
    """One station's part in the folder. Leaving the context says that the station runs no more.

    Args:
        folder: of the copies; where nothing was ever fetched it is not there, and is not made.
        out: the station's folder of events, which tells it from others and says what it runs.
    """

    def __init__(self, folder: Path, out: Path) -> None:
        self._folder = folder
        self._out = out
        station = hashlib.sha256(f"{platform.node()}:{out.absolute()}".encode()).hexdigest()[:16]
        self._note = folder / STATIONS / f"{station}.json"
        self._shadows: set[str] = set()
        self._held: int | None = None  # descriptor of the lock that says that this station runs

    def __enter__(self) -> "Copies":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @contextmanager
    def staying(self, address: str) -> Iterator[None]:
        """Meanwhile no station removes a copy: what is fetched from the address is in no note before `note`."""
        if not is_copied(address):
            yield
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with _locked(self._folder / LOCK, fcntl.LOCK_SH):
            yield

    def note(self, *shadows: str) -> None:
        """Leaves for all stations what this one needs: what runs, what ran before, and challengers.

        Args:
            shadows: names of the challengers, see `Release`; they count from now on.
        """
        self._shadows.update(shadows)
        if not self._folder.is_dir():
            return
        with _told(self._folder):
            self._hold()
            write_json(self._note, sorted(self._own()))

    def clear(self) -> None:
        """Removes what no station needs. What goes wrong is told and costs nothing else."""
        if not self._folder.is_dir():
            return
        with _told(self._folder), _locked(self._folder / LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB):
            self._remove_all_but(self._noted() | self._own())

    def _own(self) -> set[str]:
        releases = read_releases(self._out)
        known = [releases.running, releases.previous] if releases else []
        return {*self._shadows, *(release.name for release in known if release)}

    def _hold(self) -> None:
        if self._held is None:
            self._note.parent.mkdir(exist_ok=True)
            self._held = os.open(self._note.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._held, fcntl.LOCK_SH)

    def _noted(self) -> set[str]:
        """Names in all notes; those of stations that have not run for long are removed."""
        names: set[str] = set()
        for note in sorted(self._note.parent.glob("*.json")):
            lock = note.with_suffix(".lock")
            if time.time() - note.stat().st_mtime > FORGOTTEN_S and not _is_held(lock):
                note.unlink()
                lock.unlink(missing_ok=True)
                continue
            names.update(json.loads(note.read_text()))
        return names

    def _remove_all_but(self, needed: set[str]) -> None:
        for leftover in self._folder.glob(f"{REMOVED}*"):
            shutil.rmtree(leftover)
        for copy in sorted(self._folder.iterdir()):
            found = _COPY.fullmatch(copy.name)
            if found is None or found["name"] in needed or not (copy / MANIFEST).is_file():
                continue
            removed = copy.with_name(REMOVED + copy.name)
            copy.rename(removed)
            shutil.rmtree(removed)
            log.info("%s: removed: it neither runs, nor is it kept for a rollback or a shadow", copy)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        log.info("%s: another station fetches a bundle; what nobody needs is removed the next time", folder)
    except (LineactError, OSError, ValueError, TypeError) as error:  # the last two: a note that a power cut left torn
        log.warning("%s: bundles that nobody needs any more are not removed: %s", folder, error)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _is_held(lock: Path) -> bool:
    try:
        with _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True
