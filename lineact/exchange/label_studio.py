"""Label Studio's JSON: tasks with predictions to import, and its export "JSON" with annotations.

A box is x, y, width and height in percent of the picture, beside original_width and original_height.
"""

import base64
import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lineact.decisions import MOST_SECONDS, HandBox, time_of
from lineact.errors import InputError
from lineact.exchange import Heard, Picture, Said, refuse
from lineact.review.journal import stamp

BOXES, CHOICE, IMAGE = "boxes", "choice", "image"  # names of the controls in the labelling interface
MODEL = "lineact"
_WAY_OUT = 'Export the project again as "JSON" (not JSON-MIN or CSV), or mend these places'


def labelling_interface(labels: Sequence[str], kind: str) -> str:
    """The XML for a project's Labelling Interface.

    Args:
        labels: in the order of their keys.
        kind: "boxes" or "choice".
    """
    view = ET.Element("View")
    if kind == BOXES:
        ET.SubElement(view, "Image", name=IMAGE, value="$image", zoom="true")
        control = ET.SubElement(view, "RectangleLabels", name=BOXES, toName=IMAGE)
    else:
        ET.SubElement(view, "Image", name=IMAGE, value="$image")
        control = ET.SubElement(view, "Choices", name=CHOICE, toName=IMAGE, choice="single", required="true")
    for label in labels:
        ET.SubElement(control, "Label" if kind == BOXES else "Choice", value=label)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def task_of(picture: Picture, content: bytes) -> dict[str, Any]:
    """A task to import, the picture within it, what is suggested as a prediction.

    Args:
        picture: what is suggested.
        content: JPEG or PNG, as the name's suffix says.
    """
    kind = "png" if picture.name.endswith(".png") else "jpeg"
    url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    width, height = picture.size_wh_px
    data = {"image": url, "picture": picture.name, "width_px": width, "height_px": height}
    return {
        "data": data | ({"subset": picture.subset} if picture.subset else {}),
        "predictions": predictions_of(picture),
    }


def predictions_of(picture: Picture) -> list[dict[str, Any]]:
    """What is suggested, as a list of one prediction; none where nothing is."""
    width, height = picture.size_wh_px
    result: list[dict[str, Any]] = []
    for box in picture.boxes:
        x1, y1, x2, y2 = box.box_xyxy_px
        place = {"x": 100 * x1 / width, "y": 100 * y1 / height}
        place |= {"width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height, "rotation": 0}
        result.append(
            {"from_name": BOXES, "type": "rectanglelabels", "value": place | {"rectanglelabels": [box.action]}}
        )
    if picture.label:
        result.append({"from_name": CHOICE, "type": "choices", "value": {"choices": [picture.label]}})
    size = {"original_width": width, "original_height": height, "image_rotation": 0}
    regions = [{"id": f"{MODEL}{index}", "to_name": IMAGE} | size | region for index, region in enumerate(result)]
    return [{"model_version": MODEL, "result": regions}] if regions else []


def read_label_studio(path: Path) -> Heard:
    """Reads an export. Tasks that nobody has annotated, or all have skipped, wait.

    Raises:
        InputError: names the file, the place, what was expected and what was found.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: expected an export of Label Studio, found none to read ({error.strerror})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found something else ({error}). {_WAY_OUT}") from error
    return from_label_studio(content, path)


def from_label_studio(content: object, where: object) -> Heard:
    """Annotations by time, so that the last of a task comes last; see `read_label_studio`.

    Args:
        content: parsed JSON: a list of tasks.
        where: the file, for messages.
    """
    if not isinstance(content, list) or not content:
        raise InputError(f"{where}: expected a list of tasks, found {type(content).__name__}. {_WAY_OUT}")
    problems: list[str] = []
    said: list[Said] = []
    waiting: list[str] = []
    for index, task in enumerate(content):
        place = f"task {index + 1}"
        try:
            name, size = task["data"]["picture"], (task["data"]["width_px"], task["data"]["height_px"])
            place = f"task {task.get('id', index + 1)} ({name})"
            if not isinstance(name, str) or not all(type(side) is int and side > 0 for side in size):
                raise ValueError(f"expected picture, width_px and height_px in `data`, found {name!r}, {size}")
            annotations = [one for one in task["annotations"] if not one.get("was_cancelled")]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(f"{place}: {_words(error)}")
            continue
        if not annotations:
            waiting.append(f"{place}: {'skipped' if task['annotations'] else 'no annotation'}")
        for number, annotation in enumerate(annotations, 1):
            try:
                said.append(_said(f"{place}, annotation {number}", annotation, name, size))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                problems.append(f"{place}, annotation {number}: {_words(error)}")
    refuse(where, problems, _WAY_OUT)
    return Heard(tuple(sorted(said, key=lambda one: one.said_at)), tuple(waiting))


def _said(place: str, annotation: dict, name: str, size_wh_px: tuple[int, int]) -> Said:
    boxes: list[HandBox] = []
    choices: list[str] = []
    for region in annotation["result"]:
        kind, value = region["type"], region["value"]
        if kind in ("rectanglelabels", "rectangle"):
            boxes.append(_box(region, size_wh_px))
        elif kind == "choices":
            choices += value["choices"]
        else:
            raise ValueError(f"expected rectanglelabels or choices, found {kind!r}")
    if len(choices) > 1:
        raise ValueError(f"expected one choice, found {', '.join(choices)}")
    seconds = annotation.get("lead_time") or 0.0
    if type(seconds) not in (int, float) or not 0 <= seconds <= MOST_SECONDS:  # NaN is not
        raise ValueError(f"expected lead_time in seconds from 0 to {MOST_SECONDS:g}, found {seconds!r}")
    picture = Picture(name, size_wh_px, tuple(boxes), choices[0] if choices else "")
    return Said(place, picture, _reviewer(annotation), _said_at(annotation), float(seconds))


def _box(region: dict, size_wh_px: tuple[int, int]) -> HandBox:
    original = region["original_width"], region["original_height"]
    if original != size_wh_px:
        raise ValueError(f"expected a picture of {size_wh_px} pixels, found one of {original}")
    value = region["value"]
    if value.get("rotation") or region.get("image_rotation"):
        raise ValueError(f"expected upright boxes, found one turned by {value.get('rotation')} degrees")
    labels = value.get("rectanglelabels") or [""]
    if len(labels) != 1:
        raise ValueError(f"expected one label of a box, found {', '.join(labels)}")
    x, y, width, height = (float(value[name]) / 100 for name in ("x", "y", "width", "height"))
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        raise ValueError(f"expected a box with width and height above 0, found {value}")
    width_px, height_px = size_wh_px
    return HandBox((x * width_px, y * height_px, (x + width) * width_px, (y + height) * height_px), labels[0])


def _reviewer(annotation: dict) -> str:
    """Whoever changed it last; an export holds users' numbers, in some versions e-mail addresses of the first ones."""
    by, changed_by = annotation.get("completed_by"), annotation.get("updated_by")
    number = by.get("id") if isinstance(by, dict) else by
    if isinstance(by, dict) and by.get("email") and changed_by in (None, number):
        return str(by["email"])
    last = number if changed_by is None else changed_by
    return "" if last is None else f"label studio user {last}"


def _said_at(annotation: dict) -> str:
    text = annotation.get("updated_at") or annotation.get("created_at")
    return "" if text is None else stamp(time_of(text))


def _words(error: Exception) -> str:
    return f"expected the key {error}, found none" if isinstance(error, KeyError) else str(error)
