"""Which pair of thresholds speaks for a detector."""

from dataclasses import dataclass

import numpy as np

from lineact.compare.surfaces import Surfaces

# How pairs are chosen, and what the table says of it.
CHOICES = {
    "validation": "best harmonic mean of recall and accuracy on the validation frames",
    "validation_one_to_one": "best harmonic mean of one-to-one recall and precision on the validation frames",
    "held_out": "best harmonic mean of recall and accuracy on the held-out frames themselves (flatters; the papers "
    "searched all pairs on their test frames)",
}


@dataclass(frozen=True)
class ScoredDetector:
    """One detector's surfaces.

    Attributes:
        name: in metrics, e.g. "yolov5_own".
        title: for people.
        axes: of both thresholds, e.g. ("Conf", "NMS"); none where a detector is taken as the line has set it.
        first: F thresholds.
        second: S thresholds.
        held_out: on the held-out frames.
        validation: on the validation frames; None where there are no thresholds to choose.
    """

    name: str
    title: str
    axes: tuple[str, str] | None
    first: np.ndarray
    second: np.ndarray
    held_out: Surfaces
    validation: Surfaces | None


@dataclass(frozen=True)
class Row:
    """One line of the papers' table: a detector's figures on the held-out frames at one pair of thresholds.

    Attributes:
        chosen_on: a key of `CHOICES`.
        min_iou: T_IoU.
        name: see `ScoredDetector`.
        title: see `ScoredDetector`.
        pair: indices of the first and the second threshold; None where nothing is predicted at any pair.
        thresholds: in words.
        accuracy: 0 to 1; None where nothing is predicted. This and the others by DESIGN section 2.6.
        recall: 0 to 1.
        one_to_one_precision: 0 to 1; None where nothing is predicted.
        one_to_one_recall: 0 to 1.
        predicted_count: N_p.
        truth_count: N_t.
    """

    chosen_on: str
    min_iou: float
    name: str
    title: str
    pair: tuple[int, int] | None
    thresholds: str
    accuracy: float | None
    recall: float | None
    one_to_one_precision: float | None
    one_to_one_recall: float | None
    predicted_count: int
    truth_count: int


def best_pair(recall: np.ndarray, precision: np.ndarray) -> tuple[int, int] | None:
    """The pair of thresholds with the greatest harmonic mean of two shares.

    On few frames many pairs are equally good; the one nearest to their middle is far from where they stop being so.

    Args:
        recall: F x S, 0 to 1; NaN where undefined.
        precision: F x S, likewise.

    Returns:
        Indices; None where one of the two is undefined everywhere.
    """
    total = recall + precision
    if np.isnan(total).all():
        return None
    mean = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total > 0)
    mean[np.isnan(total)] = -1
    best = np.argwhere(mean == mean.max())  # N x 2
    first, second = best[np.abs(best - best.mean(axis=0)).sum(axis=1).argmin()]
    return int(first), int(second)


def table_rows(detectors: list[ScoredDetector]) -> list[Row]:
    """Every detector at every T_IoU, chosen in every way: in the order of the table."""
    return [
        _row(detector, chosen_on, index)
        for chosen_on in CHOICES
        for index in range(len(detectors[0].held_out.min_ious))
        for detector in detectors
    ]


def _row(detector: ScoredDetector, chosen_on: str, index: int) -> Row:
    figures = detector.held_out
    pair = _chosen(detector, chosen_on, index)
    at = (index, *(pair or (0, 0)))
    return Row(
        chosen_on=chosen_on,
        min_iou=figures.min_ious[index],
        name=detector.name,
        title=detector.title,
        pair=pair,
        thresholds=_words(detector, pair),
        accuracy=_defined(figures.accuracy[at]) if pair else None,
        recall=_defined(figures.recall[at]) if pair else None,
        one_to_one_precision=_defined(figures.one_to_one_precision[at]) if pair else None,
        one_to_one_recall=_defined(figures.one_to_one_recall[at]) if pair else None,
        predicted_count=int(figures.predicted_count[at[1:]]) if pair else 0,
        truth_count=figures.truth_count,
    )


def _chosen(detector: ScoredDetector, chosen_on: str, index: int) -> tuple[int, int] | None:
    if detector.axes is None:
        return 0, 0
    surfaces = detector.held_out if chosen_on == "held_out" else detector.validation
    assert surfaces is not None
    if chosen_on == "validation_one_to_one":
        return best_pair(surfaces.one_to_one_recall[index], surfaces.one_to_one_precision[index])
    return best_pair(surfaces.recall[index], surfaces.accuracy[index])


def _words(detector: ScoredDetector, pair: tuple[int, int] | None) -> str:
    if detector.axes is None:
        return "as the line is set"
    if pair is None:
        return "none: nothing predicted"
    values = (detector.first[pair[0]], detector.second[pair[1]])
    return ", ".join(f"{axis}={value:.2f}" for axis, value in zip(detector.axes, values, strict=True))


def _defined(share: float) -> float | None:
    return None if np.isnan(share) else float(share)
