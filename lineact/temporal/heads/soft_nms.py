"""Soft non-maximum suppression in time: of overlapping segments of an action, less sure ones count less.

Source: Soft-NMS (Bodla et al. 2017), its Gaussian form, as ActionFormer uses it, with voting for the ends.
"""

import numpy as np

from lineact.temporal.heads import DecodeParams
from lineact.temporal.segments import t_iou


def soft_nms(
    start_s: np.ndarray, end_s: np.ndarray, scores: np.ndarray, params: DecodeParams
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thins out the segments of one action of one video.

    Args:
        start_s: float, N.
        end_s: float, N, above start_s.
        scores: float, N, 0 to 1.
        params: for `sigma`, `min_score`, `most_after` and `vote_t_iou`.

    Returns:
        start_s, end_s and scores of those that are left, in falling order of scores.
    """
    left = scores.astype(np.float64).copy()
    kept: list[int] = []
    kept_scores: list[float] = []
    while len(kept) < min(params.most_after, len(scores)):
        best = int(left.argmax())
        if left[best] < params.min_score or left[best] <= 0:
            break
        kept.append(best)
        kept_scores.append(float(left[best]))
        overlap = t_iou(start_s, end_s, start_s[best], end_s[best])
        left *= np.exp(-(overlap**2) / params.sigma)
        left[best] = -1.0
    rows = np.array(kept, np.int64)
    voted = np.array([_vote(row, start_s, end_s, scores, params.vote_t_iou) for row in rows]).reshape(-1, 2)
    return voted[:, 0], voted[:, 1], np.array(kept_scores)


def _vote(row: int, start_s: np.ndarray, end_s: np.ndarray, scores: np.ndarray, least: float) -> tuple[float, float]:
    """The ends of a segment, agreed on by all that overlap it so much, itself among them."""
    agree = t_iou(start_s, end_s, start_s[row], end_s[row]) >= least
    weights = scores[agree] / scores[agree].sum()
    return float(start_s[agree] @ weights), float(end_s[agree] @ weights)
