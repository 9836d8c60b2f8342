"""Lambda: the certainty from which a label is taken, chosen so that the labels taken are right.

The audited crops are a random sample of the training part's crops that nothing else asks a person about, so what is
true of them says something about those that nobody saw. Conformal selection (Jin and Candes 2023, algorithm 1): the
p-value of a crop is (1 + audited crops with a wrong label and at least its certainty) / (audited crops + 1), and the
crops that the rule of Benjamini and Hochberg selects among them hold at most the wanted share of wrong labels, on
average over samples. Crops asked for another reason (doubtful ones, those on a frame to correct) are no part of sample
and population: they were not drawn at random. The random crops that certify the labels belong to the rest, looked at or
not.

The audited crops name others, too, and each is judged without its own word (`lineact.dataset.matching`): so by one name
less than the rest, which the theorem does not cover. Of what is selected the labels that an audit contradicts are not
taken: no wrong one comes in by that, but where right ones go the share of wrong ones grows with what is left out.
`make bench-audit` measures what both come to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.dataset.frames import rows_on
from lineact.dataset.labels import Found, Resolved
from lineact.dataset.matching import Matches
from lineact.splits import Holdout


@dataclass(frozen=True)
class Lambda:
    """The least certainty of one action's labels.

    Attributes:
        certainty: the threshold, -1.6 to 3.
        source: "action" where the audits of this action alone show it, "pooled" where those of several actions together
            do, "constant" where there is too little evidence for either.
        audited: audited crops with this label.
        wrong: of these, those whose label is wrong.
    """

    certainty: float
    source: str
    audited: int
    wrong: int


@dataclass(frozen=True)
class Sample:
    """A random sample of crops, and the rest of the population it was drawn from.

    Attributes:
        audited: int64, n: rows of `Found.embedded`, ascending.
        said: n: what a person said of each.
        undecided: int64: rows of the rest, ascending, a few that certify among them decided.
    """

    audited: np.ndarray
    said: tuple[str, ...]
    undecided: np.ndarray


@dataclass(frozen=True)
class Audits:
    """Audited crops of one label.

    Attributes:
        certainties: float, n.
        is_right: bool, n.
    """

    certainties: np.ndarray
    is_right: np.ndarray


def conformal_threshold(audits: Audits, certainties: np.ndarray, max_wrong: float) -> float | None:
    """The least certainty from which labels are taken with at most so many wrong ones among them, on average.

    Args:
        audits: a random sample of the population, with what a person said.
        certainties: float, m: of the crops of the same population that nobody decided.
        max_wrong: greatest expected share of wrong labels among those taken, 0 to 1.

    Returns:
        One of `certainties`; None where the sample is too small to take any.
    """
    order = np.sort(np.asarray(certainties, float))[::-1]
    wrong = np.sort(np.asarray(audits.certainties, float)[~np.asarray(audits.is_right, bool)])
    taken = np.searchsorted(-order, -order, side="right")  # how many are at least as certain
    wrong_above = len(wrong) - np.searchsorted(wrong, order, side="left")
    estimated = len(order) / (len(audits.certainties) + 1) * (1 + wrong_above) / np.maximum(taken, 1)
    fits = np.flatnonzero(estimated <= max_wrong)
    return float(order[fits[-1]]) if len(fits) else None


def needed_audits(max_wrong: float) -> int:
    """Audited crops without a wrong label from which all crops can be taken."""
    return int(np.ceil(1 / max_wrong - 1))


def sample_of(found: Found, resolved: Resolved, holdout: Holdout) -> Sample:
    """The crops that calibrate and were answered, and the rest of those that nothing else asks a person about."""
    asked, box_ids = found.asked, found.embedded["box_id"]
    decided = pa.array([box_id for box_id in resolved.crop_actions if box_id not in asked.audits], pa.string())
    elsewhere = pc.or_(pc.is_in(box_ids, asked.otherwise), pc.is_in(box_ids, decided)).to_numpy()
    population = holdout.mask(found.embedded, "train") & ~elsewhere & ~rows_on(found.embedded, resolved.hands)
    answered = [box_id for box_id in asked.calibrating if box_id in resolved.crop_actions]
    is_audited = population & pc.is_in(box_ids, pa.array(answered, pa.string())).to_numpy()
    audited = np.flatnonzero(is_audited)
    said = tuple(resolved.crop_actions[box_id] for box_id in box_ids.take(audited).to_pylist())
    return Sample(audited, said, np.flatnonzero(population & ~is_audited))


def calibrate(matches: Matches, sample: Sample, precision: float, constant: float) -> dict[str, Lambda]:
    """Lambda of every action: from its own audits, else from those of all such actions together, else the constant.

    Args:
        matches: what crops were named.
        sample: see `sample_of`.
        precision: wanted share of right labels among those taken, 0 to 1.
        constant: what holds where there is too little evidence.

    Returns:
        By action.
    """
    actions = [matches.names[place] for place in np.unique(matches.actions)]
    audits = {action: _audits_of([action], matches, sample) for action in actions}
    own = {
        action: conformal_threshold(audits[action], _undecided_of([action], matches, sample), 1 - precision)
        for action in actions
    }
    rest = [action for action in actions if own[action] is None]
    pooled = conformal_threshold(_audits_of(rest, matches, sample), _undecided_of(rest, matches, sample), 1 - precision)
    lambdas = {}
    for action, threshold in own.items():
        if threshold is not None:
            found, source = threshold, "action"
        elif pooled is not None:
            found, source = pooled, "pooled"
        else:
            found, source = constant, "constant"
        wrong = int((~audits[action].is_right).sum())
        lambdas[action] = Lambda(found, source, len(audits[action].is_right), wrong)
    return lambdas


def labels_taken(matches: Matches, lambdas: dict[str, Lambda]) -> np.ndarray:
    """Which labels are at or above lambda and not contradicted by an audit: bool, one per match."""
    least = np.array([lambdas[name].certainty if name in lambdas else np.inf for name in matches.names])
    if not len(matches.rows):
        return np.zeros(0, bool)
    return (matches.certainty >= least[matches.actions]) & ~matches.is_contradicted


def audited_labels(matches: Matches, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """The audited crops that were named.

    Returns:
        Their places among the matches, int64, and whether the label is what the person said, bool.
    """
    places = matches.places_of(sample.audited)
    said = np.array([matches.names.index(word) if word in matches.names else -1 for word in sample.said], np.int64)
    named = places >= 0
    return places[named], matches.actions[places[named]] == said[named]


def precision_curve(matches: Matches, sample: Sample) -> list[tuple[str, float, float, float]]:
    """Precision against coverage on the audited crops, by each way to rank labels.

    Returns:
        Rows (ranked by, threshold, coverage, precision) from the surest label on; contradicted ones are in none, so the
        last coverage is under 1 where there are such.
    """
    places, is_right = audited_labels(matches, sample)
    count_all = len(places)
    can_be_taken = ~matches.is_contradicted[places]
    places, is_right = places[can_be_taken], is_right[can_be_taken]
    rows = []
    for name in ("certainty", "similarity", "margin"):
        values = getattr(matches, name)[places]
        ranked = sorted(zip(values.tolist(), is_right.tolist(), strict=True), reverse=True)
        right = np.cumsum([one for _, one in ranked])
        for count, (threshold, _) in enumerate(ranked, 1):
            if count == len(ranked) or ranked[count][0] < threshold:  # ties are taken together
                rows.append((name, threshold, count / count_all, float(right[count - 1]) / count))
    return rows


def _audits_of(actions: Sequence[str], matches: Matches, sample: Sample) -> Audits:
    places, is_right = audited_labels(matches, sample)
    counts = _has_one_of(actions, matches, places)
    return Audits(matches.certainty[places[counts]], is_right[counts])


def _undecided_of(actions: Sequence[str], matches: Matches, sample: Sample) -> np.ndarray:
    places = matches.places_of(sample.undecided)
    places = places[places >= 0]
    return matches.certainty[places[_has_one_of(actions, matches, places)]]


def _has_one_of(actions: Sequence[str], matches: Matches, places: np.ndarray) -> np.ndarray:
    return np.isin(matches.actions[places], [matches.names.index(action) for action in actions])
