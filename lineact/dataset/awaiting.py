"""Whether enough of the queue is decided to train from it, and which random crops are asked until then.

The random crops are asked until the certificate of the accepted labels is met, by its bound alone, and in the queue's
random order: so somebody who stops where the asking stops has a bound that holds (`lineact.certificate`). What
calibrates is asked before, and no longer once the bound is met, but for what `required` still lacks: its answers move
lambda, and with it the labels that are certified.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lineact.certificate import Target, bound_of
from lineact.dataset import DatasetParams
from lineact.dataset.accepted import Certificate, level_after
from lineact.dataset.asked import Asked
from lineact.dataset.labels import Found, Resolved
from lineact.decisions import Decisions, decided_at
from lineact.errors import AwaitingReview, InputError

MANY_LABELS = 1_000_000  # of so many nearly as few looks are needed as of any number more


@dataclass(frozen=True)
class Waiting:
    """What a person still has to decide.

    Attributes:
        groups: groups without a name.
        items: further doubtful crops, calibrating crops and frames that must be decided before the share is reached.
        holdout_frames: further held-out frames that must be decided.
        undecided: all items of the queue without an answer; not all of them are needed.
        calibrating: undecided crops that calibrate lambda, in random order.
        certifying: undecided crops that certify, in random order.
        certificate: of the accepted labels.
    """

    groups: int
    items: int
    holdout_frames: int
    undecided: int
    calibrating: tuple[str, ...]
    certifying: tuple[str, ...]
    certificate: Certificate


@dataclass(frozen=True)
class AskedAudits:
    """The random crops that are still asked.

    Attributes:
        items: items of the queue: those that calibrate, then those that certify, each in random order.
        certified: where the bound is met, so that what is left undecided is not asked any more: the certificate in
            words; else "".
        shuts_gate: whether training waits for them.
    """

    items: tuple[str, ...]
    certified: str
    shuts_gate: bool


def still_waiting(found: Found, resolved: Resolved, certificate: Certificate, params: DatasetParams) -> Waiting:
    """Counts what is undecided.

    Args:
        found: the tables.
        resolved: see `resolve`.
        certificate: of the accepted labels.
        params: the settings.
    """
    queue, asked = found.queue, found.asked
    answered = pc.is_in(queue["item_id"], pa.array(sorted(resolved.answered), pa.string())).to_numpy()
    holdout = queue["holdout"].to_numpy()
    groups = pc.equal(queue["task"], "group").to_numpy()
    certifying = pc.is_in(queue["item_id"], pa.array(asked.certifying, pa.string())).to_numpy()
    others = ~(groups | holdout | certifying)
    needed = math.ceil(int(others.sum()) * params.min_decided_share)
    done = others & answered
    # Imported annotations decide frames that nobody queued; they teach and measure as well as queued ones.
    measured = len(resolved.holdout_hands)
    frames = pc.equal(queue["task"], "box").to_numpy()
    unasked = max(len(resolved.hands) - int((done & frames).sum()), 0)
    return Waiting(
        groups=int((groups & ~answered).sum()),
        items=max(needed - int(done.sum()) - unasked, 0),
        holdout_frames=max(min(params.min_holdout_frames, int(holdout.sum())) - measured, 0),
        undecided=int((~answered).sum()),
        calibrating=tuple(item for item in asked.calibrating if item not in resolved.answered),
        certifying=tuple(item for item in asked.certifying if item not in resolved.answered),
        certificate=certificate,
    )


def asks_audits(policy: str) -> bool:
    """Whether a line of this `DatasetParams.policy` ever asks random crops."""
    return policy != "none"


def likely_audits(asked: Asked, max_label_error: float) -> tuple[str, ...]:
    """Random crops that are asked where no label is wrong: what can be counted before all crops are labelled.

    Args:
        asked: see `asked_of`.
        max_label_error: see `DatasetParams`.
    """
    looks = bound_of([], MANY_LABELS, Target(max_label_error, level_after(0))).needed
    return (*asked.calibrating, *asked.certifying[:looks])


def asked_audits(waiting: Waiting, params: DatasetParams, line: str) -> AskedAudits:
    """Which random crops are still asked: the page asks these, and the gate waits for what they show.

    Of those that certify, as many as would meet the target at the share of wrong labels so far; a wrong one makes them
    more. Crops whose label is not accepted say nothing of those that are, so they are never asked to certify.

    Args:
        waiting: see `still_waiting`.
        params: the settings.
        line: its name, for words.
    """
    if not asks_audits(params.policy):
        return AskedAudits((), certified="", shuts_gate=False)
    if waiting.groups:  # each name moves labels: nobody knows yet which crops will be accepted, and so certify
        return AskedAudits((*waiting.calibrating, *waiting.certifying), certified="", shuts_gate=False)
    certificate = waiting.certificate
    if not certificate.pooled.met:
        return AskedAudits((*waiting.calibrating, *certificate.wanted), certified="", shuts_gate=True)
    if not certificate.pooled.population:  # what calibrates may let some labels be accepted
        return AskedAudits(waiting.calibrating, certified="", shuts_gate=False)
    owed = params.policy == "required" and waiting.items > 0
    items = waiting.calibrating if owed else ()
    return AskedAudits(items, words_of(certificate, params.max_label_error, line), shuts_gate=False)


def refuse_undecided(waiting: Waiting, params: DatasetParams, line: str) -> None:
    """Ends the stage where the line wants a person's decisions and they are missing.

    Raises:
        AwaitingReview: says how much waits and how to go on.
    """
    items = waiting.items if params.policy == "required" else 0
    uncertified = asked_audits(waiting, params, line).shuts_gate
    if not (waiting.groups or items or waiting.holdout_frames or uncertified):
        return
    certificate = f"; {words_of(waiting.certificate, params.max_label_error, line)}" if uncertified else ""
    raise AwaitingReview(
        f"awaiting review: still needed are {waiting.groups} names of groups, {items} of the crops and frames, "
        f"{waiting.holdout_frames} held-out frames ({waiting.undecided} items of the queue are undecided)"
        f"{certificate}; run `make review LINE={line}`, then the same command again"
    )


def refuse_bad_rows(decided: Decisions, max_bad_share: float, path: Path, items: Collection[str] | None = None) -> None:
    """Ends the stage where too many rows are unusable, or the latest name of a group is no action of the line.

    Args:
        decided: what is in the file.
        max_bad_share: the most of its rows that may be unusable, 0 to 1.
        path: the file.
        items: item ids of today's queue: other groups' names are none; None where it is not known.

    Raises:
        InputError: names the first ones.
    """
    if unknown := {item: words for item, words in _unknown_names(decided).items() if items is None or item in items}:
        named = "; ".join(list(unknown.values())[:5])
        raise InputError(
            f"{path}: expected templates of the line's actions, found {len(unknown)} of unknown ones ({named}); name "
            "these groups again on the review page, mend the rows, or add the label to `actions` in the line's file"
        )
    rows = len(decided.usable) + len(decided.bad)
    if decided.bad and len(decided.bad) > max_bad_share * rows:
        named = "; ".join(f"row {bad.row}, column {bad.column!r}: {bad.found}" for bad in decided.bad[:5])
        raise InputError(
            f"{path}: {len(decided.bad)} of {rows} rows are unusable, more than the share {max_bad_share:g} of "
            f"dataset.max_bad_share: {named}; mend these rows"
        )


def _unknown_names(decided: Decisions) -> dict[str, str]:
    """Groups of which an unknown label is the last word: item id to what is wrong."""
    last = {row.item_id: decided_at(row) for row in decided.usable}  # by item and time
    found = {}
    for bad in decided.bad:
        row = bad.unknown
        if row and row.task == "group" and (row.item_id not in last or last[row.item_id] < decided_at(row)):
            found[row.item_id] = f"row {bad.row}, {row.item_id}: {bad.found}"
    return found


def words_of(certificate: Certificate, max_label_error: float, line: str) -> str:
    """The certificate of the accepted labels in a sentence."""
    pooled = certificate.pooled
    if not pooled.population:
        return "no crop has a label that nobody decided"
    error = "unknown" if pooled.error is None else f"{pooled.error:.1%}"
    said = (
        f"label error of {pooled.population} accepted crops: {error}, at most {pooled.upper:.1%} (95 %), "
        f"{pooled.looked} looked at"
    )
    return f"{said}, {_what_remains(certificate, max_label_error, line)}{_spent_words(certificate)}"


def _spent_words(certificate: Certificate) -> str:
    if not certificate.spent:
        return ""
    others = certificate.spent - certificate.by_settings - certificate.unstamped
    made = [f"{others} under other names or decisions than today's"] if others else []
    made += [f"{certificate.by_settings} under other settings"] if certificate.by_settings else []
    made += [f"{certificate.unstamped} without a stamp"] if certificate.unstamped else []
    return (
        f"; {certificate.spent} earlier looks certify nothing any more ({' and '.join(made)}): only random crops that "
        "nobody had seen by then do"
    )


def _what_remains(certificate: Certificate, max_label_error: float, line: str) -> str:
    pooled = certificate.pooled
    if pooled.looked == pooled.population:
        return "so that nobody's word is missing"
    if pooled.met:
        return f"no more looks needed for {max_label_error:.1%}"
    if pooled.needed is None:
        return (
            f"which more looks will hardly bring under {max_label_error:.1%}: name the groups more finely or decide "
            "more of their crops, and look at fresh random crops (queue.audit_certify)"
        )
    needed = f"{pooled.needed} more looks needed for {max_label_error:.1%}"
    if pooled.needed > len(certificate.next_items):
        needed += (
            f", of which the queue has {len(certificate.next_items)} (raise queue.audit_certify in "
            f"conf/line/{line}.yaml, then `python -m flows.label_line line={line}` asks for more)"
        )
    return needed
