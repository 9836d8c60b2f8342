"""An archive of files with the hash of each: written whole, checked whole before anything of it is used.

A gzipped tar file whose last member says what the others must be. Databases of SQLite are copied by SQLite itself, so
that a server may go on writing to them meanwhile.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file, write_whole
from lineact.settings import from_mapping

MANIFEST = "backup.json"
VERSION = 1
LEVEL = 1  # of gzip: most of the bytes are pictures and weights
BLOCK = 1 << 20
WAIT_S = 60.0  # for another process's transaction
WAY_OUT = "take another backup"


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself.

    Attributes:
        schema_version: of this file.
        made_at: when, UTC, ISO 8601.
        about: whatever its maker wants to tell.
        files: path to the SHA-256 of the content.
    """

    schema_version: int
    made_at: str
    about: dict[str, str]
    files: dict[str, str]


def snapshot(database: Path, copy: Path) -> None:
    """Copies an SQLite database as it is at one moment, whoever writes to it.

    Raises:
        InputError: where it is none.
    """
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    except sqlite3.DatabaseError as error:
        raise InputError(f"{database}: expected a database of SQLite, found: {error}") from error


def write_archive(path: Path, files: Mapping[str, Path], about: Mapping[str, str], made_at: str) -> Manifest:
    """Writes files into an archive, on the disk when this returns. Those that vanish meanwhile are left out.

    Args:
        path: of the archive.
        files: path within the archive to where the content lies.
        about: see `Manifest`.
        made_at: likewise.

    Raises:
        InputError: where a file grows shorter while it is read.
    """
    hashes: dict[str, str] = {}

    def write(temporary: Path) -> None:
        with gzip.open(temporary, "wb", LEVEL) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
            for name in sorted(files):
                digest = _add(archive, name, files[name])
                if digest is not None:
                    hashes[name] = digest
            manifest = Manifest(VERSION, made_at, dict(about), hashes)
            content = json.dumps(dataclasses.asdict(manifest), indent=1, sort_keys=True).encode()
            archive.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))

    write_whole(path, write, durable=True)
    return Manifest(VERSION, made_at, dict(about), hashes)


def read_archive(path: Path, into: Path) -> Manifest:
    """Unpacks an archive and checks every file of it against its hash.

    Args:
        path: of the archive.
        into: an empty folder for the files.

    Raises:
        InputError: where it is no such archive, is altered or cut off, or names a place outside the folder.
    """
    found: dict[str, str] = {}
    content: Any = None
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isfile() else None
                if source is None:
                    raise InputError(f"{path}: expected files alone, found {member.name!r}; {WAY_OUT}")
                if member.name == MANIFEST:
                    content = json.load(source)
                else:
                    found[member.name] = _unpack(source, into, member.name, path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a backup, found no file") from error
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the archive's
            raise
        raise InputError(f"{path}: expected a whole backup, found something else ({error}); {WAY_OUT}") from error
    if content is None:
        raise InputError(f"{path}: expected {MANIFEST} as the last file, found none: it was cut off; {WAY_OUT}")
    manifest = _manifest(content, path)
    for name in sorted(found.keys() | manifest.files.keys()):
        if found.get(name) != manifest.files.get(name):
            raise InputError(f"{path}: {name}: expected the hash in {MANIFEST}, found another: altered; {WAY_OUT}")
    return manifest


def has_open(paths: Iterable[Path]) -> dict[Path, list[int]]:
    """Which of these files other processes of this machine have open, and their numbers, as far as one may see."""
    import psutil

    wanted = {path.resolve(): path for path in paths}
    found: dict[Path, list[int]] = {}
    for process in psutil.process_iter():
        try:
            opened = {Path(one.path) for one in process.open_files()} if process.pid != os.getpid() else set()
        except psutil.Error:
            continue
        for path in opened & wanted.keys():
            found.setdefault(wanted[path], []).append(process.pid)
    return found


def same_content(path: Path, sha256: str) -> bool:
    """Whether a file is there with this content."""
    return path.is_file() and sha256_of_file(path) == sha256


def _manifest(content: Any, path: Path) -> Manifest:
    try:
        manifest = from_mapping(Manifest, content, f"{path}: {MANIFEST}")
    except ConfigError as error:
        raise InputError(f"{error}; {WAY_OUT}") from error
    if manifest.schema_version != VERSION:
        raise InputError(f"{path}: expected a backup of version {VERSION}, found {manifest.schema_version}")
    return manifest


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


class _Hashing:
    """A file of which exactly so many bytes are read, hashed on their way."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self._name = stream, name
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        if len(block) < size:
            raise InputError(f"{self._name}: it grew shorter while it was read; run the same command again")
        self.digest.update(block)
        return block


def _add(archive: tarfile.TarFile, name: str, path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            hashing: Any = _Hashing(stream, name)
            archive.addfile(_member(name, size), hashing)
            return hashing.digest.hexdigest()
    except FileNotFoundError:
        return None


def _unpack(source: Any, into: Path, name: str, path: Path) -> str:
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or not place.parts:
        raise InputError(f"{path}: expected places inside the project, found {name!r}; {WAY_OUT}")
    target = into / place
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("wb") as stream:
        while block := source.read(BLOCK):
            digest.update(block)
            stream.write(block)
    return digest.hexdigest()
