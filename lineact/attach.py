"""Which item of today each decision answers: decisions find their crops again after another detection."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from lineact.boxes import iou_matrix, match_one_to_one
from lineact.decisions import Decision, PlacedBox, box_of_id


class Bases(Protocol):
    """The queue's items and their bases."""

    def get(self, item_id: str) -> str | None:
        """An item's basis; None where the queue has no such item."""
        ...


class Boxes(Protocol):
    """Today's boxes."""

    def __contains__(self, box_id: str) -> bool:
        """Whether there is such a box."""
        ...

    def on(self, frame: str) -> list[PlacedBox]:
        """The boxes of one frame, see `frame_key`."""
        ...


def answered_items(
    decisions: Iterable[Decision], bases: Bases | Mapping[str, str], boxes: Boxes, min_iou: float
) -> dict[str, str]:
    """Which item of today each decision answers: the one rule of the review page and of the pipeline.

    A group's decision answers its group where the queue shows today what was shown (its basis): else its number names
    other crops. A crop's answers the box that took its place (`attach`), a frame's its frame, whatever was shown.

    Args:
        decisions: the latest of each item.
        bases: of the queue's items.
        boxes: of today.
        min_iou: see `attach`.

    Returns:
        Decision's item id to today's; a decision that answers nothing is not in it.
    """
    decided = list(decisions)
    items = {
        one.item_id: one.item_id
        for one in decided
        if one.task == "box" or (one.task == "group" and bases.get(one.item_id) == one.shown)
    }
    return items | attach([one.item_id for one in decided if one.task in ("crop", "audit")], boxes, min_iou)


def attach(item_ids: Sequence[str], boxes: Boxes, min_iou: float) -> dict[str, str]:
    """Finds today's box of each crop decision.

    A box that still has its id keeps its decision. The rest attach one to one by IoU on the same frame, to boxes that
    no id has taken.

    Args:
        item_ids: box ids of decisions, each once.
        boxes: of today.
        min_iou: the least IoU.

    Returns:
        Decision's box id to today's box id; what does not attach is not in it.
    """
    attached = {item_id: item_id for item_id in item_ids if item_id in boxes}
    lost: dict[str, list[PlacedBox]] = {}
    for item_id in item_ids:
        place = box_of_id(item_id)
        if item_id not in attached and place is not None:
            lost.setdefault(place[0], []).append((item_id, place[1]))
    for frame, old in lost.items():
        free = [(box_id, box) for box_id, box in boxes.on(frame) if box_id not in attached]
        if free:
            iou = iou_matrix(np.array([box for _, box in old]), np.array([box for _, box in free]))
            for row, column in match_one_to_one(iou, min_iou):
                attached[old[row][0]] = free[column][0]
    return attached
