"""How the motion detector behaves: it finds what moves, and nothing else."""

import numpy as np
import pytest

from lineact.boxes import iou_matrix
from lineact.detect.backend import Recording
from lineact.detect.motion import MotionDetector, MotionParams, hand_boxes
from lineact.detect.surroundings import tick_times, views_at
from tests.generated_videos import passing_hand, scene, with_arm, write_video

PARAMS = MotionParams(
    width_px=320,
    background_s=4.0,
    background_fps=2.0,
    differs_by=14.0,
    shadow_chroma=0.03,
    shadow_depth=0.55,
    rest_colour_ratio=1.0,
    hand_length_share=0.125,
    min_area_share=0.0026,
)
HAND = np.array([[140, 80, 180, 120]])  # of passing_hand while at work


def detect(tmp_path, pictures, indices, times_s=None, params=PARAMS):
    path = write_video(tmp_path / "a.mp4", pictures, times_s)
    all_pts_s = np.arange(len(pictures)) / 10 if times_s is None else np.asarray(times_s)
    recording = Recording(path, str(hash(tuple(all_pts_s))), all_pts_s)
    return list(MotionDetector(params).detect(recording, [float(all_pts_s[index]) for index in indices]))


def test_finds_the_hand_without_its_arm(tmp_path):
    pictures, at_work = passing_hand()
    found = detect(tmp_path, pictures, at_work)
    assert len(at_work) > 10
    for one in found:
        assert one.boxes_xyxy_px.shape == (1, 4)
        assert iou_matrix(one.boxes_xyxy_px, HAND)[0, 0] > 0.7
        assert one.scores[0] > 0.9
        assert one.phrases == ("hand",)


def test_a_still_video_is_empty(tmp_path):
    for one in detect(tmp_path, [scene()] * 60, range(0, 60, 10)):
        assert len(one.boxes_xyxy_px) == 0


@pytest.mark.parametrize("offset", [-40, 40])
def test_does_not_depend_on_the_brightness(tmp_path, offset):
    plain, at_work = passing_hand()
    shifted = [np.clip(picture.astype(int) + offset, 0, 255).astype(np.uint8) for picture in plain]
    expected = detect(tmp_path, plain, at_work)
    for one, other in zip(expected, detect(tmp_path, shifted, at_work), strict=True):
        assert iou_matrix(one.boxes_xyxy_px, other.boxes_xyxy_px).max() > 0.8


def test_slow_drift_of_the_light_is_no_hand(tmp_path):
    pictures = [np.clip(scene().astype(int) + index // 2, 0, 255).astype(np.uint8) for index in range(100)]
    for one in detect(tmp_path, pictures, range(0, 100, 10)):
        assert len(one.boxes_xyxy_px) == 0


def test_a_shadow_is_no_hand(tmp_path):
    pictures = []
    for index in range(100):
        picture = scene().copy()
        if 40 <= index < 60:
            picture[40:120, 100:200] = (picture[40:120, 100:200] * 0.75).astype(np.uint8)
        pictures.append(picture)
    assert all(len(one.boxes_xyxy_px) == 0 for one in detect(tmp_path, pictures, range(42, 58, 4)))


def test_an_object_put_down_is_no_hand(tmp_path):
    pictures = []
    for index in range(120):
        picture = scene().copy()
        if index >= 60:
            picture[100:150, 60:100] = (30, 200, 60)
        if 55 <= index < 65:
            picture = with_arm(picture, (80, 110))
        pictures.append(picture)
    found = detect(tmp_path, pictures, [30, 57, 75, 100])
    assert [len(one.boxes_xyxy_px) for one in found] == [0, 1, 0, 0]


def test_colours_of_things_at_rest_are_no_hand(tmp_path):
    """A carried object is cut off where the like of it lies about."""
    pictures = []
    still = scene().copy()
    still[20:160, 20:100] = (30, 200, 60)
    for index in range(120):
        picture = still.copy()
        if 50 <= index < 70:
            picture = with_arm(picture, (160 + index % 3, 90))
            picture[90:150, 150:175] = (30, 200, 60)  # carried
        pictures.append(picture)
    hand = np.array([[140, 50, 182, 90]])
    chosen = [MotionParams(**{**vars(PARAMS), "rest_colour_ratio": ratio}) for ratio in (3.0, 0.0)]
    with_cue, without = (detect(tmp_path, pictures, [55, 60, 65], params=params) for params in chosen)
    for one, other in zip(with_cue, without, strict=True):
        assert iou_matrix(one.boxes_xyxy_px, hand).max() > 0.7
        assert iou_matrix(other.boxes_xyxy_px, hand).max() < 0.3


def test_finds_the_hand_at_a_variable_frame_rate(tmp_path):
    pictures, at_work = passing_hand()
    rng = np.random.default_rng(0)
    chosen = [index for index in range(len(pictures)) if index in at_work or rng.random() < 0.5]
    indices = [chosen.index(index) for index in at_work]
    found = detect(tmp_path, [pictures[index] for index in chosen], indices, [index / 10 for index in chosen])
    assert all(iou_matrix(one.boxes_xyxy_px, HAND).max() > 0.7 for one in found)


def test_a_longer_hand_setting_takes_more_of_the_arm():
    mask = np.zeros((180, 320), np.uint8)
    mask[:120, 150:170] = 1
    lengths = [0.1, 0.2, 0.3, 1.0]
    tops = [
        hand_boxes(mask, MotionParams(**{**vars(PARAMS), "hand_length_share": length}))[0][0, 1] for length in lengths
    ]
    assert tops == pytest.approx([87, 55, 23, 1], abs=2.5)


def test_a_blob_inside_the_picture_is_taken_whole():
    mask = np.zeros((180, 320), np.uint8)
    mask[40:140, 100:200] = 1
    boxes, areas_px = hand_boxes(mask, PARAMS)
    assert boxes.tolist() == [pytest.approx([100, 40, 200, 140], abs=1.5)]
    assert areas_px.tolist() == [10000]


def test_specks_are_no_hand():
    mask = np.zeros((180, 320), np.uint8)
    mask[40:50, 100:110] = 1
    assert len(hand_boxes(mask, PARAMS)[0]) == 0


def test_views_show_the_scene_before_and_after(tmp_path):
    pictures = [np.full((180, 320, 3), 60 if index < 50 else 160, np.uint8) for index in range(100)]
    path = write_video(tmp_path / "a.mp4", pictures)
    recording = Recording(path, "a", np.arange(100) / 10)
    views = list(views_at(recording, [0.0, 4.9, 9.9], span_s=3.0, fps=2.0, width_px=64))
    levels = [[round(float(picture.mean()), -1) for picture in (v.image_rgb, v.before_rgb, v.after_rgb)] for v in views]
    # At the ends the side that is there answers for both.
    assert levels == [[60, 60, 60], [60, 60, 160], [160, 160, 160]]
    assert views[0].image_rgb.shape == (36, 64, 3)
    assert views[0].source_size_wh == (320, 180)


def test_ticks_come_at_their_rate_whatever_the_frame_rate():
    times_s = np.array([5.0, 5.1, 5.2, 5.6, 7.05, 7.1, 8.0])
    assert tick_times(times_s, 2.0).tolist() == [5.0, 5.6, 7.05, 8.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("width_px", 8), ("background_s", 0.0), ("background_fps", 0.1), ("differs_by", 0.0), ("shadow_depth", 2.0)],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=name):
        MotionParams(**{**vars(PARAMS), name: value})
