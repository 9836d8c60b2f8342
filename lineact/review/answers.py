"""An answer of a person as a row of decisions.csv."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lineact.decisions import MIXED, MOST_SECONDS, NG, WITHDRAWN, Decision, HandBox, boxes_of_text, text_of_boxes
from lineact.groups import shown_basis
from lineact.review.journal import stamp

OUTSIDE_PX = 0.5  # a box may leave its frame by so much: the page rounds


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


def decision_of(item: dict, answer: Answer, actions: Sequence[str], size_wh_px: tuple[int, int] | None) -> Decision:
    """An answer as a row of decisions.csv, decided now.

    Args:
        item: row of schema QUEUE.
        answer: what the person said.
        actions: the line's actions, without NG.
        size_wh_px: the frame's width and height; None where the item is no frame.

    Raises:
        ValueError: on an unknown label, a malformed box, one outside its frame, seconds below 0 or beyond reason, or a
            name that is no single line.
    """
    if not 0 <= answer.seconds <= MOST_SECONDS:  # NaN is not
        raise ValueError(f"expected seconds from 0 to {MOST_SECONDS:g}, found {answer.seconds}")
    if not answer.reviewer.isprintable():  # a line break would split the row
        raise ValueError(f"expected a reviewer's name on one line, found {answer.reviewer!r}")
    known = labels_of(item["task"], actions)
    decided = answer.decided
    if decided == WITHDRAWN:
        labels = []
    elif size_wh_px is not None:
        boxes = boxes_of_text(decided)
        for box in boxes:
            refuse_outside(box, size_wh_px)
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
        decided_at=stamp(datetime.now(UTC)),
        seconds=round(answer.seconds, 2),
        basis=shown_basis(item),
    )


def refuse_outside(box: HandBox, size_wh_px: tuple[int, int]) -> None:
    """Lets a box pass that lies in its frame, but for `OUTSIDE_PX`.

    Raises:
        ValueError: where it does not.
    """
    width, height = size_wh_px
    x1, y1, x2, y2 = box.box_xyxy_px
    if min(x1, y1) < -OUTSIDE_PX or x2 > width + OUTSIDE_PX or y2 > height + OUTSIDE_PX:
        raise ValueError(f"expected a box inside the frame of {width} x {height} pixels, found {[x1, y1, x2, y2]}")
