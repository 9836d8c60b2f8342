"""A person's review: what the page shows of the queue, and an answer as a row of decisions.csv."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lineact.decisions import (
    EMPTY,
    MIXED,
    NG,
    WITHDRAWN,
    Decision,
    Decisions,
    HandBox,
    PlacedBox,
    answered_items,
    boxes_of_text,
    read_decisions,
    text_of_boxes,
    write_decisions,
)
from lineact.errors import InputError

OUTSIDE_PX = 0.5  # a box may leave its frame by so much: the page rounds


@dataclass(frozen=True)
class Shown:
    """An item of the queue as a person sees it.

    Attributes:
        item_id: the queue's item.
        task: "group", "crop", "audit" or "box".
        reason: why it is asked.
        holdout: whether it measures the line.
        box_ids: crops to show; of a frame: its boxes.
        suggested: a label, or "" where there is none; of a frame its boxes, see `text_of_boxes`. A group that has a
            name is called by it. Always "" for an audit, which asks without a hint.
        decided: the decision that answers it, "" where it waits.
        decided_as: the item id in that decision's row: of a crop found again a little elsewhere the earlier one.
        outdated: what was decided of this group before other crops were shown, "" where nothing was.
    """

    item_id: str
    task: str
    reason: str
    holdout: bool
    box_ids: list[str]
    suggested: str
    decided: str
    decided_as: str
    outdated: str


@dataclass(frozen=True)
class Answer:
    """What a person said.

    Attributes:
        decided: a label; of a frame a JSON list of [x1, y1, x2, y2, action] in pixels, or "empty"; or "withdrawn".
        reviewer: who.
        seconds: how long it took.
    """

    decided: str
    reviewer: str
    seconds: float


def labels_of(task: str, actions: Sequence[str]) -> list[str]:
    """Labels that an item of this task (of a frame: each of its boxes) may get.

    Args:
        task: one of `lineact.decisions.TASKS`.
        actions: the line's actions, without NG.
    """
    return [*actions, NG, *([MIXED] if task == "group" else [])]


def items_to_show(
    queue: Sequence[dict],
    decisions: Decisions,
    boxes_by_frame: Mapping[tuple[str, float], list[PlacedBox]],
    min_iou: float,
) -> list[Shown]:
    """The queue's items by priority, each with the decision that answers it (`answered_items`).

    Args:
        queue: rows of schema QUEUE.
        decisions: what is decided so far.
        boxes_by_frame: recording and time to the frame's boxes of today.
        min_iou: a crop's decision answers the box found again at this IoU.
    """
    bases = {item["item_id"]: item["basis"] for item in queue}
    today = answered_items(decisions.rows, bases, boxes_by_frame, min_iou)
    answers = {today[one.item_id]: one for one in decisions.rows if one.item_id in today}
    outdated = {one.item_id: one.decided for one in decisions.rows if one.item_id not in today}
    groups = {item["item_id"] for item in queue if item["task"] == "group"}
    names = {item: one.decided for item, one in answers.items() if item in groups and one.decided != MIXED}
    return [
        _shown(item, answers.get(item["item_id"]), outdated.get(item["item_id"], ""), names)
        for item in sorted(queue, key=lambda row: row["priority"])
    ]


def _shown(item: dict, answer: Decision | None, outdated: str, names: dict[str, str]) -> Shown:
    return Shown(
        item_id=item["item_id"],
        task=item["task"],
        reason=item["reason"],
        holdout=item["holdout"],
        box_ids=item["box_ids"],
        suggested=_suggested(item, names),
        decided=answer.decided if answer else "",
        decided_as=answer.item_id if answer else item["item_id"],
        outdated=outdated,
    )


def _suggested(item: dict, names: dict[str, str]) -> str:
    if item["task"] == "audit":
        return ""
    if item["task"] != "box":
        return names.get(item["suggested"], "")
    boxes = boxes_of_text(item["suggested"] or EMPTY)
    return text_of_boxes(HandBox(box.box_xyxy_px, names.get(box.action, "")) for box in boxes)


def decision_of(item: dict, answer: Answer, actions: Sequence[str], size_wh_px: tuple[int, int] | None) -> Decision:
    """An answer as a row of decisions.csv, decided now.

    Args:
        item: row of schema QUEUE.
        answer: what the person said.
        actions: the line's actions, without NG.
        size_wh_px: the frame's width and height; None where the item is no frame.

    Raises:
        ValueError: on an unknown label, a malformed box, one outside its frame, seconds below 0, or a name that is no
            single line.
    """
    if not (math.isfinite(answer.seconds) and answer.seconds >= 0):
        raise ValueError(f"expected seconds from 0 up, found {answer.seconds}")
    if not answer.reviewer.isprintable():  # a line break would split the row
        raise ValueError(f"expected a reviewer's name on one line, found {answer.reviewer!r}")
    known = labels_of(item["task"], actions)
    decided = answer.decided
    if decided == WITHDRAWN:
        labels = []
    elif size_wh_px is not None:
        boxes = boxes_of_text(decided)
        for box in boxes:
            _refuse_outside(box, size_wh_px)
        labels = [box.action for box in boxes]
        decided = text_of_boxes(boxes)
        boxes_of_text(decided)  # rounding may leave nothing of a box
    else:
        labels = [decided]
    if unknown := sorted(set(labels) - set(known)):
        raise ValueError(f"unknown label {', '.join(map(repr, unknown))}; known are {', '.join(known)}")
    return Decision(
        item_id=item["item_id"],
        task=item["task"],
        suggested=item["suggested"],
        decided=decided,
        reviewer=answer.reviewer,
        decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(answer.seconds, 2),
        basis=item["basis"],
    )


def _refuse_outside(box: HandBox, size_wh_px: tuple[int, int]) -> None:
    width, height = size_wh_px
    x1, y1, x2, y2 = box.box_xyxy_px
    if min(x1, y1) < -OUTSIDE_PX or x2 > width + OUTSIDE_PX or y2 > height + OUTSIDE_PX:
        raise ValueError(f"expected a box inside the frame of {width} x {height} pixels, found {[x1, y1, x2, y2]}")


def read_all_decisions(path: Path, actions: Sequence[str]) -> Decisions:
    """Decisions so far; none where there is no file yet.

    Args:
        path: decisions.csv.
        actions: the line's actions, without NG.

    Raises:
        InputError: on an unusable row: writing the file again would lose it.
    """
    if not path.is_file():
        return Decisions((), (), ())
    decisions = read_decisions(path, actions)
    if decisions.bad:
        bad = decisions.bad[0]
        raise InputError(f"{path}: row {bad.row}, column {bad.column!r}: {bad.found}; mend it, so that it is kept")
    return decisions


def add_decision(path: Path, decision: Decision, actions: Sequence[str]) -> None:
    """Adds a row to decisions.csv, whole; earlier rows of the same item stay, before it.

    Args:
        path: decisions.csv.
        decision: see `decision_of`.
        actions: the line's actions, without NG.

    Raises:
        InputError: on an unusable row in the file.
    """
    earlier = read_all_decisions(path, actions)
    write_decisions(path, [*earlier.superseded, *earlier.rows, decision])
