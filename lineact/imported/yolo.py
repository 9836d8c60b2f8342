"""Reads YOLO folders as they are found: data.yaml with classes and parts, lists or folders of pictures, label files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from lineact.errors import InputError
from lineact.exchange.yolo import names_of
from lineact.imported import PICTURE_SUFFIXES, Part

PART_KEYS: dict[str, Part] = {"train": "train", "val": "val", "test": "holdout"}
KEY_OF_PART = {part: key for key, part in PART_KEYS.items()}
_PART_FOLDERS = frozenset({"images", "train", "val", "valid", "test"})
_EXPECTED = "expected a YOLO folder: data.yaml with `names`, images/ and labels/"


@dataclass(frozen=True)
class YoloSet:
    """A data set's pictures.

    Attributes:
        base: folder below which pictures and labels lie.
        names: class numbers and names.
        pictures: (path below `base` with slashes, the part that the data set gives it; None where it names none).
    """

    base: Path
    names: dict[int, str]
    pictures: tuple[tuple[str, Part | None], ...]


def read_yolo_set(folder: Path, data_yaml: Path | None = None, names: Sequence[str] = ()) -> YoloSet:
    """Reads which pictures there are and what the classes are called.

    Args:
        folder: of the data set.
        data_yaml: where it does not lie in the folder.
        names: of the classes by number, where there is no data.yaml; all pictures below images/ then belong to it.

    Raises:
        InputError: where a file is missing or malformed, a list names no picture of the folder, or two parts share one.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: {_EXPECTED}; found no folder there")
    if names:
        return YoloSet(folder, dict(enumerate(names)), tuple((name, None) for name in _below(folder, "images")))
    path = data_yaml or folder / "data.yaml"
    if not path.is_file():
        raise InputError(f"{path}: {_EXPECTED}; found no such file; DATA_YAML= names another, NAMES=a,b the classes")
    found_names = names_of(path)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    base = _base_of(folder, content)
    part_of: dict[str, Part | None] = {}
    for key, part in PART_KEYS.items():
        for name in _listed(base, content.get(key), f"{path}: {key}"):
            if name in part_of:
                raise InputError(f"{path}: {name} is in the lists of {part_of[name]} and {part}; leave it in one")
            part_of[name] = part
    if not part_of:
        part_of = dict.fromkeys(_below(base, "images"))
    if not part_of:
        raise InputError(f"{path}: expected pictures, found none in its lists or below {base / 'images'}")
    return YoloSet(base, found_names, tuple(sorted(part_of.items())))


def label_file(name: str) -> str:
    """Where a picture's labels lie: as ultralytics, below labels/ instead of the last images/, else beside it."""
    path = PurePosixPath(name).with_suffix(".txt")
    parts = list(path.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return "/".join(parts)


def inner_name(name: str) -> str:
    """A picture's path without folders that mean a part: a recording may lie in several parts."""
    path = PurePosixPath(name)
    return "/".join([*(part for part in path.parts[:-1] if part not in _PART_FOLDERS), path.name])


def _base_of(folder: Path, content: dict[str, Any]) -> Path:
    """`path` of data.yaml, where it is a folder in here: many data sets name one of their author's machine.

    One elsewhere is passed over: a data set from anywhere must not have other pictures of this machine imported.
    """
    named = content.get("path")
    base = folder / named if isinstance(named, str) else folder
    return base if base.is_dir() and base.resolve().is_relative_to(folder.resolve()) else folder


def _listed(base: Path, value: Any, where: str) -> list[str]:
    """Pictures of a part: of a folder, of a text file with a path a line, or of several of these."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    names: list[str] = []
    for one in values:
        if not isinstance(one, str):
            raise InputError(f"{where}: expected a folder or a text file, found {one!r}")
        target = base / one
        if target.is_dir():
            names += _below(base, one)
        elif target.is_file():
            lines = target.read_text(encoding="utf-8").splitlines()
            names += [_relative(base, line.strip(), target) for line in lines if line.strip()]
        else:
            raise InputError(f"{where}: expected a folder or a text file, found nothing at {target}")
    return names


def _below(base: Path, folder: str) -> list[str]:
    paths = (path for path in (base / folder).rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    return [_relative(base, str(path.resolve()), base / folder) for path in sorted(paths)]


def _relative(base: Path, line: str, where: Path) -> str:
    try:
        return (base / line).resolve().relative_to(base.resolve()).as_posix()
    except ValueError as error:
        raise InputError(f"{where}: expected pictures below {base}, found {line}") from error
