"""Moments to take: apart in time, and evenly spaced."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lineact.sampling import evenly, spread

moments = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 60)), max_size=40)


@given(moments=moments, gap_s=st.floats(0, 5), count=st.integers(0, 20))
def test_what_is_taken_is_apart_and_nothing_that_fits_is_passed_over(moments, gap_s, count):
    chosen = spread(moments, gap_s, count)
    taken: list[tuple[str, float]] = []
    for index, (video, pts_s) in enumerate(moments):
        fits = all(video != other or abs(pts_s - other_s) >= gap_s for other, other_s in taken)
        assert (index in chosen) == (fits and len(taken) < count)
        if index in chosen:
            taken.append((video, pts_s))


@given(count=st.integers(0, 300), wanted=st.integers(0, 100))
def test_evenly_spaced_indices_are_different_and_have_like_distances(count, wanted):
    indices = evenly(count, wanted)
    assert len(set(indices)) == len(indices) == min(count, wanted)
    assert all(0 <= index < count for index in indices)
    steps = np.diff(indices)
    assert not len(steps) or steps.max() - steps.min() <= 1
