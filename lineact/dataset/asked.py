"""Which crops the queue asks a person about, and what for."""

from dataclasses import dataclass

import pyarrow as pa

from lineact.queue import CALIBRATES, CERTIFIES


@dataclass(frozen=True)
class Asked:
    """Crops of the training part in the queue, as box ids.

    Attributes:
        otherwise: doubtful crops, and all boxes of the frames to correct.
        calibrating: random crops that calibrate lambda.
        certifying: random crops that certify the labels, in their random order.
    """

    otherwise: frozenset[str]
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
    columns = ["item_id", "task", "priority", "reason", "box_ids", "holdout"]
    items = sorted(queue.select(columns).to_pylist(), key=lambda item: item["priority"])
    otherwise = (item for item in items if item["task"] in ("crop", "box") and not item["holdout"])
    return Asked(
        otherwise=frozenset(box_id for item in otherwise for box_id in item["box_ids"]),
        calibrating=tuple(item["item_id"] for item in items if item["reason"] == CALIBRATES),
        certifying=tuple(item["item_id"] for item in items if item["reason"] == CERTIFIES),
    )
