"""The simulated lines are not trivial: colours alone tell neither the action nor the hand; shapes tell both better."""

import cv2
import numpy as np
import pytest

from lineact.boxes import iou_matrix
from lineact.foundation.blip2 import load_blip2_vision
from lineact.foundation.judge import (
    LineFrames,
    colour_features,
    embed,
    line_crops,
    line_frames,
    line_recall,
    probe_accuracy,
)
from lineact.foundation.vit import load_vit
from lineact.foundation.yolov5 import load_yolov5
from lineact.simulation.palette import GLOVES, SKIN

TINY = "models/foundation/tiny"


@pytest.fixture(scope="module")
def frames() -> LineFrames:
    return line_frames("demo", 40.0, 5, fps=2)


@pytest.fixture(scope="module")
def crops(frames) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return line_crops(frames, 96)


def test_the_demo_line_shows_every_action_in_every_split(crops):
    _, actions, recordings = crops
    for part in (recordings == 4, recordings != 4):
        assert set(actions[part]) == {"screw", "wipe", "label", "NG"}
        assert max((actions[part] == action).mean() for action in set(actions)) < 0.6


def test_a_linear_look_at_pretrained_features_clearly_beats_colour_histograms(crops):
    images, actions, recordings = crops
    by_colour = probe_accuracy(colour_features(images), actions, recordings == 4)
    for model, preprocessing in (load_blip2_vision(f"{TINY}/blip2_vision"), load_vit(f"{TINY}/vit_teacher")):
        by_shape = probe_accuracy(embed(model, preprocessing, images), actions, recordings == 4)
        assert by_shape > by_colour + 0.15, (by_shape, by_colour)


def test_a_threshold_on_hand_colours_does_not_find_hands(frames):
    found = hands = right = predicted = 0
    for image, truth in list(zip(frames.images_rgb, frames.boxes_xyxy_px, strict=True))[::3]:
        overlap = iou_matrix(_boxes_by_colour(image), truth)
        hands, predicted = hands + len(truth), predicted + len(overlap)
        found += int((overlap >= 0.4).any(0).sum())
        right += int((overlap >= 0.4).any(1).sum())
    assert found / hands < 0.5
    assert right / predicted < 0.3


def test_the_yolov5_start_finds_more_hands_than_colours_do(frames):
    part = LineFrames(*(values[::4] for values in vars(frames).values()))
    assert line_recall(load_yolov5(f"{TINY}/yolov5"), part)["recall_iou40"] > 0.6


def _boxes_by_colour(image_rgb: np.ndarray) -> np.ndarray:
    """Boxes of connected regions whose hue and saturation are a glove's or skin's: the best that colours can do."""
    lab = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    mask = np.zeros(image_rgb.shape[:2], bool)
    for colour in (*SKIN, *GLOVES[:2]):
        reference = cv2.cvtColor(np.array([[colour]], np.uint8), cv2.COLOR_RGB2LAB)[0, 0].astype(np.float32)
        distance = np.abs(lab - reference)
        mask |= np.maximum(distance[..., 1], distance[..., 2]) + 0.2 * distance[..., 0] < 11
    whole = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(whole)
    regions = stats[1:][stats[1:, cv2.CC_STAT_AREA] > 300].astype(float)
    return np.column_stack([regions[:, :2], regions[:, :2] + regions[:, 2:4]]).reshape(-1, 4)
