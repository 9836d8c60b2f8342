"""Which crops the queue asks a person about, and what for."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lineact.queue import CALIBRATES, CERTIFIES
from lineact.schema import sorted_by


@dataclass(frozen=True)
class Asked:
    """Crops of the training part in the queue, as box ids.

    Attributes:
        otherwise: doubtful crops, and all boxes of the frames to correct.
        calibrating: random crops that calibrate lambda.
        certifying: random crops that certify the labels, in their random order.
    """

    otherwise: pa.Array
    calibrating: tuple[str, ...]
    certifying: tuple[str, ...]

    @property
    def audits(self) -> frozenset[str]:
        """All random crops."""
        return frozenset(self.calibrating + self.certifying)


def asked_of(queue: pa.Table) -> Asked:
    """Reads it off the queue.

    Args:
        queue: schema QUEUE.
    """
    of_task = pc.is_in(queue["task"], pa.array(["crop", "box"]))
    otherwise = queue["box_ids"].filter(pc.and_not(of_task, queue["holdout"]))
    box_ids = pc.list_flatten(otherwise).combine_chunks()
    return Asked(box_ids, _with_reason(queue, CALIBRATES), _with_reason(queue, CERTIFIES))


def _with_reason(queue: pa.Table, reason: str) -> tuple[str, ...]:
    items = queue.select(["item_id", "priority"]).filter(pc.equal(queue["reason"], reason))
    return tuple(sorted_by(items, "priority")["item_id"].to_pylist())
