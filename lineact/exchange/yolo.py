"""YOLO's folders: data.yaml with the classes, and a text file per picture under labels/ in place of images/.

A line is `class centre_x centre_y width height`, as shares of the picture's width and height.
"""

import math
import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from lineact.decisions import HandBox
from lineact.errors import InputError
from lineact.exchange import Heard, Picture, Said, refuse

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
SizeOf = Callable[[str], tuple[int, int] | None]  # a picture's stem to its width and height in pixels
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2  # a few lines of YAML may unfold to more than the memory holds
_WAY_OUT = 'Export it again as YOLO detection with data.yaml ("Ultralytics YOLO"), or mend these places'


def label_text(picture: Picture, labels: Sequence[str]) -> str:
    """The label file of a picture; empty where it has no box.

    Args:
        picture: each label of a box is one of `labels`.
        labels: the classes, in the order of their numbers.
    """
    width, height = picture.size_wh_px
    lines = []
    for box in picture.boxes:
        x1, y1, x2, y2 = box.box_xyxy_px
        numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{labels.index(box.action)} " + " ".join(f"{number:.9f}" for number in numbers))
    return "".join(f"{line}\n" for line in lines)


def boxes_of(text: str, size_wh_px: tuple[int, int], names: dict[int, str]) -> tuple[HandBox, ...]:
    """The opposite of `label_text`.

    Args:
        text: of a label file.
        size_wh_px: of the picture.
        names: class number to its name.

    Raises:
        ValueError: names the line, what was expected and what was found.
    """
    boxes = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            kind, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise ValueError(f"line {number}: expected numbers, found {line!r}") from error
        if len(values) != 4 or not all(map(math.isfinite, values)):
            raise ValueError(f"line {number}: expected class and 4 shares of the picture, found {line!r}")
        if kind not in names:
            raise ValueError(f"line {number}: expected a class of data.yaml, found {kind}")
        x, y, width, height = values
        if width <= 0 or height <= 0:
            raise ValueError(f"line {number}: expected width and height above 0, found {line!r}")
        width_px, height_px = size_wh_px
        corners = (x - width / 2) * width_px, (y - height / 2) * height_px
        boxes.append(
            HandBox((*corners, (x + width / 2) * width_px, (y + height / 2) * height_px), names[kind]),
        )
    return tuple(boxes)


def data_yaml(labels: Sequence[str], subsets: Sequence[str]) -> str:
    """The content of data.yaml; without `path` the folder that holds it is meant."""
    content: dict[str, Any] = {subset: f"images/{subset}" for subset in subsets}
    return yaml.safe_dump(content | {"names": dict(enumerate(labels))}, sort_keys=False, allow_unicode=True)


def read_yolo(folder: Path, size_of: SizeOf) -> Heard:
    """Reads a data set's folder: all label files under labels/. An empty one tells that there is no hand.

    A picture under images/ without a label file waits: nothing tells that anybody looked at it.

    Args:
        folder: holds data.yaml.
        size_of: width and height of a picture by its stem; None where it is unknown.

    Raises:
        InputError: names the file, the place, what was expected and what was found.
    """
    names = names_of(folder / "data.yaml")
    problems: list[str] = []
    said: list[Said] = []
    for path in sorted((folder / "labels").rglob("*.txt")):
        place = path.relative_to(folder).as_posix()
        size = size_of(path.stem)
        if size is None:
            problems.append(f"{place}: expected a picture of this line, found another name")
            continue
        try:
            boxes = boxes_of(path.read_text(encoding="utf-8"), size, names)
        except ValueError as error:
            problems.append(f"{place}: {error}")
            continue
        said.append(Said(place, Picture(f"{path.stem}.jpg", size, boxes)))
    refuse(folder, problems, _WAY_OUT)
    if not said:
        raise InputError(f"{folder}: expected label files under labels/, found none. {_WAY_OUT}")
    return Heard(tuple(said), tuple(_without_label(folder)))


def _without_label(folder: Path) -> list[str]:
    pictures = (path for path in (folder / "images").rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    names = (PurePosixPath(path.relative_to(folder / "images").as_posix()) for path in sorted(pictures))
    return [
        f"images/{name}: no label file"
        for name in names
        if not (folder / "labels" / name).with_suffix(".txt").is_file()
    ]


def names_of(path: Path) -> dict[int, str]:
    """Class numbers and names of a data.yaml.

    Raises:
        InputError: where they cannot be read.
    """
    expected = "expected `names`: a list of classes, or numbers and classes"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {expected}; found no file to read ({error.strerror}). {_WAY_OUT}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"{path}: {expected}; found no YAML ({line}). {_WAY_OUT}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(
        type(number) is int and isinstance(name, str) for number, name in names.items()
    ):
        raise InputError(f"{path}: {expected}; found {_SHORT.repr(names)}. {_WAY_OUT}")
    return names
