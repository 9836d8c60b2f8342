"""Files that are kept for a while: so many, so many bytes, so long. The oldest go first."""

import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple


class Limits(NamedTuple):
    """What may stay.

    Attributes:
        most_bytes: of all files together.
        most_age_s: since a file was written, seconds.
        most_files: so many.
    """

    most_bytes: float
    most_age_s: float
    most_files: float = float("inf")


def remove_old(folder: Path, suffix: str, limits: Limits) -> int:
    """Removes what is beyond the limits.

    A file's age is that since it was written, not its name's: a clock that was set back makes no file immortal. One
    of a time to come counts from now on.

    Args:
        folder: of the files.
        suffix: of those that count; those whose names begin with a dot are half there.
        limits: see `Limits`.

    Returns:
        Bytes of those that stay.
    """
    now_s = time.time()
    found: list[tuple[float, str, int]] = []
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or not entry.name.endswith(suffix):
            continue
        with contextlib.suppress(FileNotFoundError):  # a harvest may have taken it
            status = entry.stat()
            if status.st_mtime > now_s:
                os.utime(entry.path, (now_s, now_s))
            found.append((min(status.st_mtime, now_s), entry.path, status.st_size))
    found.sort()
    left_bytes = sum(size for *_, size in found)
    for number, (written_s, path, size) in enumerate(found):
        too_many = len(found) - number > limits.most_files
        if not (too_many or left_bytes > limits.most_bytes or now_s - written_s > limits.most_age_s):
            break
        Path(path).unlink(missing_ok=True)
        left_bytes -= size
    return left_bytes


def free_path(path: Path) -> Path:
    """This path, or one beside it where a clock that was set back gives the same name again."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return free
