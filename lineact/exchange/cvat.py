"""CVAT's "CVAT for images 1.1": XML with a box (xtl ytl xbr ybr in pixels) or a tag (a label of the whole picture)."""

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from datetime import UTC
from pathlib import Path

from lineact.decisions import HandBox, time_of
from lineact.errors import InputError
from lineact.exchange import Heard, Picture, Said, base_name, refuse

_WAY_OUT = 'Export it again as "CVAT for images 1.1", or mend these places'
_PARTS = frozenset({"box", "tag"})


def to_cvat(pictures: Iterable[Picture], labels: Sequence[str]) -> bytes:
    """Pictures as annotations.xml.

    Args:
        pictures: in order.
        labels: what a box or a tag may be called; other readers want the list.
    """
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    listed = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
    for label in labels:
        ET.SubElement(ET.SubElement(listed, "label"), "name").text = label
    for number, picture in enumerate(pictures):
        width, height = picture.size_wh_px
        size = {"width": str(width), "height": str(height)}
        subset = {"subset": picture.subset} if picture.subset else {}
        image = ET.SubElement(root, "image", {"id": str(number), "name": picture.name} | subset | size)
        for box in picture.boxes:
            places = zip(("xtl", "ytl", "xbr", "ybr"), map(repr, map(float, box.box_xyxy_px)), strict=True)
            ET.SubElement(
                image, "box", {"label": box.action, "source": "file", "occluded": "0", **dict(places), "z_order": "0"}
            )
        if picture.label:
            ET.SubElement(image, "tag", {"label": picture.label, "source": "file"})
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def labels_json(labels: Sequence[str], kind: str) -> str:
    """Labels for the field "Raw" of CVAT's label constructor.

    Args:
        labels: their names.
        kind: "rectangle" or "tag".
    """
    return json.dumps(
        [{"name": label, "type": kind, "attributes": []} for label in labels], ensure_ascii=False, indent=2
    )


def read_cvat(path: Path) -> Heard:
    """Reads annotations.xml. Every image in it counts as looked at.

    Raises:
        InputError: names the file, the place, what was expected and what was found.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a CVAT file, found none to read ({error.strerror})") from error
    return from_cvat(content, path)


def from_cvat(content: bytes, where: object) -> Heard:
    """The opposite of `to_cvat`; see `read_cvat`.

    Args:
        content: XML.
        where: the file, for messages.
    """
    try:
        root = ET.fromstring(content, ET.XMLParser(target=_Tree()))  # noqa: S314 - _Tree refuses what could attack
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise InputError(f"{where}: expected XML without a document type, found {error}. {_WAY_OUT}") from error
    if root.tag != "annotations" or root.find("track") is not None:
        found = "a video's tracks" if root.tag == "annotations" else f"<{root.tag}>"
        raise InputError(f"{where}: expected <annotations> of images, found {found}. {_WAY_OUT}")
    reviewer, said_at = _reviewer(root), _said_at(root)
    problems: list[str] = []
    said: list[Said] = []
    for number, image in enumerate(root.iter("image"), 1):
        place = f"image {number} ({image.get('name')})"
        try:
            said.append(Said(place, _picture(image), reviewer, said_at))
        except ValueError as error:
            problems.append(f"{place}: {error}")
    refuse(where, problems, _WAY_OUT)
    if not said:
        raise InputError(f"{where}: expected <image> elements, found none. {_WAY_OUT}")
    return Heard(tuple(said))


class _Tree(ET.TreeBuilder):
    """Builds a tree; a document type ends it, since only that can define entities (which blow up, or read files)."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:  # noqa: ARG002
        """Called by the parser before it reads what the document type defines."""
        raise ValueError(f"<!DOCTYPE {name}>")


def _picture(image: ET.Element) -> Picture:
    if foreign := sorted({part.tag for part in image} - _PARTS):
        raise ValueError(f"expected box or tag, found {', '.join(foreign)}")
    tags = [_attribute(tag, "label") for tag in image.findall("tag")]
    if len(tags) > 1:
        raise ValueError(f"expected one tag, found {', '.join(tags)}")
    size = int(_number(image, "width")), int(_number(image, "height"))
    name = base_name(_attribute(image, "name"))
    return Picture(name, size, tuple(map(_box, image.findall("box"))), tags[0] if tags else "", image.get("subset", ""))


def _box(element: ET.Element) -> HandBox:
    if float(element.get("rotation", "0")):
        raise ValueError(f"expected upright boxes, found one turned by {element.get('rotation')} degrees")
    x1, y1, x2, y2 = (_number(element, name) for name in ("xtl", "ytl", "xbr", "ybr"))
    if x2 <= x1 or y2 <= y1:
        raise ValueError(f"expected xtl < xbr and ytl < ybr, found {[x1, y1, x2, y2]}")
    return HandBox((x1, y1, x2, y2), _attribute(element, "label"))


def _attribute(element: ET.Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        raise ValueError(f"expected {name!r} of <{element.tag}>, found none")
    return value


def _number(element: ET.Element, name: str) -> float:
    text = _attribute(element, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number in {name!r} of <{element.tag}>, found {text!r}")
    return value


def _reviewer(root: ET.Element) -> str:
    for role in ("assignee", "owner"):
        name = root.findtext(f"meta/*/{role}/username") or ""
        if name.strip():
            return name.strip()
    return ""


def _said_at(root: ET.Element) -> str:
    text = root.findtext("meta/*/updated") or root.findtext("meta/dumped") or ""
    try:
        return time_of(text.strip()).astimezone(UTC).isoformat(timespec="seconds")
    except ValueError:
        return ""
