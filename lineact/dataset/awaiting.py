"""Whether enough of the queue is decided to train from it."""

import math
from dataclasses import dataclass

import pyarrow as pa

from lineact.dataset import DatasetParams
from lineact.dataset.labels import Resolved
from lineact.errors import AwaitingReview


@dataclass(frozen=True)
class Waiting:
    """What a person still has to decide.

    Attributes:
        groups: groups without a name.
        items: further crops, audits and frames that must be decided before the share is reached.
        holdout_frames: further held-out frames that must be decided.
        undecided: all items of the queue without an answer; not all of them are needed.
    """

    groups: int
    items: int
    holdout_frames: int
    undecided: int


def still_waiting(queue: pa.Table, resolved: Resolved, params: DatasetParams) -> Waiting:
    """Counts what is undecided.

    Args:
        queue: schema QUEUE.
        resolved: see `resolve`.
        params: the settings.
    """
    asked = list(zip(*(queue[name].to_pylist() for name in ("item_id", "task", "holdout")), strict=True))
    groups = [item for item, task, _ in asked if task == "group"]
    others = [item for item, task, holdout in asked if task != "group" and not holdout]
    measures = [item for item, _, holdout in asked if holdout]
    needed = math.ceil(len(others) * params.min_decided_share)
    # Imported annotations decide held-out frames that nobody queued; they measure as well as queued ones.
    measured = len(resolved.holdout_hands)
    return Waiting(
        groups=sum(item not in resolved.answered for item in groups),
        items=max(needed - sum(item in resolved.answered for item in others), 0),
        holdout_frames=max(min(params.min_holdout_frames, len(measures)) - measured, 0),
        undecided=sum(item not in resolved.answered for item, _, _ in asked),
    )


def refuse_undecided(waiting: Waiting, params: DatasetParams, line: str) -> None:
    """Ends the stage where the line wants a person's decisions and they are missing.

    Raises:
        AwaitingReview: says how much waits and how to go on.
    """
    items = waiting.items if params.policy == "required" else 0
    if not (waiting.groups or items or waiting.holdout_frames):
        return
    raise AwaitingReview(
        f"awaiting review: still needed are {waiting.groups} names of groups, {items} of the crops and frames, "
        f"{waiting.holdout_frames} held-out frames ({waiting.undecided} items of the queue are undecided); "
        f"run `make review LINE={line}`, then the same command again"
    )
