"""The labels that nobody decided and that train all the same, and a certificate of how many of them are wrong.

Accepted are the crops that matching labels from lambda on and that the queue asks nobody about, or only to certify.
What is asked for another reason (doubtful crops, those that calibrate, those on frames to correct) waits for its answer
and is not taken before. So the certifying crops that are accepted are, in their random order, a sample without
replacement from all that is accepted. Their answers name no other crop and move no lambda: nothing of what is accepted
depends on them.

Looks under other decisions or settings than today's are spent (`lineact.dataset.today`). Whoever changes these until
the bound is met tries several times, and each time might be told too little: so what may go wrong altogether,
1 - LEVEL, is shared out, and every further try after one that could have met the target has less of it.

Only an unbroken run counts: where a crop of the order is left out, what is answered after it waits for it, since
somebody who leaves out the hard ones draws no random sample.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.certificate import Bound, Target, bound_of, least_looks
from lineact.dataset import DatasetParams
from lineact.dataset.calibration import Lambda, Sample, calibrate, labels_taken, sample_of
from lineact.dataset.labels import Found, Resolved
from lineact.dataset.matching import Matches, match_to_named
from lineact.dataset.today import Spent
from lineact.decisions import NG
from lineact.splits import Holdout

LEVEL = 0.95  # in so many of all reviews every bound that is told holds, with other names or settings tried or not
FIRST_SHARE = 0.8  # of what may go wrong, for who changes nothing that the looks certify; the rest is for further tries


@dataclass(frozen=True)
class Accepted:
    """Labels that are accepted without a person's word.

    Attributes:
        box_ids: string, N.
        names: the labels that there may be.
        actions: int, N: places in `names`.
    """

    box_ids: pa.Array
    names: tuple[str, ...]
    actions: np.ndarray

    def __len__(self) -> int:
        """N."""
        return len(self.box_ids)

    @cached_property
    def sizes(self) -> Counter[str]:
        """How many have each label."""
        counts = np.bincount(self.actions, minlength=len(self.names))
        return Counter({name: int(count) for name, count in zip(self.names, counts, strict=True) if count})

    def of(self, box_ids: Collection[str]) -> dict[str, str]:
        """Box id to label, of those box ids that are accepted, in their order."""
        wanted = pa.array(box_ids, pa.string())
        rows = pc.index_in(wanted, value_set=self.box_ids)
        found = zip(box_ids, rows.to_pylist(), strict=True)
        return {box_id: self.names[self.actions[row]] for box_id, row in found if row is not None}

    def labels(self) -> dict[str, str]:
        """Box id to label, of all: an object for each."""
        return dict(zip(self.box_ids.to_pylist(), (self.names[place] for place in self.actions), strict=True))


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
        level: of these bounds: `LEVEL` at least, see `level_after`.
        looks: the answers that count, in their random order.
        next_items: items of the queue to look at next, in order; empty where the queue asks no more.
        wanted: of these, the first ones: those that would meet the target at the share of wrong labels so far.
        uncounted: answers that wait for one that was left out before them.
        spent: accepted labels looked at under other settings or decisions; they are in no bound any more.
        by_settings: how many of them under other settings.
        unstamped: how many of them do not tell under which.
    """

    pooled: Bound
    actions: dict[str, Bound]
    level: float
    looks: tuple[Look, ...]
    next_items: tuple[str, ...]
    wanted: tuple[str, ...]
    uncounted: int
    spent: int
    by_settings: int
    unstamped: int


@dataclass(frozen=True)
class Labelling:
    """How crops that nobody decided are labelled.

    Attributes:
        matches: what every crop of the training part was named.
        sample: what calibrated lambda.
        lambdas: by action.
        accepted: the accepted crops, the certifying ones among them.
        certificate: of these.
    """

    matches: Matches
    sample: Sample
    lambdas: dict[str, Lambda]
    accepted: Accepted
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
    sample = sample_of(found, resolved, holdout)
    matches = match_to_named(found, resolved, sample.audited, holdout, params)
    lambdas = calibrate(matches, sample, params.labels.precision, params.labels.min_certainty)
    box_ids = found.embedded["box_id"].take(matches.rows)
    calibrates = pc.is_in(box_ids, pa.array(asked.calibrating, pa.string())).to_numpy()
    free = np.isin(matches.rows, sample.undecided) & ~calibrates
    places = np.flatnonzero(labels_taken(matches, lambdas) & free)
    accepted = Accepted(box_ids.take(places).combine_chunks(), matches.names, matches.actions[places])
    certificate = certify(accepted, asked.certifying, resolved.crop_actions, resolved.spent, params)
    return Labelling(matches, sample, lambdas, accepted, certificate)


def level_after(tries: int) -> float:
    """Share of samples in which the bounds of this try hold.

    Over all tries together they hold in `LEVEL` of reviews: 1 / (1 * 2) + 1 / (2 * 3) + ... is 1.

    Args:
        tries: earlier ones, under other settings or decisions, with looks enough to have met the target.
    """
    share = (1 - FIRST_SHARE) / (tries * (tries + 1)) if tries else FIRST_SHARE
    return 1 - (1 - LEVEL) * share


def certify(
    accepted: Accepted,
    certifying: Sequence[str],
    decided: Mapping[str, str],
    spent: Spent,
    params: DatasetParams,
) -> Certificate:
    """What a person's answers say of the accepted labels.

    Looks that are spent say nothing of the labels as they are now. Their crops have a person's word: what is certified
    are the others, of which the rest of the random order is a sample as good as the whole.

    Args:
        accepted: the labels.
        certifying: box ids in random order; those that are not accepted do not matter.
        decided: box id to what a person said.
        spent: looks under other settings or decisions.
        params: the settings.
    """
    label_of = accepted.of(certifying)
    gone = label_of.keys() & decided.keys() & spent.items
    sizes = accepted.sizes - Counter(label_of[box_id] for box_id in gone)
    order = [box_id for box_id in label_of if box_id not in gone]
    unseen = [box_id for box_id in order if box_id not in decided]
    counted = order.index(unseen[0]) if unseen else len(order)
    looks = tuple(Look(label_of[box_id], decided[box_id]) for box_id in order[:counted])
    enough = least_looks(Target(params.max_label_error, LEVEL))
    level = level_after(sum(looked >= enough for looked in spent.looks))
    pooled = _bound(looks, sizes.total(), Target(params.max_label_error, level))
    labels = (*params.actions, NG)
    # Bonferroni over the line's labels, which are known before anything is looked at
    each = Target(params.max_label_error, 1 - (1 - level) / len(labels))
    actions = {label: _bound([look for look in looks if look.action == label], sizes[label], each) for label in labels}
    end = None if pooled.needed is None else counted + pooled.needed
    wanted = tuple(box_id for box_id in order[:end] if box_id not in decided)
    uncounted = len(order) - len(unseen) - counted
    of_spent = len(gone), len(gone & spent.by_settings), len(gone & spent.unstamped)
    return Certificate(pooled, actions, level, looks, tuple(unseen), wanted, uncounted, *of_spent)


def _bound(looks: Sequence[Look], population: int, target: Target) -> Bound:
    return bound_of([look.action != look.said for look in looks], population, target)
