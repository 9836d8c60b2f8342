"""The score threshold that train_detector hands to the released pair."""

import numpy as np
import pytest

from lineact.metrics import ScoredFrame
from lineact.training.yolo.result import choose_threshold, precision_recall_rows


def curve(*f2_by_threshold):
    return [[threshold, 0.5, 0.5, f2] for threshold, f2 in f2_by_threshold]


@pytest.mark.parametrize(
    ("rows", "threshold"),
    [
        ([], 0.5),
        (curve((0.1, 0.55), (0.5, 0.85), (0.9, 0.18)), 0.5),
        (curve((0.1, 0.80), (0.3, 0.813), (0.5, 0.81), (0.6, 0.57)), 0.3),
        (curve((0.1, 0.81), (0.2, 0.80), (0.3, 0.81), (0.4, 0.4), (0.5, 0.3), (0.6, 0.82), (0.7, 0.5)), 0.6),
        (curve((0.1, 0.82), (0.2, 0.4), (0.3, 0.5), (0.4, 0.81), (0.5, 0.5)), 0.1),
        (curve((0.1, 0.82), (0.2, 0.4), (0.3, 0.81), (0.4, 0.82), (0.5, 0.81), (0.6, 0.5)), 0.4),
        (curve((0.1, 0.82), (0.2, 0.81), (0.3, 0.4), (0.4, 0.4), (0.5, 0.4), (0.6, 0.82), (0.7, 0.81)), 0.2),
    ],
    ids=[
        "nothing predicted",
        "one clear best",
        "flat: the middle",
        "a wider stretch without the best does not count",
        "a later stretch without the best does not count",
        "of two with the best the wider",
        "of two as wide the lower",
    ],
)
def test_the_middle_of_the_stretch_with_the_best_f2_is_taken(rows, threshold):
    assert choose_threshold(rows) == threshold
    assert choose_threshold(rows[::-1]) == threshold


def test_recall_counts_twice():
    """One found hand of two without a false box is worth less than both with one."""
    hands = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float64)
    frames = [ScoredFrame(np.array([hands[0], [50, 50, 60, 60], hands[1]]), np.array([0.9, 0.5, 0.3]), hands)]
    by_threshold = {
        threshold: (precision, recall, f2) for threshold, precision, recall, f2 in precision_recall_rows(frames)
    }
    assert by_threshold[0.6] == pytest.approx((1, 0.5, 5 * 0.5 / 4.5))
    assert by_threshold[0.2] == pytest.approx((2 / 3, 1, 5 * (2 / 3) / (4 * 2 / 3 + 1)))
    assert choose_threshold(precision_recall_rows(frames)) < 0.3
