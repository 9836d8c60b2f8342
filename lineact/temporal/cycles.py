"""Cycle times: how long from one start of a product to the next, and how wrong a recogniser is about it."""

from dataclasses import dataclass

import numpy as np

from lineact.temporal.average_precision import true_positives
from lineact.temporal.segments import Segments

FOUND_T_IOU = 0.1  # from here on a predicted first step is that of the same cycle


@dataclass(frozen=True)
class CycleError:
    """Cycle times held against the truth.

    Attributes:
        cycles: of the truth: stretches between two starts of the first step in a video.
        found: those whose two starts, with none between, were found.
        mean_absolute_s: mean of how far these are from the true time, seconds; None where none was found.
        mean_s: mean of all true cycles, seconds; None where there is none.
    """

    cycles: int
    found: int
    mean_absolute_s: float | None
    mean_s: float | None


def cycle_error(truth: Segments, predictions: Segments, first_step: str) -> CycleError:
    """Compares cycle times.

    Args:
        truth: ground truth.
        predictions: those that are meant; scores decide which of two takes a true step.
        first_step: label of the action with which a cycle starts.
    """
    true = _in_order(truth.take(truth.labels == first_step))
    told = _in_order(predictions.take(predictions.labels == first_step))
    hit = true_positives(true, told, (FOUND_T_IOU,))[:, 0]
    errors: list[float] = []
    times: list[float] = []
    for video in np.unique(true.videos):
        starts = true.start_s[true.videos == video]
        times += np.diff(starts).tolist()
        of_video = told.videos == video
        errors += _errors(starts, told.start_s[of_video], hit[of_video])
    return CycleError(
        cycles=len(times),
        found=len(errors),
        mean_absolute_s=float(np.mean(errors)) if errors else None,
        mean_s=float(np.mean(times)) if times else None,
    )


def _errors(starts_s: np.ndarray, told_s: np.ndarray, hit: np.ndarray) -> list[float]:
    """Of each two told starts that follow each other, as the true ones do, how far their distance is from the truth."""
    cycle = np.where(hit, np.abs(told_s[:, None] - starts_s).argmin(axis=1), -1)
    follows = (cycle[:-1] >= 0) & (cycle[1:] == cycle[:-1] + 1)
    times_s = starts_s[cycle[1:][follows]] - starts_s[cycle[:-1][follows]]
    return np.abs(np.diff(told_s)[follows] - times_s).tolist()


def _in_order(segments: Segments) -> Segments:
    return segments.take(np.lexsort((segments.start_s, segments.videos)))
