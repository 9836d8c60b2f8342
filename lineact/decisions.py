"""A person's decisions: reading, checking and writing decisions.csv, and what a decision was made on (its basis).

A row decides one item of the queue. Tasks: `group`: the name of a group of crops; `crop` and `audit`: the action of one
crop; `box`: every hand on a frame with its action, or "empty" for a frame checked to have none. A reviewer's later row
of an item takes the place of the earlier one, "withdrawn" takes it back; what several reviewers say of one item stands
where they agree and else waits for somebody to settle it (`words_on`). Nothing is ever overwritten.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from lineact.boxes import iou_matrix, match_one_to_one
from lineact.errors import InputError
from lineact.files import write_text
from lineact.schema import DECISION_COLUMNS

NG = "NG"  # the irrelevant action, class K+1
MIXED = "mixed"  # a group that holds several actions: its crops are decided one by one or left out
EMPTY = "empty"  # a frame checked to have no hand
WITHDRAWN = "withdrawn"  # the reviewer's earlier rows of the item were a slip
DISAGREEMENT = "disagreement"  # what a row that settles reviewers' different answers has for `suggested`
MOST_PX = 1e9  # farther away is nothing; JSON tells whole numbers that no float holds
MOST_SECONDS = 1e9  # 30 years: nobody took longer, and sums of such numbers stay finite
AGREE_IOU = 0.5  # two reviewers' boxes of one hand overlap at least so far
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
        suggested: what the queue proposed; "disagreement" where this row settles one.
        decided: a label; for `box` a JSON list of [x1, y1, x2, y2, action] in pixels, or "empty"; or "withdrawn".
        reviewer: who.
        decided_at: when, UTC, ISO 8601.
        seconds: how long it took.
        basis: hash of what was shown; behind a slash of a group the crops that were, of a random crop what it was
            looked at under (`lineact.looks`).
    """

    item_id: str
    task: str
    suggested: str
    decided: str
    reviewer: str
    decided_at: str
    seconds: float
    basis: str

    @property
    def shown(self) -> str:
        """Hash of what was shown."""
        return self.basis.partition("/")[0]

    @property
    def members(self) -> list[str]:
        """Of a group: box ids of the crops that were shown; none where its row does not tell them."""
        return self.basis.partition("/")[2].split()


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used.

    Attributes:
        row: line of the file, the header being 1.
        column: where it is wrong.
        found: what was found and what was expected, in words.
        text: the row as it stands in the file, so that writing the file again keeps it.
        unknown: the row, where nothing but its label is wrong.
    """

    row: int
    column: str
    found: str
    text: str = ""
    unknown: Decision | None = None


@dataclass(frozen=True)
class Decisions:
    """The content of decisions.csv.

    Attributes:
        rows: usable rows in the file's order that stand, one of each item.
        superseded: usable rows that later ones replaced, and withdrawals.
        bad: rows that could not be used.
        disputed: rows of each item that reviewers answer differently (`words_on`): it waits for one that settles it.
    """

    rows: tuple[Decision, ...]
    superseded: tuple[Decision, ...]
    bad: tuple[BadRow, ...]
    disputed: tuple[tuple[Decision, ...], ...] = ()

    @property
    def by_item(self) -> dict[str, Decision]:
        """Item to its decision."""
        return {decision.item_id: decision for decision in self.rows}

    @property
    def usable(self) -> list[Decision]:
        """All usable rows, by item and time."""
        disputed = (row for words in self.disputed for row in words)
        return sorted([*self.superseded, *self.rows, *disputed], key=lambda row: (row.item_id, decided_at(row)))


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
    checked = list(_checked_rows(path, actions))
    bad = [row for row in checked if isinstance(row, BadRow)]
    return standing([row for row in checked if isinstance(row, Decision)], bad)


def standing(rows: Sequence[Decision], bad: Sequence[BadRow] = ()) -> Decisions:
    """What stands of all rows, by `words_on`.

    Args:
        rows: usable rows.
        bad: the others.
    """
    of_item: dict[str, list[Decision]] = {}
    for row in rows:
        of_item.setdefault(row.item_id, []).append(row)
    words = [words_on(of_one) for of_one in of_item.values()]
    disputed = [tuple(said) for said in words if not agreed(said)]
    stand = {id(said[-1]) for said in words if said and agreed(said)}
    differ = {id(row) for said in disputed for row in said}
    others = tuple(row for row in rows if id(row) not in stand | differ)
    return Decisions(tuple(row for row in rows if id(row) in stand), others, tuple(bad), tuple(disputed))


def words_on(rows: Iterable[Decision]) -> list[Decision]:
    """What the reviewers say of one item: each one's latest row, by time; none of those who took theirs back.

    A row whose `suggested` is "disagreement" settles the item: rows before it count no more. A withdrawal with the same
    mark takes its reviewer's last settlement back: the one before it holds again, and where there is none all rows do.
    Names of a group count as far as they are given on the latest one's pictures.
    """
    ordered = sorted(rows, key=decided_at)
    settled: list[Decision] = []  # settlements that hold
    for mark in (row for row in ordered if row.suggested == DISAGREEMENT):
        if mark.decided != WITHDRAWN:
            settled.append(mark)
        elif own := [row for row in settled if row.reviewer == mark.reviewer]:
            settled.remove(own[-1])
    others = [row for row in ordered if row.suggested != DISAGREEMENT]
    if settled:
        others = [settled[-1], *(row for row in others if decided_at(row) > decided_at(settled[-1]))]
    latest = {row.reviewer: row for row in others}
    words = sorted((row for row in latest.values() if row.decided != WITHDRAWN), key=decided_at)
    return [word for word in words if word.task != "group" or word.shown == words[-1].shown]


def agreed(words: Sequence[Decision]) -> bool:
    """Whether all words on an item say the same; of a frame: the same hands, give or take some pixels."""
    return all(_says_the_same(word, words[-1]) for word in words[:-1])


def _says_the_same(one: Decision, other: Decision) -> bool:
    if one.decided == other.decided or one.task != "box":
        return one.decided == other.decided
    here, there = boxes_of_text(one.decided), boxes_of_text(other.decided)
    iou = iou_matrix(np.array([box.box_xyxy_px for box in here]), np.array([box.box_xyxy_px for box in there]))
    same = np.array([[first.action == second.action for second in there] for first in here])
    matched = match_one_to_one(np.where(same, iou, 0.0), AGREE_IOU) if same.size else []
    return len(matched) == len(here) == len(there)


def decided_at(row: Decision) -> datetime:
    """When a row was decided; a time without zone is UTC."""
    return time_of(row.decided_at)


def time_of(text: str) -> datetime:
    """A time in ISO 8601; without zone it is UTC.

    Raises:
        ValueError: on anything else.
    """
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def write_decisions(path: Path, decisions: Iterable[Decision], bad: Iterable[BadRow] = ()) -> None:
    """Writes decisions.csv whole; on the disk when this returns, not merely on the way.

    Args:
        path: the file.
        decisions: its rows.
        bad: unusable rows of the file as it was, which come last, as they are.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(DECISION_COLUMNS)
    writer.writerows(astuple(decision) for decision in decisions)
    stream.writelines(row.text + "\n" for row in bad)
    write_text(path, stream.getvalue(), durable=True)


def _checked_rows(path: Path, actions: Sequence[str]) -> Iterator[Decision | BadRow]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte-order mark
    except FileNotFoundError as error:
        header = ",".join(DECISION_COLUMNS)
        raise InputError(f"{path}: expected decisions, found no file; start with its header alone: {header}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected CSV in UTF-8, found other bytes ({error}); save it as UTF-8") from error
    lines = io.StringIO(text, newline="").readlines()
    head = csv.DictReader(lines)
    names = list(head.fieldnames or [])
    if missing := [name for name in DECISION_COLUMNS if name not in names]:
        raise InputError(
            f"{path}: expected columns {', '.join(DECISION_COLUMNS)}, found none called {', '.join(missing)}; "
            "restore the header line"
        )
    place = head.line_num
    while True:
        for first, last, values in _rows_of(lines, place, names):
            checked = (
                _checked(values, first + 1, actions) if isinstance(values, dict) else BadRow(first + 1, "", values)
            )
            if isinstance(checked, Decision):
                yield checked
                continue
            yield replace(checked, text=lines[first].strip("\r\n"))
            if last > first + 1:  # perhaps a quote was left open: the next line is a row again
                place = first + 1
                break
        else:
            return


def _rows_of(lines: list[str], place: int, names: list[str]) -> Iterator[tuple[int, int, dict | str]]:
    """First line, the line behind the last, and values of each row from a line on; text says why the last is no CSV."""
    reader = csv.DictReader(lines[place:], names)
    first = place
    while True:
        while first < len(lines) and not lines[first].strip("\r\n"):
            first += 1
        try:
            values: dict | str | None = next(reader, None)
        except csv.Error as error:
            yield first, max(place + reader.line_num, first + 2), f"expected CSV, found: {error}"  # the next is read
            return
        if values is None:
            return
        yield first, place + reader.line_num, values
        first = place + reader.line_num


def _checked(values: dict, row: int, actions: Sequence[str]) -> Decision | BadRow:
    if None in values or None in values.values():
        return BadRow(row, "", f"expected {len(DECISION_COLUMNS)} values, found another number")
    if not values["item_id"]:
        return BadRow(row, "item_id", "expected an item, found nothing")
    if values["task"] not in TASKS:
        return BadRow(row, "task", f"expected one of {', '.join(TASKS)}, found {values['task']!r}")
    seconds = -1.0
    with suppress(ValueError):
        seconds = float(values["seconds"] or 0)
    if not 0 <= seconds <= MOST_SECONDS:
        return BadRow(row, "seconds", f"expected seconds from 0 to {MOST_SECONDS:g}, found {values['seconds']!r}")
    try:
        datetime.fromisoformat(values["decided_at"])
    except ValueError:
        return BadRow(row, "decided_at", f"expected a time in ISO 8601, found {values['decided_at']!r}")
    if found := _wrong_item(values["task"], values["item_id"]):
        return BadRow(row, "item_id", found)
    decision = Decision(**{name: values[name] for name in DECISION_COLUMNS} | {"seconds": seconds})
    if found := _wrong_decided(decision.task, decision.decided, actions):
        return BadRow(row, "decided", found, unknown=decision)
    return decision


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
    unknown = sorted({box.action for box in boxes} - {*actions, NG})
    return f"unknown label {', '.join(map(repr, unknown))}; known are {', '.join([*actions, NG])}" if unknown else ""


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
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{expected}, found {text!r}") from error
    if not isinstance(values, list) or not values:
        raise ValueError(f"{expected}, found {text!r}")
    boxes = []
    for value in values:
        if not isinstance(value, list) or len(value) != 5 or not isinstance(value[4], str):
            raise ValueError(f"{expected}, found {value!r}")
        numbers = value[:4]
        if not all(type(number) in (int, float) and abs(number) <= MOST_PX for number in numbers):  # NaN is not
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
    if (match := _FRAME_ID.fullmatch(item_id)) is None:
        raise ValueError(f"expected frame:<recording>@<seconds>, found {item_id!r}")
    return match[1], float(match[2])


def box_of_id(box_id: str) -> tuple[str, tuple[float, float, float, float]] | None:
    """Frame (see `frame_key`) and box in whole pixels that a box id tells; None where it is no box id."""
    if (match := _BOX_ID.fullmatch(box_id)) is None:
        return None
    x1, y1, x2, y2 = (float(match[index]) for index in range(2, 6))
    return match["frame"], (x1, y1, x2, y2)


def basis_of(*shown: object) -> str:
    """Hash of what is shown: 16 hex digits over the parts' text."""
    return hashlib.sha256("\0".join(map(str, shown)).encode()).hexdigest()[:16]
