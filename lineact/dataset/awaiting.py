"""Whether enough of the queue is decided to train from it."""

import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lineact.dataset import DatasetParams
from lineact.dataset.accepted import Certificate
from lineact.dataset.asked import asked_of
from lineact.dataset.labels import Resolved
from lineact.decisions import Decisions
from lineact.errors import AwaitingReview, InputError


@dataclass(frozen=True)
class Waiting:
    """What a person still has to decide.

    Attributes:
        groups: groups without a name.
        items: further doubtful crops, calibrating crops and frames that must be decided before the share is reached.
        holdout_frames: further held-out frames that must be decided.
        undecided: all items of the queue without an answer; not all of them are needed.
        certificate: of the accepted labels.
    """

    groups: int
    items: int
    holdout_frames: int
    undecided: int
    certificate: Certificate


def still_waiting(queue: pa.Table, resolved: Resolved, certificate: Certificate, params: DatasetParams) -> Waiting:
    """Counts what is undecided.

    Args:
        queue: schema QUEUE.
        resolved: see `resolve`.
        certificate: of the accepted labels.
        params: the settings.
    """
    asked = list(zip(*(queue[name].to_pylist() for name in ("item_id", "task", "holdout")), strict=True))
    certifying = set(asked_of(queue).certifying)
    groups = [item for item, task, _ in asked if task == "group"]
    others = [item for item, task, holdout in asked if task != "group" and not holdout and item not in certifying]
    measures = [item for item, _, holdout in asked if holdout]
    needed = math.ceil(len(others) * params.min_decided_share)
    # Imported annotations decide held-out frames that nobody queued; they measure as well as queued ones.
    measured = len(resolved.holdout_hands)
    return Waiting(
        groups=sum(item not in resolved.answered for item in groups),
        items=max(needed - sum(item in resolved.answered for item in others), 0),
        holdout_frames=max(min(params.min_holdout_frames, len(measures)) - measured, 0),
        undecided=sum(item not in resolved.answered for item, _, _ in asked),
        certificate=certificate,
    )


def refuse_undecided(waiting: Waiting, params: DatasetParams, line: str) -> None:
    """Ends the stage where the line wants a person's decisions and they are missing.

    Raises:
        AwaitingReview: says how much waits and how to go on.
    """
    items = waiting.items if params.policy == "required" else 0
    # Before the groups are named nothing is accepted, and of nothing there is nothing to certify.
    uncertified = params.policy != "none" and not waiting.certificate.pooled.met and not waiting.groups
    if not (waiting.groups or items or waiting.holdout_frames or uncertified):
        return
    certificate = f"; {words_of(waiting.certificate, params.max_label_error, line)}" if uncertified else ""
    raise AwaitingReview(
        f"awaiting review: still needed are {waiting.groups} names of groups, {items} of the crops and frames, "
        f"{waiting.holdout_frames} held-out frames ({waiting.undecided} items of the queue are undecided)"
        f"{certificate}; run `make review LINE={line}`, then the same command again"
    )


def refuse_bad_rows(decided: Decisions, max_bad_share: float, path: Path) -> None:
    """Ends the stage where too many rows are unusable.

    Raises:
        InputError: names the first ones.
    """
    rows = len(decided.usable) + len(decided.bad)
    if decided.bad and len(decided.bad) > max_bad_share * rows:
        named = "; ".join(f"row {bad.row}, column {bad.column!r}: {bad.found}" for bad in decided.bad[:5])
        raise InputError(
            f"{path}: {len(decided.bad)} of {rows} rows are unusable, more than the share {max_bad_share:g} of "
            f"dataset.max_bad_share: {named}; mend these rows"
        )


def words_of(certificate: Certificate, max_label_error: float, line: str) -> str:
    """The certificate of the accepted labels in a sentence."""
    pooled = certificate.pooled
    if not pooled.population:
        return "no crop has a label that nobody decided"
    late = ""
    if certificate.spent:
        late = (
            f"; {certificate.spent} earlier looks certify nothing any more, since {certificate.late} names, crops or "
            "frames were decided after them: only random crops that nobody had seen by then do"
        )
    error = "unknown" if pooled.error is None else f"{pooled.error:.1%}"
    said = (
        f"label error of {pooled.population} accepted crops: {error}, at most {pooled.upper:.1%} (95 %), "
        f"{pooled.looked} looked at"
    )
    return f"{said}, {_what_remains(certificate, max_label_error, line)}{late}"


def _what_remains(certificate: Certificate, max_label_error: float, line: str) -> str:
    pooled = certificate.pooled
    if pooled.looked == pooled.population:
        return "so that nobody's word is missing"
    if pooled.met:
        return f"no more looks needed for {max_label_error:.1%}"
    if pooled.needed is None:
        return (
            f"which more looks will hardly bring under {max_label_error:.1%}: name the groups more finely, decide more "
            "(queue.crops, queue.audit_calibrate), or raise dataset.labels.min_certainty or review.max_label_error"
        )
    needed = f"{pooled.needed} more looks needed for {max_label_error:.1%}"
    if pooled.needed > len(certificate.next_items):
        needed += (
            f", of which the queue has {len(certificate.next_items)} (raise queue.audit_certify in "
            f"conf/line/{line}.yaml, then `python -m flows.label_line line={line}` asks for more)"
        )
    return needed
