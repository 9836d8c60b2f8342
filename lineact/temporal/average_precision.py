"""Average precision and recall of segments, as ActivityNet's challenge counts them.

Source: the evaluation code of the ActivityNet challenge (detection task): predictions of a class over all videos in
falling order of their scores; each takes the ground truth of its video and class with the highest tIoU that is still
free and reaches the threshold; precision is made monotone and summed over recall.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lineact.errors import InputError
from lineact.temporal.segments import Segments, t_iou

CELLS_AT_ONCE = 4_000_000  # (video and class) x ground truth x threshold in memory


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision by class and threshold.

    Attributes:
        labels: K class names.
        t_ious: T thresholds.
        values: float64, K x T, 0 to 1.
        unknown: labels among these that the ground truth does not have; their precision is 0.
    """

    labels: tuple[str, ...]
    t_ious: tuple[float, ...]
    values: np.ndarray
    unknown: tuple[str, ...]

    @property
    def mean_by_t_iou(self) -> np.ndarray:
        """mAP at each threshold, T."""
        return self.values.mean(axis=0)

    @property
    def average(self) -> float:
        """Mean over the thresholds, 0 to 1."""
        return float(self.mean_by_t_iou.mean())


def average_precision(
    truth: Segments, predictions: Segments, t_ious: Sequence[float], *, strict: bool = False
) -> AveragePrecision:
    """Average precision of each class of the ground truth.

    Args:
        truth: ground truth.
        predictions: with scores; a video that the ground truth does not have holds false positives.
        t_ious: thresholds, above 0 to 1.
        strict: predictions of labels that the ground truth does not have are classes of precision 0 instead of being
            left out, and ground truth that is there twice is refused.

    Raises:
        InputError: where there is no ground truth; strict, where some is there twice.
    """
    if not len(truth):
        raise InputError("expected ground truth with at least one action, found none")
    if strict:
        _refuse_duplicates(truth)
    labels = np.unique(truth.labels)
    unknown = tuple(map(str, np.setdiff1d(predictions.labels, labels))) if strict else ()
    kept = predictions.take(np.isin(predictions.labels, labels))
    hits = true_positives(truth, kept, t_ious)
    values = np.zeros((len(labels) + len(unknown), len(t_ious)))
    order = np.argsort(-kept.scores, kind="stable")
    for row, label in enumerate(labels):
        of_class = order[kept.labels[order] == label]
        values[row] = _interpolated(hits[of_class], int((truth.labels == label).sum()))
    return AveragePrecision((*map(str, labels), *unknown), tuple(t_ious), values, unknown)


def average_recall(truth: Segments, predictions: Segments, t_ious: Sequence[float], per_video: int) -> float:
    """Share of ground truth that some of a video's surest predictions reach, whatever their labels; mean over tIoUs.

    Source: ActivityNet's AR@AN, with the same number of predictions in each video.

    Args:
        truth: ground truth.
        predictions: with scores.
        t_ious: thresholds.
        per_video: so many of each video, the surest.

    Raises:
        InputError: where there is no ground truth.
    """
    if not len(truth):
        raise InputError("expected ground truth with at least one action, found none")
    order = np.lexsort((-predictions.scores, predictions.videos))
    found = predictions.take(order)
    found = found.take(_ranks(found.videos) < per_video)
    best = np.zeros(len(truth))
    starts, ends = (np.searchsorted(found.videos, truth.videos, side) for side in ("left", "right"))
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if end > start:
            of_video = found.start_s[start:end], found.end_s[start:end]
            best[row] = t_iou(*of_video, truth.start_s[row], truth.end_s[row]).max()
    return float((best[:, None] >= np.asarray(t_ious)).mean())


def true_positives(truth: Segments, predictions: Segments, t_ious: Sequence[float]) -> np.ndarray:
    """Which predictions find ground truth of their video and class that no surer one has found.

    All videos and classes go side by side: first the surest prediction of each, then the second, and so on.

    Returns:
        bool, predictions x thresholds, in the order of `predictions`.
    """
    thresholds = np.asarray(t_ious, np.float64)
    hits = np.zeros((len(predictions), len(thresholds)), bool)
    groups, count = _groups(truth, predictions)
    truth_group, group = groups[: len(truth)], groups[len(truth) :]
    sizes = np.bincount(truth_group, minlength=count)
    rows = np.flatnonzero(sizes[group])  # others cannot find anything
    rows = rows[np.lexsort((-predictions.scores[rows], group[rows]))]
    for chosen in _chunks(np.unique(group[rows]), sizes, len(thresholds)):
        of_chunk = rows[np.isin(group[rows], chosen)]
        slot = np.searchsorted(chosen, group[of_chunk])
        start_s, end_s = _padded(truth, truth_group, chosen, sizes)
        taken = np.zeros((*start_s.shape, len(thresholds)), bool)
        rank = _ranks(slot)
        for at in range(int(rank.max(initial=-1)) + 1):
            ranked = rank == at
            row, place = of_chunk[ranked], slot[ranked]
            overlap = t_iou(predictions.start_s[row, None], predictions.end_s[row, None], start_s[place], end_s[place])
            free = (overlap[..., None] >= thresholds) & ~taken[place]  # n x truth x T
            best = np.where(free, overlap[..., None], -1.0).argmax(axis=1)  # n x T
            hit = np.take_along_axis(free, best[:, None], axis=1)[:, 0]
            hits[row] = hit
            one, threshold = np.nonzero(hit)
            taken[place[one], best[one, threshold], threshold] = True
    return hits


def _groups(truth: Segments, predictions: Segments) -> tuple[np.ndarray, int]:
    """A number for each pair of video and class, for the ground truth and then for the predictions; how many."""
    columns = [
        np.unique(np.concatenate([one, other]), return_inverse=True)[1]
        for one, other in ((truth.videos, predictions.videos), (truth.labels, predictions.labels))
    ]
    pairs = columns[0] * (columns[1].max(initial=0) + 1) + columns[1]
    numbers, group = np.unique(pairs, return_inverse=True)
    return group, len(numbers)


def _chunks(groups: np.ndarray, sizes: np.ndarray, thresholds: int) -> Iterator[np.ndarray]:
    """Groups of like size together, so that little is padded, each time as many as fit."""
    waiting = groups[np.argsort(sizes[groups], kind="stable")]
    while len(waiting):
        cells = np.arange(1, len(waiting) + 1) * sizes[waiting] * thresholds
        fit = max(1, int(np.searchsorted(cells, CELLS_AT_ONCE, "right")))
        yield np.sort(waiting[:fit])
        waiting = waiting[fit:]


def _padded(
    truth: Segments, truth_group: np.ndarray, chosen: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """start_s and end_s, groups x most ground truth of a group; beyond a group's own an interval that nothing meets."""
    shape = len(chosen), int(sizes[chosen].max())
    start_s, end_s = np.full(shape, -2.0), np.full(shape, -1.0)
    rows = np.flatnonzero(np.isin(truth_group, chosen))
    rows = rows[np.argsort(truth_group[rows], kind="stable")]
    slot = np.searchsorted(chosen, truth_group[rows])
    place = _ranks(slot)
    start_s[slot, place], end_s[slot, place] = truth.start_s[rows], truth.end_s[rows]
    return start_s, end_s


def _ranks(ordered: np.ndarray) -> np.ndarray:
    """Of each element its number, from 0, among the equal ones; these lie side by side."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[begins, len(ordered)])
    return np.arange(len(ordered)) - np.repeat(begins, lengths)


def _interpolated(hits: np.ndarray, truth_count: int) -> np.ndarray:
    """Average precision, T, of hits (N x T) in falling order of scores."""
    found = hits.cumsum(axis=0)
    precision = found / np.arange(1, len(hits) + 1)[:, None]
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return (precision * hits).sum(axis=0) / truth_count


def _refuse_duplicates(truth: Segments) -> None:
    counts = Counter(zip(truth.videos, truth.labels, truth.start_s, truth.end_s, strict=True))
    if twice := sorted(row for row, count in counts.items() if count > 1):
        named = "; ".join(f"{video}: {label} [{start:g}, {end:g}]" for video, label, start, end in twice[:10])
        raise InputError(f"expected each action of the ground truth once, found twice: {named}")
