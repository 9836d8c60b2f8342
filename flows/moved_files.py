"""A tree of files goes from a folder to an S3 store or back; every file is read again where it arrived."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from lineact.errors import InputError

BLOCK = 2**20


class Moved(NamedTuple):
    """What became of the files.

    Attributes:
        files: all of them.
        copied: those that were not there yet.
    """

    files: int
    copied: int


def move_files(source: str, target: str) -> Moved:
    """Copies all files below a place; what is at the target already with the same bytes is not copied again.

    Args:
        source: a folder or s3://BUCKET/FOLDER; may be missing, which is no file.
        target: likewise.

    Raises:
        InputError: where a file arrived otherwise, or another one lies in its place.
    """
    import fsspec

    reading, source_root = fsspec.core.url_to_fs(source)
    writing, target_root = fsspec.core.url_to_fs(target)
    copied = 0
    paths = sorted(reading.find(source_root)) if reading.exists(source_root) else []
    for path in paths:
        name = path[len(source_root) :].lstrip("/")
        to = f"{target_root.rstrip('/')}/{name}"
        expected = _hash(reading, path)
        if writing.exists(to):
            if _hash(writing, to) != expected:
                raise InputError(f"{target}/{name}: expected nothing or the file of {source}, found another one")
            continue
        _copy(reading, path, writing, to)
        if _hash(writing, to) != expected:
            raise InputError(f"{target}/{name}: expected what was sent, found other bytes; give the command again")
        copied += 1
    return Moved(len(paths), copied)


def _copy(reading: Any, path: str, writing: Any, to: str) -> None:
    """A store takes a file whole or not at all; in a folder it gets its name when it is whole."""
    is_folder = "file" in writing.protocol
    if is_folder:
        writing.makedirs(to.rpartition("/")[0], exist_ok=True)
    name = f"{to}.part" if is_folder else to
    with reading.open(path, "rb") as source, writing.open(name, "wb") as target:
        while block := source.read(BLOCK):
            target.write(block)
    if is_folder:
        Path(name).replace(to)


def _hash(files: Any, path: str) -> str:
    digest = hashlib.sha256()
    with files.open(path, "rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
