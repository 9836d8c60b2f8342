"""Two files that DVC writes in place: killed in that moment, it leaves a part, which stops every later run."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from lineact.files import write_bytes

LOCK = Path("dvc.lock")
RWLOCK = Path(".dvc/tmp/rwlock")  # who reads and writes which path; of no use once its processes are gone
PATIENCE_S = 1.0  # another DVC process may be writing it just now


def drop_broken_rwlock() -> None:
    """Removes DVC's table of readers and writers where it is no JSON, and stays so."""
    end_s = time.monotonic() + PATIENCE_S
    while RWLOCK.is_file() and not _is_json(RWLOCK):
        if time.monotonic() > end_s:
            RWLOCK.unlink(missing_ok=True)
        else:
            time.sleep(PATIENCE_S / 10)


@contextlib.contextmanager
def kept_lock() -> Iterator[None]:
    """Where the block fails and leaves a part of dvc.lock, the file before comes back: DVC restores what it lacks."""
    before = LOCK.read_bytes() if LOCK.is_file() else None
    try:
        yield
    except BaseException:  # Ctrl+C, too
        if before is not None and not _is_lock(LOCK):
            write_bytes(LOCK, before)
        raise


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    except FileNotFoundError:  # its process has just removed it
        return True
    return True


def _is_lock(path: Path) -> bool:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and isinstance(content.get("stages"), dict)
