"""Files written whole or not at all, and hashes of what is on disk."""

import csv
import hashlib
import io
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

CACHE = Path(".lineact/cache")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write(temporary)` and renames the result to `path`, so that a killed process leaves no half file.

    Args:
        path: the file (or folder) to appear; its parent is made if missing.
        write: writes a file or a folder at the path it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: libraries choose the format by it.
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        write(temporary)
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes whole."""
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, content: str) -> None:
    """Writes text (UTF-8, as given: no newline translation) whole."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: object) -> None:
    """Writes sorted, indented JSON whole."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file whole."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, stream.getvalue())


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
