"""Files written whole or not at all, and hashes of what is on disk."""

import csv
import errno
import hashlib
import io
import json
import os
import platform
import re
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from lineact.errors import FullDiskError, LineactError

CACHE = Path(".lineact/cache")
FULL_BELOW_BYTES = 64 * 1024  # a writer that failed with no reason given filled the disk up to less than this
# Process ids mean something on their own host alone (or container, whose name differs).
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_TEMPORARY = re.compile(rf"\.tmp-{_HOST}-(?P<pid>\d+)-[0-9a-f]{{8}}\..+", re.DOTALL)


def write_whole(path: Path, write: Callable[[Path], object], *, durable: bool = False) -> None:
    """Calls `write(temporary)` and renames the result to `path`, so that a killed process leaves no half file.

    Args:
        path: the file (or folder) to appear; its parent is made if missing.
        write: writes a file or a folder at the path it is given.
        durable: whether the file must survive a power cut as soon as this returns; not for folders.

    Raises:
        FullDiskError: where the disk is full; whatever was at `path` is still there.
    """
    # The suffix stays last: libraries choose the format by it.
    temporary = path.with_name(f".tmp-{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent.absolute())
        write(temporary)
        if durable:
            _sync(temporary)
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
        if durable:
            _sync(path.parent)
    except Exception as error:
        if is_full_disk(error, path.parent):
            raise FullDiskError(path) from error
        raise
    finally:
        _remove(temporary)


def is_full_disk(error: Exception, folder: Path) -> bool:
    """Whether a writer failed because the disk is full: by the error's number, its words, or what the disk says.

    safetensors and shutil.copytree tell it in words alone; numpy and torch do not tell why they failed.

    Args:
        error: what the writer raised.
        folder: where it wrote.
    """
    if isinstance(error, LineactError):
        return False
    number = error.errno if isinstance(error, OSError) else None
    if number is not None:
        return number in (errno.ENOSPC, errno.EDQUOT)
    if os.strerror(errno.ENOSPC) in str(error):
        return True
    unexplained = isinstance(error, OSError | RuntimeError)
    return unexplained and folder.is_dir() and shutil.disk_usage(folder).free < FULL_BELOW_BYTES


def _sync(path: Path) -> None:
    """Waits until the disk holds a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache  # once per process: a folder may get very many files
def _remove_abandoned(folder: Path) -> None:
    """Removes the temporaries of killed processes; those of running ones stay."""
    for path in list(folder.iterdir()):
        found = _TEMPORARY.fullmatch(path.name)
        if found and not _runs(int(found["pid"])):
            _remove(path)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # two processes may do this at once
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Writes bytes whole; `durable` as in `write_whole`."""
    write_whole(path, lambda temporary: temporary.write_bytes(content), durable=durable)


def write_text(path: Path, content: str, *, durable: bool = False) -> None:
    """Writes text (UTF-8, as given: no newline translation) whole; `durable` as in `write_whole`."""
    write_bytes(path, content.encode(), durable=durable)


def write_json(path: Path, content: object) -> None:
    """Writes sorted, indented JSON whole."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, durable: bool = False) -> None:
    """Writes a CSV file whole; `durable` as in `write_whole`."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, stream.getvalue(), durable=durable)


def write_metrics(folder: Path, metrics: Mapping[str, float | int | None]) -> None:
    """Writes a stage's `metrics.json`: flat name to number, null where a number is undefined."""
    for name, value in metrics.items():
        if value is not None and not isinstance(value, float | int):
            raise TypeError(f"metric {name!r}: expected a number or None, found {value!r}")
    write_json(folder / "metrics.json", dict(metrics))


def sha256_of_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_tree(folder: Path) -> str:
    """Hex SHA-256 over relative names and contents of all files below a folder, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of_file(path)}\n".encode())
    return digest.hexdigest()


def cache_folder(kind: str, key: Mapping[str, object]) -> Path:
    """The folder of `.lineact/cache` for partial work that depends on exactly `key`.

    Args:
        kind: what is kept there, e.g. "detect".
        key: everything the work depends on: input hashes, model revision, preprocessing, version of the code.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
    return CACHE / kind / digest[:32]
