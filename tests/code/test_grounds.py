"""Grounds of pretraining scenes: what they change, and that each is what it is called."""

import numpy as np
import pytest

from lineact.foundation import grounds
from lineact.foundation.grounds import lay_ground
from lineact.simulation.canvas import Canvas

SIZE_HW = (96, 160)
KINDS = {"_corrugated": (SIZE_HW, 20.0), "_grained": (SIZE_HW,), "_ruled": (SIZE_HW, 20.0)}


def gains(kind: str, seed: int) -> np.ndarray:
    size_hw, *hand_px = KINDS[kind]
    return getattr(grounds, kind)(size_hw, np.random.default_rng(seed), *hand_px)


def test_a_ground_covers_some_scenes_and_leaves_the_others_and_all_owners():
    laid = 0
    for seed in range(60):
        canvas = Canvas(np.full((*SIZE_HW, 3), 7, np.uint8))
        lay_ground(canvas, np.random.default_rng(seed), 20.0)
        laid += bool((canvas.image_rgb != 7).any())
        assert not canvas.owner.any()
    assert 0.35 * 60 < laid < 0.75 * 60


@pytest.mark.parametrize("kind", KINDS)
def test_a_ground_has_a_pattern_about_its_own_brightness(kind):
    for seed in range(30):
        gain = gains(kind, seed)
        assert gain.shape == SIZE_HW
        assert np.isfinite(gain).all()
        assert gain.std() > 0.005
        assert 0.4 < np.median(gain) < 1.9


def test_folds_repeat_more_than_streaks_do():
    def regular(gain: np.ndarray) -> float:
        """Share of a pattern's power in its twelve strongest frequencies, 0 to 1."""
        power = np.sort(np.abs(np.fft.fft2(gain - gain.mean())).ravel() ** 2)
        return float(power[-12:].sum() / power.sum())

    folds, streaks = (
        np.median([regular(gains(kind, seed)) for seed in range(20)]) for kind in ("_corrugated", "_grained")
    )
    assert folds > 0.8
    assert folds > streaks + 0.1
