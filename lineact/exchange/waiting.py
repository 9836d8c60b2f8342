"""What of a queue waits for a decision, with suggestions named as far as their groups are."""

from collections.abc import Iterable

from lineact.attach import Boxes, answered_items
from lineact.decisions import MIXED, Decisions
from lineact.queue import suggestion_of


def waiting_items(
    queue: Iterable[dict],
    decisions: Decisions,
    boxes: Boxes,
    min_iou: float,
) -> list[dict]:
    """The queue's items that nobody has decided, by priority. What reviewers differ about is for them to settle.

    Args:
        queue: rows of schema QUEUE.
        decisions: what is decided so far.
        boxes: of today.
        min_iou: a crop's decision answers the box found again at this IoU.

    Returns:
        Rows of schema QUEUE, in `suggested` a label, a frame's boxes with labels, or "" where nothing is known.
    """
    rows = sorted(queue, key=lambda row: row["priority"])
    bases = {row["item_id"]: row["basis"] for row in rows}
    words = [*decisions.rows, *(said[-1] for said in decisions.disputed)]
    today = answered_items(words, bases, boxes, min_iou)
    stand = {today[one.item_id]: one.decided for one in decisions.rows if one.item_id in today}
    answered = set(today.values())
    groups = {row["item_id"] for row in rows if row["task"] == "group"}
    names = {item: name for item, name in stand.items() if item in groups and name != MIXED}
    return [row | {"suggested": suggestion_of(row, names)} for row in rows if row["item_id"] not in answered]
