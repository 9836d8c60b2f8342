"""How good labels, boxes and models are: every figure the product reports is computed here, from its definition."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineact.boxes import iou_matrix, match_one_to_one

COCO_MIN_IOUS = np.linspace(0.5, 0.95, 10)
COCO_RECALLS = np.linspace(0.0, 1.0, 101)
COCO_BOXES_PER_FRAME = 100
COCO_LARGEST_MIN_IOU = 1 - 1e-10  # what pycocotools starts its search from at most


def confusion_matrix(actual: np.ndarray, predicted: np.ndarray, class_count: int) -> np.ndarray:
    """Counts of (actual, predicted) pairs.

    Args:
        actual: int, N, 0 to `class_count` - 1.
        predicted: int, N, likewise.
        class_count: K.

    Returns:
        int64, K x K, rows are actual classes.

    Raises:
        ValueError: where lengths differ or a class is out of range.
    """
    actual, predicted = np.asarray(actual, np.int64).reshape(-1), np.asarray(predicted, np.int64).reshape(-1)
    if actual.shape != predicted.shape:
        raise ValueError(f"{len(actual)} actual classes but {len(predicted)} predicted ones")
    if actual.size and not (
        0 <= min(actual.min(), predicted.min()) <= max(actual.max(), predicted.max()) < class_count
    ):
        raise ValueError(f"classes must be 0 to {class_count - 1}")
    return np.bincount(actual * class_count + predicted, minlength=class_count**2).reshape(class_count, class_count)


def accuracy(confusion: np.ndarray) -> float | None:
    """Share of right predictions, 0 to 1; None without any prediction."""
    total = int(confusion.sum())
    return float(np.trace(confusion)) / total if total else None


def recall_per_class(confusion: np.ndarray) -> np.ndarray:
    """Right predictions of a class / its actual count.

    Args:
        confusion: K x K, rows are actual classes.

    Returns:
        float64, K, 0 to 1; NaN where a class does not occur.
    """
    return _ratio(np.diag(confusion), confusion.sum(axis=1))


def macro_recall(confusion: np.ndarray) -> float | None:
    """Mean recall over the classes that occur, 0 to 1 (balanced accuracy); None where there is none."""
    recalls = recall_per_class(confusion)
    return None if np.isnan(recalls).all() else float(np.nanmean(recalls))


def macro_precision(confusion: np.ndarray) -> float | None:
    """Mean precision over the classes that occur or are predicted, 0 to 1; None where there is none.

    A class that occurs and is never predicted counts 0, as in scikit-learn.

    Args:
        confusion: K x K, rows are actual classes.
    """
    predicted = confusion.sum(axis=0)
    known = (predicted + confusion.sum(axis=1)) > 0
    if not known.any():
        return None
    return float(np.mean(np.diag(confusion)[known] / np.maximum(predicted[known], 1)))


def top_k_accuracy(logits: np.ndarray, classes: np.ndarray, k: int) -> float | None:
    """Share of items whose class is among the k surest, 0 to 1; None without items.

    Of equal logits the class that comes first is the surer one, as for argmax.

    Args:
        logits: N x K.
        classes: int, N.
        k: at least 1; from K on it is 1.
    """
    if not len(classes):
        return None
    surest = np.argsort(-logits, axis=1, kind="stable")[:, :k]  # N x k
    return float((surest == np.asarray(classes)[:, None]).any(axis=1).mean())


def f1_per_class(confusion: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) per class.

    Args:
        confusion: K x K, rows are actual classes.

    Returns:
        float64, K, 0 to 1; NaN where a class neither occurs nor is predicted.
    """
    return _ratio(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def macro_f1(confusion: np.ndarray) -> float | None:
    """Mean F1 over the classes that occur or are predicted, 0 to 1; None where there is none.

    A class absent from truth and predictions says nothing about the model and is left out, as scikit-learn does.
    """
    f1 = f1_per_class(confusion)
    return None if np.isnan(f1).all() else float(np.nanmean(f1))


@dataclass(frozen=True)
class ScoredFrame:
    """What was predicted and what is true on one frame.

    Attributes:
        boxes_xyxy_px: predicted boxes, float, P x 4.
        scores: P, higher is surer.
        truth_xyxy_px: true boxes, float, T x 4.
    """

    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    truth_xyxy_px: np.ndarray


@dataclass(frozen=True)
class DetectionScore:
    """Detection over a set of frames at one IoU threshold. Shares are 0 to 1, None where they are undefined.

    Attributes:
        recall: 1/N_t sum_j [max_i IoU(P_i, GT_j) >= T]; None without true boxes. Source: LRIHAR (DESIGN section 2.6).
        accuracy: 1/N_p sum_i [max_j IoU(P_i, GT_j) >= T]; None without predictions. Duplicates count as right.
        one_to_one_precision: right predictions / predictions, where each true box makes at most one prediction right.
        one_to_one_recall: true boxes found that way / true boxes.
        predicted_count: N_p.
        truth_count: N_t.
    """

    recall: float | None
    accuracy: float | None
    one_to_one_precision: float | None
    one_to_one_recall: float | None
    predicted_count: int
    truth_count: int


def score_detection(frames: Sequence[ScoredFrame], min_iou: float) -> DetectionScore:
    """Recall and accuracy by DESIGN section 2.6, and their one-to-one counterparts.

    Args:
        frames: predictions and truth; the greatest IoU is looked for within one frame only.
        min_iou: T, above 0.

    Raises:
        ValueError: where `min_iou` is not above 0 (any two boxes would match).
    """
    if not 0 < min_iou <= 1:
        raise ValueError(f"min_iou must be above 0 and at most 1, found {min_iou}")
    predicted = truths = right = found = pairs = 0
    for frame in frames:
        iou = iou_matrix(frame.boxes_xyxy_px, frame.truth_xyxy_px)  # P x T
        predicted, truths = predicted + iou.shape[0], truths + iou.shape[1]
        if iou.size:
            right += int((iou.max(axis=1) >= min_iou).sum())
            found += int((iou.max(axis=0) >= min_iou).sum())
            pairs += len(match_one_to_one(iou, min_iou))
    return DetectionScore(
        recall=_share(found, truths),
        accuracy=_share(right, predicted),
        one_to_one_precision=_share(pairs, predicted),
        one_to_one_recall=_share(pairs, truths),
        predicted_count=predicted,
        truth_count=truths,
    )


def precision_recall(frames: Sequence[ScoredFrame], min_iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall after each prediction, in falling order of score.

    Each prediction takes the free true box of its frame that it overlaps most, if by at least `min_iou`. Equal scores
    keep the order of frames and boxes.

    Args:
        frames: predictions and truth.
        min_iou: IoU from which a prediction can be right.

    Returns:
        precision and recall, float64, one per prediction, 0 to 1; recall is NaN where there is no true box.
    """
    if not frames:
        return np.zeros(0), np.zeros(0)
    truth_count = sum(len(frame.truth_xyxy_px) for frame in frames)
    scores = np.concatenate([np.asarray(frame.scores, np.float64).reshape(-1) for frame in frames])
    flags = np.concatenate([_greedy_hits(frame, min_iou) for frame in frames])
    true_positives = np.cumsum(flags[np.argsort(-scores, kind="stable")])
    recall = true_positives / truth_count if truth_count else np.full(len(flags), np.nan)
    return true_positives / np.arange(1, len(flags) + 1), recall


def average_precision(frames: Sequence[ScoredFrame], min_iou: float) -> float | None:
    """Area under the precision envelope over recall (PASCAL VOC 2010 and later); mAP50 of one class at 0.5.

    Args:
        frames: predictions and truth.
        min_iou: IoU from which a prediction can be right; see `precision_recall`.

    Returns:
        0 to 1; None where there is no true box.
    """
    if not sum(len(frame.truth_xyxy_px) for frame in frames):
        return None
    precision, recall = precision_recall(frames, min_iou)
    if not precision.size:
        return 0.0
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def coco_map(frames: Sequence[ScoredFrame]) -> float | None:
    """COCO's mAP of one class: precision at 101 recalls, meaned over them and over IoU 0.50, 0.55, ... 0.95.

    As pycocotools' `COCOeval` counts (all areas, no crowd regions): of each frame the 100 surest boxes, each of which
    takes the free true box that it overlaps most. `average_precision` is the area under the same envelope, at one IoU.

    Args:
        frames: predictions and truth; equal scores keep the order of frames and boxes.

    Returns:
        0 to 1; None where there is no true box.
    """
    truth_count = sum(len(frame.truth_xyxy_px) for frame in frames)
    if not truth_count:
        return None
    surest = [_surest(frame, COCO_BOXES_PER_FRAME) for frame in frames]
    scores = np.concatenate([frame.scores for frame in surest])
    hits = np.concatenate([_coco_hits(frame) for frame in surest])[np.argsort(-scores, kind="stable")]
    true_positives = np.cumsum(hits, axis=0)  # P x 10
    precision = true_positives / np.arange(1, len(hits) + 1)[:, None]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = np.concatenate([envelope, np.zeros((1, len(COCO_MIN_IOUS)))])  # the last row: recalls never reached
    columns = zip((true_positives / truth_count).T, reached.T, strict=True)
    return float(np.mean([precisions[np.searchsorted(recall, COCO_RECALLS)] for recall, precisions in columns]))


def _surest(frame: ScoredFrame, count: int) -> ScoredFrame:
    """At most `count` boxes of a frame, falling by score."""
    scores = np.asarray(frame.scores, np.float64).reshape(-1)
    rows = np.argsort(-scores, kind="stable")[:count]
    return ScoredFrame(np.asarray(frame.boxes_xyxy_px).reshape(-1, 4)[rows], scores[rows], frame.truth_xyxy_px)


def _coco_hits(frame: ScoredFrame) -> np.ndarray:
    """Whether each box, falling by score, is right at each IoU: bool, P x 10."""
    iou = iou_matrix(frame.boxes_xyxy_px, frame.truth_xyxy_px)  # P x T
    hits = np.zeros((iou.shape[0], len(COCO_MIN_IOUS)), bool)
    if not iou.size:
        return hits
    min_iou, each = np.minimum(COCO_MIN_IOUS, COCO_LARGEST_MIN_IOU), np.arange(len(COCO_MIN_IOUS))
    free = np.ones((len(COCO_MIN_IOUS), iou.shape[1]), bool)
    for row, overlaps in enumerate(iou):
        candidates = np.where(free, overlaps, -1.0)  # 10 x T
        best = iou.shape[1] - 1 - candidates[:, ::-1].argmax(axis=1)  # of equal ones COCO takes the last
        hits[row] = candidates[each, best] >= min_iou
        free[each[hits[row]], best[hits[row]]] = False
    return hits


def _greedy_hits(frame: ScoredFrame, min_iou: float) -> np.ndarray:
    """Whether each prediction of a frame is right, bool P, in the frame's own order."""
    iou = iou_matrix(frame.boxes_xyxy_px, frame.truth_xyxy_px)  # P x T
    hits = np.zeros(iou.shape[0], bool)
    for row in np.argsort(-np.asarray(frame.scores, np.float64).reshape(-1), kind="stable"):
        if iou.shape[1] and iou[row].max() >= min_iou:
            iou[:, iou[row].argmax()] = -1.0  # taken
            hits[row] = True
    return hits


def time_blocks(video_sha256: Sequence[str], pts_s: np.ndarray, block_s: float) -> np.ndarray:
    """Numbers the stretch of time of `block_s` seconds of its video that each item falls into.

    Neighbouring frames are nearly the same picture, so intervals resample whole blocks, never single frames.

    Args:
        video_sha256: N.
        pts_s: N, seconds.
        block_s: length of a block in seconds, above 0; infinity makes each video one block.

    Returns:
        int64, N, 0 to the number of blocks - 1.
    """
    if not block_s > 0:
        raise ValueError(f"block_s must be above 0, found {block_s}")
    ordinal = np.floor(np.asarray(pts_s, np.float64) / block_s)
    names = [f"{sha}@{number:.0f}" for sha, number in zip(video_sha256, ordinal, strict=True)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class Interval:
    """A difference of two means and its percentile bootstrap interval.

    Attributes:
        low: lower end.
        mean: challenger less champion on all items.
        high: upper end.
        block_count: how many blocks were resampled; with few of them the interval is rough.
    """

    low: float
    mean: float
    high: float
    block_count: int


def paired_bootstrap(
    challenger: np.ndarray,
    champion: np.ndarray,
    blocks: np.ndarray,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the mean paired difference, resampling blocks with replacement (Efron, cluster bootstrap).

    Args:
        challenger: N, a score per item, e.g. 1 where it is right.
        champion: N, the same items.
        blocks: int, N, from `time_blocks` or the recording's number.
        resamples: number of bootstrap samples.
        level: coverage, 0 to 1.
        seed: of the resampling.

    Raises:
        ValueError: where there is no item or lengths differ.
    """
    difference = np.asarray(challenger, np.float64) - np.asarray(champion, np.float64)
    if not difference.size or difference.shape != np.asarray(blocks).shape:
        raise ValueError("expected the same number, above 0, of challenger scores, champion scores and blocks")
    inverse = np.unique(blocks, return_inverse=True)[1]
    counts = np.bincount(inverse).astype(np.float64)
    sums = np.bincount(inverse, weights=difference)
    block_count = len(counts)
    drawn = np.random.default_rng(seed).integers(0, block_count, (resamples, block_count))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), mean=float(difference.mean()), high=float(high), block_count=block_count)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    numerator = numerator.astype(np.float64)
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
