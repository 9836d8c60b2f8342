"""The simulator: geometry of hands, scripts, exact truth, same bytes from the same seed, going on after a kill."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineact.errors import ConfigError
from lineact.files import sha256_of_file
from lineact.schema import TRUTH_BOXES, read_table
from lineact.simulation import SimulateParams
from lineact.simulation.canvas import Canvas, capsule, turned
from lineact.simulation.hand import POSES, Placed, Skin, finger_joints, hand_outline
from lineact.simulation.recordings import render_line
from lineact.simulation.render import LEAST_VISIBLE_SHARE, View, render_frames
from lineact.simulation.script import state_at, write_script
from lineact.simulation.stations import STATIONS
from lineact.simulation.worker import WorkingHand, draw_working_hand, visible_box, visible_share

GREY = (120.0, 120.0, 120.0)
SKIN = Skin(GREY, False, None, GREY, GREY, GREY, 0.3)
PARAMS = SimulateParams(3, "demo", ("screw", "wipe", "label"), 2, 6.0, 5, 320, 180, 30, 1.0)


def placed(pose: str = "flat", **changes: object) -> Placed:
    hand = Placed(False, np.array([100.0, 150.0]), -np.pi / 2, -np.pi / 2, 80.0, POSES[pose])
    return replace(hand, **changes)  # type: ignore[arg-type]


def draw(hand: Placed, size_wh: tuple[int, int] = (200, 200)) -> Canvas:
    canvas = Canvas(np.zeros((size_wh[1], size_wh[0], 3), np.uint8))
    draw_working_hand(canvas, WorkingHand(hand, SKIN, None, 0.0, 200.0), 1, 2, 3)
    return canvas


def test_things_turn_clockwise_with_the_angle_because_y_points_down():
    assert turned(np.array([[1.0, 0.0]]), np.zeros(2), np.pi / 2, 10.0) == pytest.approx(np.array([[0.0, 10.0]]))


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 9))
def test_a_capsule_holds_both_its_ends(x, y, radius):
    outline = capsule(np.zeros(2), np.array([x, y]), (radius, radius))
    assert outline.min(0) == pytest.approx(np.minimum([0, 0], [x, y]) - radius, abs=0.04 * radius)
    assert outline.max(0) == pytest.approx(np.maximum([0, 0], [x, y]) + radius, abs=0.04 * radius)


def test_fingers_of_a_fist_stay_behind_those_of_a_flat_hand():
    flat, fist = finger_joints(POSES["flat"]), finger_joints(POSES["fist"])
    assert (flat[:4, 3, 1] > fist[:4, 3, 1] + 0.25).all()
    assert (fist[:4, 3, 2] < -0.1).all(), "curled fingertips lie on the palm's side"


def test_the_thumb_of_a_right_hand_seen_from_its_back_is_on_the_left():
    right = placed().project(finger_joints(POSES["flat"])[4])
    left = placed(left=True).project(finger_joints(POSES["flat"])[4])
    assert right[3, 0] < 100 < left[3, 0]


def test_the_box_is_that_of_the_hand_without_its_forearm():
    box = visible_box(draw(placed()).owner, 1)
    assert box is not None
    points = np.concatenate(hand_outline(placed()))
    assert box == pytest.approx((*points.min(0), *points.max(0)), abs=2.5)
    assert box[3] < 170, "the forearm reaches down to 200"


def test_what_covers_a_hand_shrinks_its_box_and_share():
    canvas = draw(placed())
    assert visible_share(canvas.owner, 1, placed()) == pytest.approx(1.0, abs=0.05)
    canvas.pen = 9
    canvas.polygon(np.array([[0.0, 0.0], [200.0, 0.0], [200.0, 120.0], [0.0, 120.0]]), GREY)
    box = visible_box(canvas.owner, 1)
    assert box is not None
    assert box[1] >= 120
    assert 0.2 < visible_share(canvas.owner, 1, placed()) < 0.7


def test_the_share_counts_what_lies_beyond_the_picture():
    hand = placed(wrist_xy=np.array([100.0, 20.0]))  # fingers beyond the upper border
    assert visible_share(draw(hand).owner, 1, hand) < 0.4


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(STATIONS)))
def test_a_hand_does_one_thing_at_a_time(seed, station):
    for spans in write_script(STATIONS[station], 60.0, np.random.default_rng(seed)):
        for before, after in pairwise(spans):
            assert before.end_s + before.way_out_s <= after.start_s - after.way_in_s
        assert all(span.end_s + span.way_out_s < 60.0 for span in spans)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(STATIONS)))
def test_steps_come_in_the_takts_order(seed, station):
    left, right = write_script(STATIONS[station], 90.0, np.random.default_rng(seed))
    labels = [span.movement.label for span in sorted([*left, *right], key=lambda span: span.start_s)]
    done = [
        label for index, label in enumerate(labels) if label != "NG" and label not in labels[max(index - 1, 0) : index]
    ]
    order = [step.label for step in STATIONS[station].steps]
    assert len(done) > len(order)
    assert done == [order[index % len(order)] for index in range(len(done))]


def test_a_hand_is_out_of_view_between_its_movements():
    spans = write_script(STATIONS["demo"], 40.0, np.random.default_rng(0))[1]
    assert state_at(spans, spans[0].start_s - spans[0].way_in_s - 0.01, (435, 510)) is None
    state = state_at(spans, spans[0].start_s - spans[0].way_in_s, (435, 510))
    assert state is not None
    assert state.spot_xy[1] > 400, "it starts below the picture"


def test_truth_boxes_lie_in_the_picture_and_hold_moving_pixels():
    view = View((320, 180), 5, 12.0, 25, 0.0)
    frames = list(render_frames(STATIONS["demo"], view, (1, 0)))
    hands = [box for _, truth in frames for box in truth]
    assert len(hands) > 20
    empty = np.median([image for image, _ in frames], axis=0)
    for image, truth in frames:
        for box in truth:
            x1, y1, x2, y2 = (int(value) for value in box.box_xyxy_px)
            assert 0 <= x1 < x2 <= 320
            assert 0 <= y1 < y2 <= 180
            changed = np.abs(image[y1:y2, x1:x2] - empty[y1:y2, x1:x2]).max(-1) > 12
            assert changed.mean() > LEAST_VISIBLE_SHARE, (box, changed.mean())


def test_larger_pictures_show_the_same_recording():
    small, large = (
        [truth for _, truth in render_frames(STATIONS["gi_d"], View(size, 1, 10.0, 25, 0.0), (0, 1))]
        for size in ((320, 180), (2560, 1440))
    )
    pairs = [(a, b) for first, second in zip(small, large, strict=True) for a, b in zip(first, second, strict=True)]
    assert pairs
    for first, second in pairs:
        assert first.action == second.action
        assert np.array(first.box_xyxy_px) * 8 == pytest.approx(np.array(second.box_xyxy_px), abs=12)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path, monkeypatch):
    digests = []
    for number, seed in enumerate((3, 3, 4)):
        monkeypatch.chdir(_fresh(tmp_path / str(number)))
        truth = render_line(replace(PARAMS, seed=seed, recordings=1), tmp_path / str(number) / "raw")
        digests.append((sha256_of_file(tmp_path / str(number) / "raw" / "rec_00.mp4"), truth.to_pylist()))
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]


def test_a_killed_run_goes_on_with_the_recordings_that_are_missing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    whole = render_line(PARAMS, tmp_path / "raw")
    [lost] = tmp_path.glob(".lineact/cache/simulate/*/rec_01.parquet")
    lost.unlink()  # as if killed after the video and before its truth
    capfd.readouterr()
    again = render_line(PARAMS, tmp_path / "raw")
    assert "1 of 2 recordings are there already" in capfd.readouterr().out
    assert again.equals(whole)


def test_the_table_names_the_videos_it_belongs_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth = render_line(replace(PARAMS, recordings=1), tmp_path / "raw")
    assert set(truth["video_sha256"].to_pylist()) == {sha256_of_file(tmp_path / "raw" / "rec_00.mp4")}
    [kept] = tmp_path.glob(".lineact/cache/simulate/*/rec_00.parquet")
    assert read_table(kept, TRUTH_BOXES).equals(truth)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"station": "moon"}, "demo, gi_d, gi_wd, ttp_wh, ua, found 'moon'"),
        ({"actions": ("screw",)}, "shows label, screw, wipe"),
    ],
)
def test_a_station_that_does_not_fit_the_line_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        render_line(replace(PARAMS, **changes), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"fps": 0},
        {"width_px": 300, "height_px": 169},
        {"height_px": 200},
        {"crf": 52},
        {"noise": -1.0},
        {"seconds": 0.5},
    ],
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match="expected"):
        replace(PARAMS, **changes)


def _fresh(folder):
    folder.mkdir()
    return folder
