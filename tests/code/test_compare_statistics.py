"""Intervals over seeds and crops: cases worked out by hand, and what must hold whatever the answers are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineact.compare.classifiers.statistics import Answers, accuracy_over, difference_over, fewer_errors_over
from lineact.metrics import paired_bootstrap


def answers(rows: list[list[int]], blocks: list[int] | None = None) -> Answers:
    right = np.array(rows, bool)
    return Answers(right, np.arange(right.shape[1]) if blocks is None else np.array(blocks))


@st.composite
def two_choices(draw):
    """Two choices' answers on the same one to three lines."""
    pairs = []
    for _ in range(draw(st.integers(1, 3))):
        seeds, crops = draw(st.integers(1, 3)), draw(st.integers(1, 8))
        blocks = draw(st.lists(st.integers(0, 3), min_size=crops, max_size=crops))
        rows = st.lists(st.lists(st.integers(0, 1), min_size=crops, max_size=crops), min_size=seeds, max_size=seeds)
        pairs.append((answers(draw(rows), blocks), answers(draw(rows), blocks)))
    return [one for one, _ in pairs], [other for _, other in pairs]


@given(two_choices())
@settings(max_examples=40)
def test_intervals_hold_their_figure_and_are_of_their_range(drawn):
    ours, others = drawn
    accuracy = accuracy_over(ours)
    assert accuracy.value == pytest.approx(np.mean([line.right.mean() for line in ours]))
    assert 0 <= accuracy.low <= accuracy.high <= 1
    difference, opposite = difference_over(ours, others), difference_over(others, ours)
    assert difference.value == pytest.approx(accuracy.value - accuracy_over(others).value)
    ends = (-difference.low, -difference.value, -difference.high)
    assert ends == pytest.approx((opposite.high, opposite.value, opposite.low))
    same = difference_over(ours, ours)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    fewer = fewer_errors_over(ours, others)
    if accuracy_over(others).value == 1:
        assert fewer is None
    else:
        assert fewer is not None
        assert (fewer.value > 0) == (difference.value > 1e-12)
        assert fewer.high <= 1


def test_by_hand():
    # line 1: seeds right on 3 and 1 of 4; line 2: 2 of 2 and 1 of 2: mean (4/8 + 3/4) / 2
    ours = [answers([[1, 1, 1, 0], [0, 0, 1, 0]]), answers([[1, 1], [0, 1]])]
    others = [answers([[1, 0, 0, 0], [0, 0, 1, 0]]), answers([[1, 0], [0, 0]])]
    assert accuracy_over(ours).value == pytest.approx(0.625)
    assert difference_over(ours, others).value == pytest.approx(0.625 - 0.25)
    fewer = fewer_errors_over(ours, others)
    assert fewer is not None
    assert fewer.value == pytest.approx(0.5)  # 0.375 errors against 0.75
    assert not difference_over(ours, others).excludes_zero or difference_over(ours, others).low > 0


def test_lines_weigh_the_same_whatever_their_size():
    large, small = answers([[1] * 900]), answers([[0] * 3])
    assert accuracy_over([large, small]).value == pytest.approx(0.5)


@pytest.mark.parametrize("right", [0, 1])
def test_without_any_spread_the_interval_is_a_point(right):
    estimate = accuracy_over([answers([[right] * 5] * 2)])
    assert (estimate.low, estimate.value, estimate.high) == (right, right, right)


def test_one_seed_gives_the_interval_of_blocks_alone():
    rng = np.random.default_rng(5)
    right, other = rng.random((2, 400)) < 0.7, rng.random((2, 400)) < 0.6
    blocks = np.repeat(np.arange(40), 10)
    estimate = difference_over([Answers(right[:1], blocks)], [Answers(other[:1], blocks)])
    reference = paired_bootstrap(right[0], other[0], blocks)
    assert estimate.value == pytest.approx(reference.mean)
    assert (estimate.low, estimate.high) == pytest.approx((reference.low, reference.high), abs=0.012)


def test_blocks_that_stand_or_fall_together_widen_the_interval():
    right = np.repeat(np.arange(20) % 2, 20)[None].astype(bool)
    alone = accuracy_over([Answers(right, np.arange(400))])
    together = accuracy_over([Answers(right, np.repeat(np.arange(20), 20))])
    # standard errors: sqrt(0.25 / 400) = 0.025, sqrt(0.25 / 20) = 0.112
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * 0.025, rel=0.1)
    assert together.high - together.low == pytest.approx(2 * 1.96 * 0.1118, rel=0.1)


def test_seeds_that_differ_widen_the_interval():
    crops = np.arange(1000)
    alike = Answers(np.stack([(crops + seed) % 2 == 0 for seed in range(4)]), crops)
    unlike = Answers(np.stack([crops < 1000 * share for share in (0.2, 0.4, 0.6, 0.8)]), crops)
    narrow, wide = accuracy_over([alike]), accuracy_over([unlike])
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)


def test_95_of_100_intervals_hold_the_truth():
    """Crops and seeds of a known effect: the interval of one choice's accuracy, over 200 drawn experiments."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        of_seed, of_block = rng.normal(0, 0.05, (8, 1)), np.repeat(rng.normal(0, 0.1, (1, 40)), 5, axis=1)
        right = rng.random((8, 200)) < np.clip(0.7 + of_seed + of_block, 0, 1)
        estimate = accuracy_over([Answers(right, np.repeat(np.arange(40), 5))])
        held += estimate.low <= 0.7 <= estimate.high
    assert held >= 180


@pytest.mark.parametrize(
    ("right", "blocks"),
    [(np.ones((0, 3), bool), np.zeros(3)), (np.ones((2, 0), bool), np.zeros(0)), (np.ones((2, 3), bool), np.zeros(2))],
)
def test_nothing_or_unequal_is_refused(right, blocks):
    with pytest.raises(ValueError, match="at least one seed on at least one crop"):
        Answers(right, blocks)


def test_choices_asked_differently_are_not_compared():
    with pytest.raises(ValueError, match="same seeds and crops"):
        difference_over([answers([[1, 0]])], [answers([[1, 0], [1, 1]])])
    with pytest.raises(ValueError, match="same seeds and crops"):
        difference_over([answers([[1, 0]], [0, 1])], [answers([[1, 0]], [0, 0])])
