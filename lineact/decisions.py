"""A person's decisions: reading, checking and writing decisions.csv, and what a decision was made on (its basis).

A row decides one item of the queue. Tasks: `group`: the name of a group of crops; `crop` and `audit`: the action of one
crop; `box`: every hand on a frame with its action, or "empty" for a frame checked to have none. A later row of the same
item takes the place of an earlier one, and "withdrawn" lets the item wait again; nothing is ever overwritten.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from pathlib import Path

import numpy as np

from lineact.boxes import iou_matrix, match_one_to_one
from lineact.errors import InputError
from lineact.files import write_csv
from lineact.schema import DECISION_COLUMNS

NG = "NG"  # the irrelevant action, class K+1
MIXED = "mixed"  # a group that holds several actions: its crops are decided one by one or left out
EMPTY = "empty"  # a frame checked to have no hand
WITHDRAWN = "withdrawn"  # the item's earlier rows were a slip: it waits again
PlacedBox = tuple[str, tuple[float, float, float, float]]  # box id, x1 y1 x2 y2 in pixels
TASKS = ("group", "crop", "audit", "box")
_BOX_ID = re.compile(r"(?P<frame>[0-9a-f]{12}@-?\d+\.\d{6})#(-?\d+)-(-?\d+)-(-?\d+)-(-?\d+)'*")
_FRAME_ID = re.compile(r"frame:([0-9a-f]{12})@(-?\d+\.\d{6})")


@dataclass(frozen=True)
class Decision:
    """A row of decisions.csv.

    Attributes:
        item_id: the queue's item.
        task: "group", "crop", "audit" or "box".
        suggested: what the queue proposed.
        decided: a label; for `box` a JSON list of [x1, y1, x2, y2, action] in pixels, or "empty"; or "withdrawn".
        reviewer: who.
        decided_at: when, UTC, ISO 8601.
        seconds: how long it took.
        basis: hash of what was shown.
    """

    item_id: str
    task: str
    suggested: str
    decided: str
    reviewer: str
    decided_at: str
    seconds: float
    basis: str


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used.

    Attributes:
        row: line of the file, the header being 1.
        column: where it is wrong.
        found: what was found and what was expected, in words.
    """

    row: int
    column: str
    found: str


@dataclass(frozen=True)
class Decisions:
    """The content of decisions.csv.

    Attributes:
        rows: usable rows in the file's order, the latest of each item.
        superseded: usable rows that a later row of the same item replaced, and withdrawals.
        bad: rows that could not be used.
    """

    rows: tuple[Decision, ...]
    superseded: tuple[Decision, ...]
    bad: tuple[BadRow, ...]

    @property
    def by_item(self) -> dict[str, Decision]:
        """Item to its decision."""
        return {decision.item_id: decision for decision in self.rows}


@dataclass(frozen=True)
class HandBox:
    """A hand and what it does.

    Attributes:
        box_xyxy_px: pixels of the source frame.
        action: one of the line's actions, or "NG".
    """

    box_xyxy_px: tuple[float, float, float, float]
    action: str


def read_decisions(path: Path, actions: Sequence[str]) -> Decisions:
    """Reads and checks decisions.csv. Bad rows are returned, not raised: the caller sets how many are too many.

    Args:
        path: the file.
        actions: the line's actions, without NG.

    Raises:
        InputError: where the file is missing, no CSV in UTF-8, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte-order mark
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: expected decisions, found no file; a line starts with its header alone: "
            f"{','.join(DECISION_COLUMNS)}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected CSV in UTF-8, found other bytes ({error}); save it as UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if missing := [name for name in DECISION_COLUMNS if name not in (reader.fieldnames or [])]:
        raise InputError(
            f"{path}: expected columns {', '.join(DECISION_COLUMNS)}, found none called {', '.join(missing)}; "
            "restore the header line"
        )
    bad: list[BadRow] = []
    latest: dict[str, Decision] = {}
    superseded: list[Decision] = []
    try:
        for values in reader:
            checked = _checked(values, reader.line_num, actions)
            if isinstance(checked, BadRow):
                bad.append(checked)
                continue
            if checked.item_id in latest:
                superseded.append(latest.pop(checked.item_id))
            if checked.decided == WITHDRAWN:
                superseded.append(checked)
            else:
                latest[checked.item_id] = checked
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: expected CSV, found: {error}; mend the line") from error
    return Decisions(tuple(latest.values()), tuple(superseded), tuple(bad))


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Writes decisions.csv whole; on the disk when this returns, not merely on the way."""
    write_csv(path, DECISION_COLUMNS, (astuple(decision) for decision in decisions), durable=True)


def _checked(values: dict, row: int, actions: Sequence[str]) -> Decision | BadRow:
    if None in values or None in values.values():
        return BadRow(row, "", f"expected {len(DECISION_COLUMNS)} values, found another number")
    if not values["item_id"]:
        return BadRow(row, "item_id", "expected an item, found nothing")
    if values["task"] not in TASKS:
        return BadRow(row, "task", f"expected one of {', '.join(TASKS)}, found {values['task']!r}")
    try:
        seconds = float(values["seconds"] or 0)
    except ValueError:
        seconds = -1.0
    if not (math.isfinite(seconds) and seconds >= 0):
        return BadRow(row, "seconds", f"expected seconds from 0 up, found {values['seconds']!r}")
    try:
        datetime.fromisoformat(values["decided_at"])
    except ValueError:
        return BadRow(row, "decided_at", f"expected a time in ISO 8601, found {values['decided_at']!r}")
    if found := _wrong_decided(values["task"], values["decided"], actions):
        return BadRow(row, "decided", found)
    if found := _wrong_item(values["task"], values["item_id"]):
        return BadRow(row, "item_id", found)
    texts = {field.name: values[field.name] for field in fields(Decision) if field.name != "seconds"}
    return Decision(**texts, seconds=seconds)


def _wrong_item(task: str, item_id: str) -> str:
    if task == "group" and not re.fullmatch(r"group:\d+", item_id):
        return f"expected group:<number>, found {item_id!r}"
    if task == "box" and not _FRAME_ID.fullmatch(item_id):
        return f"expected frame:<recording>@<seconds>, found {item_id!r}"
    return ""


def _wrong_decided(task: str, decided: str, actions: Sequence[str]) -> str:
    if decided == WITHDRAWN:
        return ""
    if task != "box":
        known = [*actions, NG, *([MIXED] if task == "group" else [])]
        return "" if decided in known else f"unknown label {decided!r}; known are {', '.join(known)}"
    try:
        boxes = boxes_of_text(decided)
    except ValueError as error:
        return str(error)
    known = [*actions, NG]
    unknown = sorted({box.action for box in boxes} - set(known))
    return f"unknown label {', '.join(map(repr, unknown))}; known are {', '.join(known)}" if unknown else ""


def boxes_of_text(text: str) -> list[HandBox]:
    """Parses what a `box` decision (or suggestion) says.

    Args:
        text: a JSON list of [x1, y1, x2, y2, action], or "empty".

    Raises:
        ValueError: on anything else.
    """
    if text == EMPTY:
        return []
    expected = 'expected "empty" or a list of [x1, y1, x2, y2, "action"]'
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{expected}, found {text!r}") from error
    if not isinstance(values, list) or not values:
        raise ValueError(f"{expected}, found {text!r}")
    boxes = []
    for value in values:
        if not isinstance(value, list) or len(value) != 5 or not isinstance(value[4], str):
            raise ValueError(f"{expected}, found {value!r}")
        numbers = value[:4]
        if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
            raise ValueError(f"{expected}, found {value!r}")
        if numbers[2] <= numbers[0] or numbers[3] <= numbers[1]:
            raise ValueError(f"expected x1 < x2 and y1 < y2, found {numbers}")
        x1, y1, x2, y2 = map(float, numbers)
        boxes.append(HandBox((x1, y1, x2, y2), value[4]))
    return boxes


def text_of_boxes(boxes: Iterable[HandBox]) -> str:
    """The opposite of `boxes_of_text`, coordinates to a hundredth of a pixel."""
    values = [[*(round(float(value), 2) for value in box.box_xyxy_px), box.action] for box in boxes]
    return json.dumps(values, ensure_ascii=False) if values else EMPTY


def frame_item(video_sha256: str, pts_s: float) -> str:
    """The item id of a frame."""
    return f"frame:{frame_key(video_sha256, pts_s)}"


def frame_key(video_sha256: str, pts_s: float) -> str:
    """A frame in one word: recording and time to the microsecond."""
    return f"{video_sha256[:12]}@{pts_s:.6f}"


def frame_of_item(item_id: str) -> tuple[str, float]:
    """First 12 digits of the recording's SHA-256 and the time in seconds, of a frame's item id."""
    match = _FRAME_ID.fullmatch(item_id)
    if match is None:
        raise ValueError(f"expected frame:<recording>@<seconds>, found {item_id!r}")
    return match[1], float(match[2])


def box_of_id(box_id: str) -> tuple[str, tuple[float, float, float, float]] | None:
    """Frame (see `frame_key`) and box in whole pixels that a box id tells; None where it is no box id."""
    match = _BOX_ID.fullmatch(box_id)
    if match is None:
        return None
    x1, y1, x2, y2 = (float(match[index]) for index in range(2, 6))
    return match["frame"], (x1, y1, x2, y2)


def basis_of(*shown: object) -> str:
    """Hash of what is shown: 16 hex digits over the parts' text."""
    return hashlib.sha256("\0".join(map(str, shown)).encode()).hexdigest()[:16]


def answered_items(
    decisions: Iterable[Decision],
    bases: Mapping[str, str],
    boxes_by_frame: Mapping[tuple[str, float], list[PlacedBox]],
    min_iou: float,
) -> dict[str, str]:
    """Which item of today each decision answers: the one rule of the review page and of the pipeline.

    A group's decision answers its group where what was shown is what the queue shows today (its basis): else its number
    names another set of crops. A crop's answers the box that took its place, see `attach`. A frame's tells all its
    hands, so it answers its frame whatever was shown.

    Args:
        decisions: the latest of each item.
        bases: the queue's items and their bases.
        boxes_by_frame: recording and time to the frame's boxes of today.
        min_iou: see `attach`.

    Returns:
        Decision's item id to today's; a decision that answers nothing is not in it.
    """
    decided = list(decisions)
    items = {
        one.item_id: one.item_id
        for one in decided
        if one.task == "box" or (one.task == "group" and bases.get(one.item_id) == one.basis)
    }
    crops = [one.item_id for one in decided if one.task in ("crop", "audit")]
    placed = {frame_key(*frame): boxes for frame, boxes in boxes_by_frame.items()}
    return items | attach(crops, placed, min_iou)


def attach(
    item_ids: Sequence[str],
    boxes_by_frame: dict[str, list[PlacedBox]],
    min_iou: float,
) -> dict[str, str]:
    """Finds today's box of each crop decision.

    A box that still has its id keeps its decision. The rest attach one to one by IoU on the same frame, to boxes that
    no id has taken.

    Args:
        item_ids: box ids of decisions, each once.
        boxes_by_frame: frame (see `frame_key`) to today's (box id, box).
        min_iou: the least IoU.

    Returns:
        Decision's box id to today's box id; what does not attach is not in it.
    """
    today = {box_id for boxes in boxes_by_frame.values() for box_id, _ in boxes}
    attached = {item_id: item_id for item_id in item_ids if item_id in today}
    lost: dict[str, list[PlacedBox]] = {}
    for item_id in item_ids:
        place = box_of_id(item_id)
        if item_id not in attached and place is not None:
            lost.setdefault(place[0], []).append((item_id, place[1]))
    for frame, old in lost.items():
        free = [(box_id, box) for box_id, box in boxes_by_frame.get(frame, []) if box_id not in attached]
        if free:
            iou = iou_matrix(np.array([box for _, box in old]), np.array([box for _, box in free]))
            for row, column in match_one_to_one(iou, min_iou):
                attached[old[row][0]] = free[column][0]
    return attached
