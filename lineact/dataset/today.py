"""What decisions answer among the frames, boxes and groups of today, and which came too late for the certificate.

A look at a random crop certifies labels that did not depend on it. Whoever names a group after the first look may do so
because of what the looks showed, and the labels become others: looks up to that change certify nothing any more. Random
crops that nobody had looked at then are as good as ever.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from lineact.attach import answered_items
from lineact.decisions import (
    WITHDRAWN,
    Decision,
    Decisions,
    PlacedBox,
    agreed,
    decided_at,
    frame_key,
    frame_of_item,
    standing,
)
from lineact.splits import Holdout

FrameId = tuple[str, float]  # recording, seconds


@dataclass(frozen=True)
class Today:
    """What decisions can answer.

    Attributes:
        bases: items of the queue and their bases.
        boxes: frame to its boxes that no rule dropped.
        frames: frames of all recordings by `frame_key`.
        holdout: which of them train.
        min_iou: see `answered_items`.
    """

    bases: Mapping[str, str]
    boxes: Mapping[FrameId, list[PlacedBox]]
    frames: Mapping[str, FrameId]
    holdout: Holdout
    min_iou: float

    def answered(self, decisions: Iterable[Decision]) -> dict[str, str]:
        """See `answered_items`."""
        return answered_items(decisions, self.bases, self.boxes, self.min_iou)

    def names_crops(self, item_id: str) -> bool:
        """Whether a decision that answers this item of today can change labels: those of the training part can."""
        if item_id.startswith("group:"):
            return True
        key = frame_key(*frame_of_item(item_id)) if item_id.startswith("frame:") else item_id.split("#")[0]
        return key in self.frames and self.holdout.part_of(*self.frames[key]) == "train"


@dataclass(frozen=True)
class Late:
    """What was decided after the first look at a certifying crop.

    Attributes:
        items: names, crops and frames whose word is another than when that look was made.
        spent: box ids of the certifying crops that were looked at before the last of these changes.
    """

    items: frozenset[str] = frozenset()
    spent: frozenset[str] = frozenset()


def today_of(
    queue: pa.Table,
    boxes: Mapping[FrameId, list[PlacedBox]],
    frames: pa.Table,
    holdout: Holdout,
    min_iou: float,
) -> Today:
    """What can be answered today.

    Args:
        queue: schema QUEUE.
        boxes: see `boxes_on_frames`.
        frames: schema FRAMES.
        holdout: resolved from the settings.
        min_iou: see `answered_items`.
    """
    bases = dict(zip(queue["item_id"].to_pylist(), queue["basis"].to_pylist(), strict=True))
    ids = zip(frames["video_sha256"].to_pylist(), frames["pts_s"].to_pylist(), strict=True)
    return Today(bases, boxes, {frame_key(*frame): frame for frame in ids}, holdout, min_iou)


def boxes_on_frames(boxes: pa.Table) -> dict[FrameId, list[PlacedBox]]:
    """Frame to the boxes on it (schema BOXES) that no rule dropped."""
    frames: dict[FrameId, list[PlacedBox]] = {}
    for row in boxes.to_pylist():
        if row["dropped_by"] is None:
            box = (row["x1"], row["y1"], row["x2"], row["y2"])
            frames.setdefault((row["video_sha256"], row["pts_s"]), []).append((row["box_id"], box))
    return frames


def decided_late(decisions: Decisions, certifying: Iterable[str], today: Today) -> Late:
    """What was decided too late, by what it answers today: decisions that merely found their crops again are not late.

    Answers to random crops never are: each was drawn, and asked without a hint, whatever the looks before it showed.

    Args:
        decisions: all of them, replaced and withdrawn ones too.
        certifying: box ids of the crops that certify.
        today: what they answer.
    """
    looks = set(certifying)
    rows = decisions.usable
    audits = [row for row in rows if row.task == "audit" and row.decided != WITHDRAWN]
    item_of = today.answered(decisions.rows) if audits else {}
    looked = [row for row in audits if item_of.get(row.item_id, row.item_id) in looks]
    first = min(map(decided_at, looked), default=None)
    others = [row for row in rows if row.task != "audit"]
    if first is None or all(decided_at(row) <= first for row in others):
        return Late()
    before = standing([row for row in others if decided_at(row) <= first]).rows
    item_then = today.answered(before)
    then = {item_then[row.item_id]: row for row in before if row.item_id in item_then}
    now = {item_of[row.item_id]: row for row in decisions.rows if row.item_id in item_of and row.task != "audit"}
    same = looks | {item for item in then.keys() & now.keys() if agreed((then[item], now[item]))}
    late = frozenset(item for item in (then.keys() | now.keys()) - same if today.names_crops(item))
    items = item_then | item_of
    last = max((decided_at(row) for row in others if items.get(row.item_id) in late), default=None)
    if last is None:
        return Late()
    return Late(late, frozenset(item_of.get(row.item_id, row.item_id) for row in looked if decided_at(row) <= last))
