"""The score threshold that train_detector hands to the released pair."""

import pytest

from lineact.training.yolo.result import choose_threshold


@pytest.mark.parametrize(
    ("curve", "threshold"),
    [
        ([], 0.5),
        ([[0.1, 0.4, 0.9, 0.55], [0.5, 0.9, 0.8, 0.85], [0.9, 1.0, 0.1, 0.18]], 0.5),
        ([[0.1, 0.9, 0.71, 0.80], [0.3, 0.95, 0.71, 0.813], [0.5, 1.0, 0.68, 0.81], [0.6, 0.98, 0.4, 0.57]], 0.3),
    ],
    ids=["nothing predicted", "one clear best", "flat: the middle"],
)
def test_the_middle_of_the_thresholds_near_the_best_f1_is_taken(curve, threshold):
    assert choose_threshold(curve) == threshold
