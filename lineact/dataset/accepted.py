"""The labels that nobody decided and that train all the same, and a certificate of how many of them are wrong.

Accepted are the crops that matching labels from lambda on and that the queue asks nobody about, or only to certify.
What is asked for another reason (doubtful crops, those that calibrate, those on frames to correct) waits for its answer
and is not taken before. So the certifying crops that are accepted are, in their random order, a sample without
replacement from all that is accepted. Their answers name no other crop and move no lambda: nothing of what is accepted
depends on them.

What was decided after the first look spends the looks before it (`lineact.dataset.today`).

Only an unbroken run counts: where a crop of the order is left out, what is answered after it waits for it, since
somebody who leaves out the hard ones draws no random sample.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lineact.certificate import Bound, Target, bound_of
from lineact.dataset import DatasetParams
from lineact.dataset.calibration import Lambda, Sample, calibrate, labels_taken, sample_of
from lineact.dataset.labels import Found, Resolved
from lineact.dataset.matching import Match, match_to_named
from lineact.dataset.today import Late
from lineact.decisions import NG
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
        late: names, crops and frames decided after the first look, see `decided_late`.
        spent: accepted labels looked at before the last of these; they are in no bound any more.
    """

    pooled: Bound
    actions: dict[str, Bound]
    looks: tuple[Look, ...]
    next_items: tuple[str, ...]
    wanted: tuple[str, ...]
    uncounted: int
    late: int
    spent: int


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
    asked = found.asked
    matches = match_to_named(found, resolved, holdout, params)
    sample = sample_of(found, resolved, holdout)
    lambdas = calibrate(matches, sample, params.labels.precision, params.labels.min_certainty)
    free = set(sample.undecided) - set(asked.calibrating)
    accepted = {box_id: action for box_id, action in labels_taken(matches, lambdas).items() if box_id in free}
    certificate = certify(accepted, asked.certifying, resolved.crop_actions, resolved.late, params)
    return Labelling(matches, sample, lambdas, accepted, certificate)


def certify(
    accepted: Mapping[str, str],
    certifying: Sequence[str],
    decided: Mapping[str, str],
    late: Late,
    params: DatasetParams,
) -> Certificate:
    """What a person's answers say of the accepted labels.

    Looks that are spent say nothing of the labels as they are now. Their crops have a person's word: what is certified
    are the others, of which the rest of the random order is a sample as good as the whole.

    Args:
        accepted: box id to label.
        certifying: box ids in random order; those that are not accepted do not matter.
        decided: box id to what a person said.
        late: what was decided too late, and the looks that it spent.
        params: the settings.
    """
    spent = accepted.keys() & decided.keys() & late.spent
    accepted = {box_id: action for box_id, action in accepted.items() if box_id not in spent}
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
    uncounted = len(order) - len(unseen) - counted
    return Certificate(pooled, actions, looks, tuple(unseen), wanted, uncounted, len(late.items), len(spent))


def _bound(looks: Sequence[Look], population: int, target: Target) -> Bound:
    return bound_of([look.action != look.said for look in looks], population, target)
