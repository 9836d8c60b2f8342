"""Lambda: the certainty from which a label is taken, chosen so that the labels taken are right.

The audited crops are a random sample of the training part's crops that nothing else asks a person about, so what is
true of them says something about those that nobody saw. Conformal selection (Jin and Candes 2023, algorithm 1): the
p-value of a crop is (1 + audited crops with a wrong label and at least its certainty) / (audited crops + 1), and the
crops that the rule of Benjamini and Hochberg selects among them hold at most the wanted share of wrong labels, on
average over samples. Crops asked for another reason (doubtful ones, those on a frame to correct) are no part of sample
and population: they were not drawn at random. The random crops that certify the labels belong to the rest, looked at or
not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineact.dataset.labels import Found, Resolved
from lineact.dataset.matching import Match
from lineact.splits import Holdout


@dataclass(frozen=True)
class Lambda:
    """The least certainty of one action's labels.

    Attributes:
        certainty: the threshold, -1 to 3.
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
        audited: box id to what a person said of it.
        undecided: box ids of the rest, a few that certify among them decided.
    """

    audited: dict[str, str]
    undecided: list[str]


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
    wrong = np.asarray(audits.certainties, float)[~np.asarray(audits.is_right, bool)]
    taken = np.searchsorted(-order, -order, side="right")  # how many are at least as certain
    wrong_above = (wrong[None] >= order[:, None]).sum(axis=1)
    estimated = len(order) / (len(audits.certainties) + 1) * (1 + wrong_above) / np.maximum(taken, 1)
    fits = np.flatnonzero(estimated <= max_wrong)
    return float(order[fits[-1]]) if len(fits) else None


def needed_audits(max_wrong: float) -> int:
    """Audited crops without a wrong label from which all crops can be taken."""
    return int(np.ceil(1 / max_wrong - 1))


def sample_of(found: Found, resolved: Resolved, holdout: Holdout) -> Sample:
    """The crops that calibrate and were answered, and the rest of those that nothing else asks a person about."""
    asked = found.asked
    otherwise = asked.otherwise | (set(resolved.crop_actions) - asked.audits)
    answered = {box_id for box_id in asked.calibrating if box_id in resolved.crop_actions}
    audited, undecided = {}, []
    for crop in found.embedded.select(["video_sha256", "pts_s", "box_id"]).to_pylist():
        box_id, frame = crop["box_id"], (crop["video_sha256"], crop["pts_s"])
        if box_id in otherwise or frame in resolved.hands or holdout.part_of(*frame) != "train":
            continue
        if box_id in answered:
            audited[box_id] = resolved.crop_actions[box_id]
        else:
            undecided.append(box_id)
    return Sample(audited, undecided)


def calibrate(matches: dict[str, Match], sample: Sample, precision: float, constant: float) -> dict[str, Lambda]:
    """Lambda of every action: from its own audits, else from those of all such actions together, else the constant.

    Args:
        matches: box id to what it was named.
        sample: see `sample_of`.
        precision: wanted share of right labels among those taken, 0 to 1.
        constant: what holds where there is too little evidence.

    Returns:
        By action.
    """
    actions = sorted({match.action for match in matches.values()})
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


def labels_taken(matches: dict[str, Match], lambdas: dict[str, Lambda]) -> dict[str, str]:
    """Box id to action, of the crops at or above lambda."""
    return {
        box_id: match.action for box_id, match in matches.items() if match.certainty >= lambdas[match.action].certainty
    }


def precision_curve(matches: dict[str, Match], sample: Sample) -> list[tuple[str, float, float, float]]:
    """Precision against coverage on the audited crops, by each way to rank labels.

    Returns:
        Rows (ranked by, threshold, coverage, precision) from the surest label on.
    """
    audited = [(matches[box_id], said) for box_id, said in sample.audited.items() if box_id in matches]
    rows = []
    for name in ("certainty", "similarity", "margin"):
        ranked = sorted(((getattr(match, name), match.action == said) for match, said in audited), reverse=True)
        right = np.cumsum([is_right for _, is_right in ranked])
        for count, (threshold, _) in enumerate(ranked, 1):
            if count == len(ranked) or ranked[count][0] < threshold:  # ties are taken together
                rows.append((name, threshold, count / len(ranked), float(right[count - 1]) / count))
    return rows


def _audits_of(actions: Sequence[str], matches: dict[str, Match], sample: Sample) -> Audits:
    pairs = [
        (matches[box_id].certainty, matches[box_id].action == said)
        for box_id, said in sample.audited.items()
        if box_id in matches and matches[box_id].action in actions
    ]
    return Audits(np.array([certainty for certainty, _ in pairs]), np.array([right for _, right in pairs], bool))


def _undecided_of(actions: Sequence[str], matches: dict[str, Match], sample: Sample) -> np.ndarray:
    undecided = [matches[box_id] for box_id in sample.undecided if box_id in matches]
    return np.array([match.certainty for match in undecided if match.action in actions])
