"""COCO's JSON for boxes: `bbox` is x, y, width, height in pixels from the top left corner; ids count from 1."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lineact.decisions import HandBox
from lineact.errors import InputError
from lineact.exchange import Heard, Picture, Said, base_name, refuse

_EXPORT_AGAIN = "Export it again as COCO with boxes, or mend these places"


def to_coco(pictures: Iterable[Picture], labels: Sequence[str]) -> dict[str, Any]:
    """Pictures as the content of an instances file.

    Args:
        pictures: in order; each label of a box is one of `labels`.
        labels: the categories, in the order of their ids.
    """
    ids = {label: number for number, label in enumerate(labels, 1)}
    images: list[dict] = []
    annotations: list[dict] = []
    for picture in pictures:
        width, height = picture.size_wh_px
        images.append({"id": len(images) + 1, "file_name": picture.name, "width": width, "height": height})
        for box in picture.boxes:
            x1, y1, x2, y2 = box.box_xyxy_px
            place = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "segmentation": []}
            kind = {"image_id": len(images), "category_id": ids[box.action], "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1} | kind | place)
    categories = [{"id": number, "name": label, "supercategory": ""} for label, number in ids.items()]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def read_coco(path: Path) -> Heard:
    """Reads an instances file. Every image in it counts as looked at; one without annotations has no hand.

    Raises:
        InputError: names the file, the place, what was expected and what was found.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: expected a COCO file, found none to read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found something else ({error}); export it again") from error
    return from_coco(content, path)


def from_coco(content: object, where: object) -> Heard:
    """The opposite of `to_coco`, with ids of any kind and order; see `read_coco`.

    Args:
        content: parsed JSON.
        where: the file, for messages.
    """
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in parts):
        raise InputError(f"{where}: expected an object with lists {', '.join(parts)}, found others. {_EXPORT_AGAIN}")
    problems: list[str] = []
    names = _categories(content["categories"], problems)
    images = _images(content["images"], problems)
    boxes: dict[Any, list[HandBox]] = {number: [] for number in images}
    seen: set[str] = set()
    for index, annotation in enumerate(content["annotations"]):
        place = f"annotations[{index}]"
        try:
            number = repr(annotation["id"])
            if number in seen:
                raise ValueError(f"expected each id once, found {number} again")
            seen.add(number)
            boxes[_known(annotation["image_id"], images, "image_id")].append(_box(annotation, names))
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"{place}: {_words(error)}")
    refuse(where, problems, _EXPORT_AGAIN)
    pictures = ((place, Picture(name, size, tuple(boxes[key]))) for key, (place, name, size) in images.items())
    return Heard(tuple(Said(f"{place} ({picture.name})", picture) for place, picture in pictures))


def _categories(values: list, problems: list[str]) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for index, value in enumerate(values):
        try:
            if value["id"] in names:
                raise ValueError(f"expected each id once, found {value['id']!r} again")
            if not isinstance(value["name"], str):
                raise ValueError(f"expected a name, found {value['name']!r}")
            names[value["id"]] = value["name"]
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"categories[{index}]: {_words(error)}")
    return names


def _images(values: list, problems: list[str]) -> dict[Any, tuple[str, str, tuple[int, int]]]:
    images: dict[Any, tuple[str, str, tuple[int, int]]] = {}
    for index, value in enumerate(values):
        try:
            if value["id"] in images:
                raise ValueError(f"expected each id once, found {value['id']!r} again")
            size = value["width"], value["height"]
            if not all(type(side) is int and side > 0 for side in size):
                raise ValueError(f"expected width and height in whole pixels, found {size}")
            if not isinstance(value["file_name"], str):
                raise ValueError(f"expected a file_name, found {value['file_name']!r}")
            images[value["id"]] = (f"images[{index}]", base_name(value["file_name"]), size)
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"images[{index}]: {_words(error)}")
    return images


def _box(annotation: dict, names: dict[Any, str]) -> HandBox:
    if annotation.get("iscrowd"):
        raise ValueError("expected one hand, found a crowd (iscrowd 1)")
    bbox = annotation["bbox"]
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
        raise ValueError(f"expected bbox [x, y, width, height], found {bbox!r}")
    x, y, width, height = map(float, bbox)
    if width <= 0 or height <= 0:
        raise ValueError(f"expected a bbox with width and height above 0, found {bbox}")
    return HandBox((x, y, x + width, y + height), names[_known(annotation["category_id"], names, "category_id")])


def _known(key: Any, known: dict[Any, Any], name: str) -> Any:
    if key not in known:
        raise ValueError(f"expected {name} of one listed, found {key!r}")
    return key


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _words(error: Exception) -> str:
    return f"expected the key {error}, found none" if isinstance(error, KeyError) else str(error)
