"""The score threshold that train_detector hands to the released pair."""

import pytest

from lineact.training.yolo.result import choose_threshold


def curve(*f1_by_threshold):
    return [[threshold, 0.5, 0.5, f1] for threshold, f1 in f1_by_threshold]


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
def test_the_middle_of_the_stretch_with_the_best_f1_is_taken(rows, threshold):
    assert choose_threshold(rows) == threshold
    assert choose_threshold(rows[::-1]) == threshold
