"""What decisions answer among the frames, boxes and groups of today, and which looks certify the labels of today.

A look at a random crop certifies labels that did not depend on it: those of the settings and decisions under which it
was made (`lineact.looks`). Looks under others are spent: they certify nothing. Random crops that nobody had looked at
by then are as good as ever. What a row is goes by the part its crop has today: an answer to a crop that certifies today
changes no label, by whatever task it was given; any other answer on the training part does, those that calibrate too.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from lineact.attach import answered_items
from lineact.dataset.asked import asked_of
from lineact.dataset.frames import Frames, PlacedBoxes
from lineact.decisions import WITHDRAWN, Decision, Decisions, frame_key, frame_of_item
from lineact.looks import settings_in, stamp_in, stamp_of
from lineact.lookup import Lookup
from lineact.splits import Holdout


class QueueBases:
    """The queue's items and their bases."""

    def __init__(self, queue: pa.Table) -> None:
        """Takes a table of schema QUEUE."""
        self._rows = Lookup(queue["item_id"])
        self._bases = queue["basis"].combine_chunks()

    def get(self, item_id: str) -> str | None:
        """An item's basis; None where the queue has no such item."""
        row = self._rows.get(item_id)
        return None if row is None else self._bases[row].as_py()


@dataclass(frozen=True)
class Today:
    """What decisions can answer.

    Attributes:
        bases: of the queue's items.
        boxes: that no rule dropped.
        frames: of all recordings.
        holdout: which of them train.
        min_iou: see `answered_items`.
        certifying: box ids of the random crops that certify.
    """

    bases: QueueBases
    boxes: PlacedBoxes
    frames: Frames
    holdout: Holdout
    min_iou: float
    certifying: frozenset[str]

    def answered(self, decisions: Iterable[Decision]) -> dict[str, str]:
        """See `answered_items`."""
        return answered_items(decisions, self.bases, self.boxes, self.min_iou)

    def looks(self, decisions: Iterable[Decision]) -> dict[str, str]:
        """Which crops that certify some decisions answer: decision's item id to the crop's.

        Args:
            decisions: the latest of each item.
        """
        frames = {box_id.split("#")[0] for box_id in self.certifying}
        near = [row for row in decisions if row.task in ("crop", "audit") and row.item_id.split("#")[0] in frames]
        return {item_id: box_id for item_id, box_id in self.answered(near).items() if box_id in self.certifying}

    def stamp(self, decisions: Decisions, settings: str) -> str:
        """The stamp of looks made now, see `stamp_of`.

        Args:
            decisions: those made so far.
            settings: see `DatasetParams.accepted_by`.
        """
        looks = self.looks(decisions.rows)
        rows = (row for row in decisions.rows if row.item_id not in looks)
        return stamp_of(settings, [row for row in rows if row.task == "group" or self._trains(row)])

    def _trains(self, row: Decision) -> bool:
        key = frame_key(*frame_of_item(row.item_id)) if row.task == "box" else row.item_id.split("#")[0]
        frame = self.frames.get(key)
        return frame is not None and self.holdout.part_of(*frame) == "train"


def today_of(queue: pa.Table, boxes: pa.Table, frames: pa.Table, holdout: Holdout, min_iou: float) -> Today:
    """What decisions can answer, from tables.

    Args:
        queue: schema QUEUE.
        boxes: frame, id, place and `dropped_by` of schema BOXES.
        frames: recording and time of schema FRAMES.
        holdout: see `Today`.
        min_iou: likewise.
    """
    certifying = frozenset(asked_of(queue).certifying)
    return Today(QueueBases(queue), PlacedBoxes(boxes), Frames(frames), holdout, min_iou, certifying)


@dataclass(frozen=True)
class Spent:
    """Looks that were made under other settings or decisions than today's.

    Attributes:
        items: box ids of the random crops that were looked at so.
        by_settings: of these, the ones looked at under other settings.
        unstamped: likewise, the ones that were answered before looks were stamped, or by another task.
        looks: under each stamp but today's, how many random crops were looked at, wherever these are today.
    """

    items: frozenset[str] = frozenset()
    by_settings: frozenset[str] = frozenset()
    unstamped: frozenset[str] = frozenset()
    looks: tuple[int, ...] = ()


def spent_looks(decisions: Decisions, today: Today, stamp: str) -> Spent:
    """Which looks certify nothing any more.

    What was seen once is seen: a crop counts under today's stamp only where nobody answered it under another one, taken
    back or replaced as that may be. An answer without a stamp (of an earlier version, or written by hand) was given
    nobody knows when, and certifies nothing.

    Args:
        decisions: all of them, replaced and withdrawn ones too.
        today: what they answer.
        stamp: of looks made now, see `Today.stamp`.
    """
    rows = [row for row in decisions.usable if row.task in ("crop", "audit") and row.decided != WITHDRAWN]
    crop_of = today.looks({row.item_id: row for row in rows}.values()) | today.looks(decisions.rows)
    made = {
        (crop_of[row.item_id], stamp_in(row.basis) if row.task == "audit" else "")
        for row in rows
        if row.item_id in crop_of
    }
    others = {(item, under) for item, under in made if under != stamp}
    stamped = {(item, under) for item, under in others if under}
    elsewhere = frozenset(item for item, under in stamped if settings_in(under) != settings_in(stamp))
    unstamped = frozenset(item for item, _ in others) - {item for item, _ in stamped}
    # of crops that no longer certify too, taken back or not: whoever draws others tries again
    tried = {(row.item_id, stamp_in(row.basis)) for row in rows if row.task == "audit"}
    counts = Counter(under for _, under in tried if under not in ("", stamp))
    return Spent(frozenset(item for item, _ in others), elsewhere, unstamped, tuple(sorted(counts.values())))
