"""Recall and accuracy at every pair of thresholds, from one answer per frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineact.boxes import iou_matrix, match_one_to_one


@dataclass(frozen=True)
class KeptBoxes:
    """One frame's boxes, and which pair of thresholds keeps each.

    Attributes:
        boxes_xyxy_px: float, P x 4.
        kept: bool, F x S x P: by the first and the second threshold.
        truth_xyxy_px: float, T x 4.
    """

    boxes_xyxy_px: np.ndarray
    kept: np.ndarray
    truth_xyxy_px: np.ndarray


@dataclass(frozen=True)
class Surfaces:
    """Figures of one detector on a set of frames; shares are 0 to 1, NaN where they are undefined.

    Attributes:
        min_ious: M, each T_IoU.
        recall: float64, M x F x S, 1/N_t sum_j [max_i IoU(P_i, GT_j) >= T]; NaN without true boxes. Source: LRIHAR,
            formula 3 (DESIGN section 2.6).
        accuracy: float64, M x F x S, 1/N_p sum_i [max_j IoU(P_i, GT_j) >= T]; NaN without predictions: a detector that
            says nothing is not right. Duplicates count as right. Source: LRIHAR, formula 4.
        one_to_one_precision: float64, M x F x S, where each true box makes at most one prediction right.
        one_to_one_recall: float64, M x F x S, true boxes found that way.
        predicted_count: int64, F x S, N_p.
        truth_count: N_t.
    """

    min_ious: tuple[float, ...]
    recall: np.ndarray
    accuracy: np.ndarray
    one_to_one_precision: np.ndarray
    one_to_one_recall: np.ndarray
    predicted_count: np.ndarray
    truth_count: int


def kept_by_text(box_scores: np.ndarray, text_scores: np.ndarray, box: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Which boxes of Grounding DINO stay at which thresholds: those above both, as transformers compares.

    Args:
        box_scores: P, 0 to 1.
        text_scores: P, the probability with which a box is named as what is looked for, 0 to 1.
        box: F box thresholds.
        text: S text thresholds.

    Returns:
        bool, F x S x P.
    """
    above_box = box_scores > box[:, None]  # F x P
    above_text = text_scores > text[:, None]  # S x P
    return above_box[:, None] & above_text[None]


def kept_by_suppression(
    boxes_xyxy_px: np.ndarray, scores: np.ndarray, confidence: np.ndarray, nms_iou: np.ndarray
) -> np.ndarray:
    """Which boxes stay at which confidence and which IoU of greedy suppression.

    A box is only ever suppressed by a surer one, so a higher confidence takes boxes away from the end and changes
    nothing for the others: one suppression per IoU serves every confidence.

    Args:
        boxes_xyxy_px: P x 4, falling by score.
        scores: P, falling, 0 to 1.
        confidence: F least scores.
        nms_iou: S: of two boxes that overlap by more, the lower-scored one is dropped, 0 to 1.

    Returns:
        bool, F x S x P.
    """
    iou = iou_matrix(boxes_xyxy_px, boxes_xyxy_px)
    stays = np.zeros((len(nms_iou), len(scores)), bool)
    overlap = np.zeros_like(stays, np.float64)  # S x P, of each box with the kept ones so far
    for row in range(len(scores)):
        stays[:, row] = overlap[:, row] <= nms_iou
        overlap[stays[:, row]] = np.maximum(overlap[stays[:, row]], iou[row])
    return (scores >= confidence[:, None])[:, None] & stays[None]


def score_surfaces(frames: Sequence[KeptBoxes], min_ious: tuple[float, ...]) -> Surfaces:
    """Scores every pair of thresholds.

    Args:
        frames: at least one; the greatest IoU is looked for within one frame only.
        min_ious: M, each T_IoU, above 0, at most 1.

    Raises:
        ValueError: where there is no frame, or a T_IoU is not above 0 (any two boxes would match).
    """
    if not frames:
        raise ValueError("expected at least one frame, found none")
    if not all(0 < min_iou <= 1 for min_iou in min_ious):
        raise ValueError(f"min_ious must be above 0 and at most 1, found {min_ious}")
    pairs_shape = frames[0].kept.shape[:2]
    predicted = np.zeros(pairs_shape, np.int64)
    right, found, matched = (np.zeros((len(min_ious), *pairs_shape), np.int64) for _ in range(3))
    for frame in frames:
        predicted += frame.kept.sum(axis=2)
        iou = iou_matrix(frame.boxes_xyxy_px, frame.truth_xyxy_px)  # P x T
        for index, min_iou in enumerate(min_ious):
            hits = iou >= min_iou
            right[index] += frame.kept[..., hits.any(axis=1)].sum(axis=2)
            found[index] += (frame.kept.astype(np.int64) @ hits.astype(np.int64) > 0).sum(axis=2)
            matched[index] += _matched_count(frame.kept, iou, min_iou)
    truths = np.int64(sum(len(frame.truth_xyxy_px) for frame in frames))
    return Surfaces(
        min_ious=min_ious,
        recall=_shares(found, truths),
        accuracy=_shares(right, predicted),
        one_to_one_precision=_shares(matched, predicted),
        one_to_one_recall=_shares(matched, truths),
        predicted_count=predicted,
        truth_count=int(truths),
    )


def _matched_count(kept: np.ndarray, iou: np.ndarray, min_iou: float) -> np.ndarray:
    """Pairs of boxes and true boxes, one to one: int64, F x S. Equal choices of boxes are matched once."""
    if not iou.size:
        return np.zeros(kept.shape[:2], np.int64)
    choices, which = np.unique(kept.reshape(-1, kept.shape[2]), axis=0, return_inverse=True)
    counts = np.array([len(match_one_to_one(iou[choice], min_iou)) for choice in choices], np.int64)
    return counts[which].reshape(kept.shape[:2])


def _shares(part: np.ndarray, whole: np.ndarray | np.int64) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=np.broadcast_to(whole > 0, part.shape))
