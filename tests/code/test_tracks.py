"""Tracks: the same hand keeps its number, another one never gets it; probabilities follow time, not frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.runtime.settings import RecogniseSettings
from lineact.runtime.tracks import Track, Tracks, one_box_per_hand

SETTINGS = RecogniseSettings(follow_within=1.0, lost_after_s=0.5)


def box(x, y, side=100.0):
    return [x, y, x + side, y + side]


def ids(tracks, boxes, at_s):
    found = tracks.follow(np.array(boxes, np.float32).reshape(-1, 4), at_s)
    return [track.hand_id for track, _ in found]


def test_moving_hands_keep_their_numbers_in_whatever_order_they_are_found():
    tracks = Tracks(SETTINGS)
    left, right = ids(tracks, [box(0, 0), box(500, 0)], 0.0)
    for step in range(1, 6):
        at_s = step / 25
        assert ids(tracks, [box(500 - 40 * step, 10), box(30 * step, 0)], at_s) == [right, left]


def test_each_box_takes_the_nearest_hand_and_none_is_taken_twice():
    tracks = Tracks(SETTINGS)
    (hand,) = ids(tracks, [box(0, 0)], 0.0)
    far, near = ids(tracks, [box(60, 0), box(20, 0)], 0.04)
    assert near == hand
    assert far != hand


@pytest.mark.parametrize(
    ("x", "at_s", "same"), [(99, 0.04, True), (101, 0.04, False), (0, 0.5, True), (0, 0.51, False)]
)
def test_a_hand_is_another_one_after_a_leap_or_a_long_absence(x, at_s, same):
    tracks = Tracks(SETTINGS)
    before = ids(tracks, [box(0, 0)], 0.0)
    assert (ids(tracks, [box(x, 0)], at_s) == before) is same


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=4, unique=True), min_size=1, max_size=30
    )
)
def test_numbers_are_different_in_a_frame_and_never_given_again(frames):
    tracks = Tracks(SETTINGS)
    last_seen: dict[int, float] = {}
    for index, places in enumerate(frames):
        found = ids(tracks, [box(60 * x, 60 * y) for x, y in places], index / 10)
        assert len(set(found)) == len(places)
        for hand_id in found:
            assert index / 10 - last_seen.get(hand_id, index / 10) <= SETTINGS.lost_after_s
            last_seen[hand_id] = index / 10


@given(
    steps_s=st.lists(st.floats(0.001, 0.3), min_size=1, max_size=8),
    smooth_s=st.floats(0.05, 1),
    first=st.floats(0, 1),
    second=st.floats(0, 1),
)
def test_smoothing_depends_on_the_time_that_passed_alone(steps_s, smooth_s, first, second):
    def smoothed(steps_s):
        track = Track(1, np.zeros(4), 0.0)
        track.answer = np.array([first, 1 - first])
        track.smooth(0.0, smooth_s)
        track.answer = np.array([second, 1 - second])
        for step_s in steps_s:
            track.smooth(step_s, smooth_s)
        return track.smoothed

    in_steps, at_once = smoothed(steps_s), smoothed([sum(steps_s)])
    np.testing.assert_allclose(in_steps, at_once, atol=1e-9)
    assert in_steps.sum() == pytest.approx(1)
    assert min(first, second) - 1e-9 <= in_steps[0] <= max(first, second) + 1e-9


def test_after_smooth_s_63_percent_of_a_change_are_there():
    track = Track(1, np.zeros(4), 0.0)
    track.answer = np.array([0.0, 1.0])
    track.smooth(0.0, 0.2)
    track.answer = np.array([1.0, 0.0])
    assert track.smooth(0.2, 0.2)[0] == pytest.approx(1 - np.exp(-1))
    assert track.smooth(0.04, 0.0)[0] == 1.0


@pytest.mark.parametrize(
    ("second", "stays"),
    [
        ([10, 10, 50, 50], False),  # inside the first, IoU 0.16
        ([0, 0, 100, 300], False),  # a hand with its arm: holds the first, IoU 0.33
        ([41, 0, 141, 100], True),  # 59 % in common: the demo's true pairs of hands share up to half
        ([39, 0, 139, 100], False),
        ([100, 0, 200, 100], True),
        ([20, 20, 20, 60], True),  # without area nothing covers it
    ],
)
def test_a_hand_has_one_box_also_where_its_boxes_differ_in_size(second, stays):
    boxes = np.array([[0, 0, 100, 100], second], np.float32)
    assert one_box_per_hand(boxes, 0.6).tolist() == ([0, 1] if stays else [0])


BOXES = st.lists(st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(1, 50)] * 2), max_size=8)


@given(BOXES, st.floats(0.05, 1))
def test_what_is_dropped_lies_on_a_surer_box_that_stays(corners, most_covered):
    boxes = np.array([[x, y, x + width, y + height] for x, y, width, height in corners], np.float32).reshape(-1, 4)
    stay = one_box_per_hand(boxes, most_covered).tolist()

    def covers(row, other):
        common = np.clip(
            np.minimum(boxes[row, 2:], boxes[other, 2:]) - np.maximum(boxes[row, :2], boxes[other, :2]), 0, None
        )
        smaller = min((boxes[index, 2:] - boxes[index, :2]).prod() for index in (row, other))
        return common.prod() > most_covered * smaller

    for row in range(len(boxes)):
        assert (row not in stay) == any(covers(row, other) for other in stay if other < row)
