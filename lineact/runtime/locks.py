"""One process for each camera and for each folder of events."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from lineact.runtime.errors import BusyError


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing events into the folder, which is made where it is missing.

    Raises:
        BusyError: where another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock", f"{folder}: another process writes events there", "choose another --out"):
        yield


@contextmanager
def camera_lock(address: str, shown: str) -> Iterator[None]:
    """Keeps other processes of this machine off the camera: a network camera would serve both, at half the rate.

    Args:
        address: the camera's.
        shown: the address as it may be shown.

    Raises:
        BusyError: where another one has it.
    """
    digest = hashlib.sha256(_same_camera(address).encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"lineact-camera-{digest}.lock"
    with _locked(path, f"{shown}: another process has this camera", "end that one first"):
        yield


def _same_camera(address: str) -> str:
    """One webcam has several names, and one network camera several users."""
    if address.startswith("/dev/"):
        return os.path.realpath(address)
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@contextmanager
def _locked(path: Path, taken: str, way_out: str) -> Iterator[None]:
    # The file stays: were it removed, a process that waits for it and one that makes it anew would hold two locks.
    is_ours = True
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:  # another user's process made it: it can be locked, but not written
        descriptor, is_ours = os.open(path, os.O_RDONLY | os.O_CLOEXEC), False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise BusyError(f"{taken} (process {owner}); {way_out}") from error
        if is_ours:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
