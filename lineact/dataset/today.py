"""What decisions answer among the frames, boxes and groups of today, and which looks certify the labels of today.

A look at a random crop certifies labels that did not depend on it: those of the settings and decisions under which it
was made (`lineact.looks`). Looks under others are spent: they certify nothing. Random crops that nobody had looked at
by then are as good as ever.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pyarrow as pa

from lineact.attach import answered_items
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
    """

    bases: QueueBases
    boxes: PlacedBoxes
    frames: Frames
    holdout: Holdout
    min_iou: float

    def answered(self, decisions: Iterable[Decision]) -> dict[str, str]:
        """See `answered_items`."""
        return answered_items(decisions, self.bases, self.boxes, self.min_iou)

    def stamp(self, decisions: Decisions, settings: str) -> str:
        """See `stamp_now`."""
        return stamp_now(decisions, settings, self.frames, self.holdout)


def stamp_now(decisions: Decisions, settings: str, frames: Frames, holdout: Holdout) -> str:
    """The stamp of looks made now, see `stamp_of`.

    Args:
        decisions: those made so far.
        settings: see `DatasetParams.accepted_by`.
        frames: of all recordings.
        holdout: which of them train.
    """

    def can_change_labels(row: Decision) -> bool:
        if row.task in ("group", "audit"):
            return row.task == "group"
        key = frame_key(*frame_of_item(row.item_id)) if row.task == "box" else row.item_id.split("#")[0]
        frame = frames.get(key)
        return frame is not None and holdout.part_of(*frame) == "train"

    return stamp_of(settings, [row for row in decisions.rows if can_change_labels(row)])


@dataclass(frozen=True)
class Spent:
    """Looks that were made under other settings or decisions than today's.

    Attributes:
        items: box ids of the random crops that were looked at so.
        by_settings: of these, the ones looked at under other settings.
        looks: under each stamp but today's, how many random crops were looked at.
    """

    items: frozenset[str] = frozenset()
    by_settings: frozenset[str] = frozenset()
    looks: tuple[int, ...] = ()


def spent_looks(decisions: Decisions, certifying: Collection[str], today: Today, stamp: str) -> Spent:
    """Which looks certify nothing any more.

    What was seen once is seen: a crop counts under today's stamp only where nobody answered it under another one, taken
    back or replaced as that may be. An answer without a stamp (of an earlier version, or written by hand) was given
    nobody knows when, and certifies nothing.

    Args:
        decisions: all of them, replaced and withdrawn ones too.
        certifying: box ids of the crops that certify.
        today: what they answer.
        stamp: of looks made now, see `Today.stamp`.
    """
    looks = set(certifying)
    frames = {item.split("#")[0] for item in looks}
    near = [row for row in decisions.rows if row.task in ("crop", "audit") and row.item_id.split("#")[0] in frames]
    item_of = today.answered(near)
    rows = (row for row in decisions.usable if row.task in ("crop", "audit") and row.decided != WITHDRAWN)
    made = {(item_of.get(row.item_id, row.item_id), stamp_in(row.basis)) for row in rows}
    others = {(item, under) for item, under in made if item in looks and under != stamp}
    elsewhere = frozenset(item for item, under in others if settings_in(under) != settings_in(stamp))
    counts = Counter(under for _, under in others)
    return Spent(frozenset(item for item, _ in others), elsewhere, tuple(sorted(counts.values())))
