"""The labels that nobody decided and that train all the same, and a certificate of how many of them are wrong.

Accepted are the crops that matching labels from lambda on and that the queue asks nobody about, or only to certify.
What is asked for another reason (doubtful crops, those that calibrate, those on frames to correct) waits for its answer
and is not taken before. So the certifying crops that are accepted are, in their random order, a sample without
replacement from all that is accepted. Their answers name no other crop and move no lambda: nothing of what is accepted
depends on them.

Only an unbroken run counts: where a crop of the order is left out, what is answered after it waits for it, since
somebody who leaves out the hard ones draws no random sample.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from lineact.certificate import Bound, Target, bound_of
from lineact.dataset import DatasetParams
from lineact.dataset.asked import asked_of
from lineact.dataset.calibration import Lambda, Sample, calibrate, labels_taken, sample_of
from lineact.dataset.labels import Found, Resolved
from lineact.dataset.matching import Match, match_to_named
from lineact.decisions import NG, Decision
from lineact.splits import Holdout

LEVEL = 0.95  # in so many of all random orders the bounds hold


@dataclass(frozen=True)
class Look:
    """A certifying crop that a person looked at.

    Attributes:
        action: its label by matching.
        said: what the person said.
    """

    action: str
    said: str


@dataclass(frozen=True)
class Certificate:
    """What the certifying answers say of the accepted labels, by what the reviewer says: see `LEVEL`.

    Attributes:
        pooled: of all accepted labels together.
        actions: of those of each of the line's labels, NG the last. These bounds hold all together at the same level,
            not with the pooled one.
        looks: the answers that count, in their random order.
        next_items: items of the queue to look at next, in order; empty where the queue asks no more.
        wanted: of these, the first ones: those that would meet the target at the share of wrong labels so far.
        uncounted: answers that wait for one that was left out before them.
    """

    pooled: Bound
    actions: dict[str, Bound]
    looks: tuple[Look, ...]
    next_items: tuple[str, ...]
    wanted: tuple[str, ...]
    uncounted: int


@dataclass(frozen=True)
class Labelling:
    """How crops that nobody decided are labelled.

    Attributes:
        matches: box id of every crop of the training part to what it was named.
        sample: what calibrated lambda.
        lambdas: by action.
        accepted: box id to label of the accepted crops, the certifying ones among them.
        certificate: of these.
    """

    matches: dict[str, Match]
    sample: Sample
    lambdas: dict[str, Lambda]
    accepted: dict[str, str]
    certificate: Certificate


def label_the_rest(found: Found, resolved: Resolved, holdout: Holdout, params: DatasetParams) -> Labelling:
    """Labels the crops that nobody decided, and certifies that.

    Args:
        found: the tables and embeddings.
        resolved: names and decisions.
        holdout: resolved from the settings.
        params: the settings.
    """
    asked = asked_of(found.queue)
    matches = match_to_named(found, resolved, holdout, params)
    sample = sample_of(found, resolved, holdout)
    lambdas = calibrate(matches, sample, params.labels.precision, params.labels.min_certainty)
    free = set(sample.undecided) - set(asked.calibrating)
    accepted = {box_id: action for box_id, action in labels_taken(matches, lambdas).items() if box_id in free}
    certificate = certify(accepted, asked.certifying, resolved.crop_actions, params)
    return Labelling(matches, sample, lambdas, accepted, certificate)


def certify(
    accepted: Mapping[str, str], certifying: Sequence[str], decided: Mapping[str, str], params: DatasetParams
) -> Certificate:
    """What a person's answers say of the accepted labels.

    Args:
        accepted: box id to label.
        certifying: box ids in random order; those that are not accepted do not matter.
        decided: box id to what a person said.
        params: the settings.
    """
    order = [box_id for box_id in certifying if box_id in accepted]
    unseen = [box_id for box_id in order if box_id not in decided]
    counted = order.index(unseen[0]) if unseen else len(order)
    looks = tuple(Look(accepted[box_id], decided[box_id]) for box_id in order[:counted])
    pooled = _bound(looks, len(accepted), Target(params.max_label_error, LEVEL))
    labels = (*params.actions, NG)
    # Bonferroni over the line's labels, which are known before anything is looked at
    each = Target(params.max_label_error, 1 - (1 - LEVEL) / len(labels))
    sizes = Counter(accepted.values())
    actions = {label: _bound([look for look in looks if look.action == label], sizes[label], each) for label in labels}
    end = None if pooled.needed is None else counted + pooled.needed
    wanted = tuple(box_id for box_id in order[:end] if box_id not in decided)
    return Certificate(pooled, actions, looks, tuple(unseen), wanted, len(order) - len(unseen) - counted)


def decided_since_certifying(decisions: Iterable[Decision], queue: pa.Table) -> int:
    """How many decisions that name crops were made after the first certifying answer; held-out frames name none.

    A name that was changed because of what the sample showed mends the sample more than the rest: the bound is then
    too low by what nobody can tell.

    Args:
        decisions: the latest of each item.
        queue: schema QUEUE.
    """
    certifies = set(asked_of(queue).certifying)
    measures = set(queue.filter(queue["holdout"])["item_id"].to_pylist())
    times = {one.item_id: _utc(one.decided_at) for one in decisions if one.item_id not in measures}
    first = min((time for item, time in times.items() if item in certifies), default=None)
    return sum(item not in certifies and time > first for item, time in times.items()) if first else 0


def _bound(looks: Sequence[Look], population: int, target: Target) -> Bound:
    return bound_of([look.action != look.said for look in looks], population, target)


def _utc(decided_at: str) -> datetime:
    time = datetime.fromisoformat(decided_at)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
