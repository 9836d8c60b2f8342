"""How right the labels by matching are over redraws of the random crops that calibrate lambda.

What a line takes depends on which crops were drawn; lambda promises its precision on average over draws. Where the
truth is known, drawing again shows both: the average, and how often one draw keeps to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineact.dataset import DatasetParams
from lineact.dataset.calibration import Sample, audited_labels, calibrate, labels_taken, sample_of
from lineact.dataset.frames import SIDES
from lineact.dataset.labels import Found, Resolved
from lineact.dataset.matching import Matches, training_crops
from lineact.dataset.named import named_crops, named_of
from lineact.simulate_review import SimulatedTruth
from lineact.splits import Holdout

JUDGE, TEACH = "judge alone", "name others, too"


@dataclass(frozen=True)
class Draw:
    """What came of one draw.

    Attributes:
        undecided: crops that were not drawn.
        taken: of these, those whose label is taken.
        wrong: of these, the wrong ones.
        audits_right: share of right labels among the drawn crops, taken or not.
        rest_right: likewise among the undecided ones.
    """

    undecided: int
    taken: int
    wrong: int
    audits_right: float
    rest_right: float

    @property
    def right(self) -> float:
        """Share of right labels among those taken, 1 where none is."""
        return 1 - self.wrong / max(self.taken, 1)


def redraw(
    found: Found,
    resolved: Resolved,
    holdout: Holdout,
    params: DatasetParams,
    truth: SimulatedTruth,
    draws: int,
) -> dict[str, list[Draw]]:
    """Draws the crops that calibrate again and again, as many as were answered, and labels the rest each time.

    Args:
        found: the tables and embeddings.
        resolved: names and decisions.
        holdout: resolved from the settings.
        params: the settings.
        truth: answers in place of the reviewer.
        draws: how many; seeded by their numbers.

    Returns:
        Where audited crops judge alone, and where they name others, too, as the stage `dataset` has it.
    """
    crops = training_crops(found, holdout, params)
    sample = sample_of(found, resolved, holdout)
    population = np.sort(np.concatenate([sample.audited, sample.undecided]))
    said = _true_actions(found, population, truth)
    calibrating = set(found.asked.calibrating)
    others = {box_id: action for box_id, action in resolved.crop_actions.items() if box_id not in calibrating}
    names = named_crops(found, replace(resolved, crop_actions=others), params.min_iou)
    box_ids = found.embedded["box_id"].take(population).to_pylist()

    def matched(drawn: Sequence[int]) -> Matches:
        actions = names | {box_ids[place]: said[place] for place in drawn}
        return crops.match(named_of(found, actions, crops.rows, population[drawn]))

    by_others = matched([])
    results: dict[str, list[Draw]] = {JUDGE: [], TEACH: []}
    for seed in range(draws):
        chosen = np.random.default_rng(seed).choice(len(population), len(sample.audited), replace=False)
        drawn = np.sort(chosen).tolist()
        for way, matches in ((JUDGE, by_others), (TEACH, matched(drawn))):
            results[way].append(_draw(matches, population, said, drawn, params))
    return results


def _draw(
    matches: Matches, population: np.ndarray, said: Sequence[str], drawn: Sequence[int], params: DatasetParams
) -> Draw:
    rest = np.setdiff1d(np.arange(len(population)), drawn)
    sample = Sample(population[drawn], tuple(said[place] for place in drawn), population[rest])
    lambdas = calibrate(matches, sample, params.labels.precision, params.labels.min_certainty)
    _, audits_right = audited_labels(matches, sample)
    others = replace(sample, audited=sample.undecided, said=tuple(said[place] for place in rest))
    places, rest_right = audited_labels(matches, others)
    is_taken = labels_taken(matches, lambdas)[places]
    wrong = int((~rest_right[is_taken]).sum())
    return Draw(len(rest), int(is_taken.sum()), wrong, _share(audits_right), _share(rest_right))


def _share(is_right: np.ndarray) -> float:
    return float(is_right.mean()) if len(is_right) else 0.0  # nothing is named


def table_of_draws(results: dict[str, list[Draw]], precision: float) -> list[list[str]]:
    """A row for each way: labels right on average and in how many draws as often as wanted, taken, right of all."""
    rows = []
    for way, draws in results.items():
        right = np.array([draw.right for draw in draws])
        taken, undecided = (np.mean([getattr(draw, name) for draw in draws]) for name in ("taken", "undecided"))
        audits, rest = (np.mean([getattr(draw, name) for draw in draws]) for name in ("audits_right", "rest_right"))
        held = (right >= precision).mean()
        shares = [f"{taken / undecided:.0%}", f"{audits:.1%}", f"{rest:.1%}"]
        rows.append([way, f"{right.mean():.2%}", f"{np.quantile(right, 0.1):.2%}", f"{held:.0%}", *shares])
    return rows


def _true_actions(found: Found, rows: np.ndarray, truth: SimulatedTruth) -> list[str]:
    boxes = {row["box_id"]: row for row in found.boxes.to_pylist()}
    crops = found.embedded.select(["video_sha256", "pts_s", "box_id"]).take(rows).to_pylist()
    return [
        truth.action_of(crop["video_sha256"], crop["pts_s"], np.array([boxes[crop["box_id"]][side] for side in SIDES]))
        for crop in crops
    ]
