"""The embedded Grounding DINO by OpenVINO finds the same hands on a simulated line as by torch."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
from lineact.foundation.judge import line_frames
from lineact.foundation.judge_grounding_dino import HandAnswers

pytestmark = pytest.mark.slow
EMBEDDED = Path(__file__).parents[2] / "models" / "foundation" / "tiny" / "grounding_dino"
SETTINGS = Path(__file__).parents[2] / "conf" / "detector" / "grounding_dino_tiny.yaml"


@pytest.fixture(scope="module", params=["demo", "gi_d"])
def answers(request, tmp_path_factory):
    """Of each engine, in float32."""
    frames = line_frames(request.param, 8.0, 1)
    shown = frames.images_rgb
    params = GroundingDinoParams(("hand",), 0.25, 0.05, 8, str(EMBEDDED), "main", "float32", "torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lineact.files.CACHE", tmp_path_factory.mktemp("cache"))
        patch.setattr("lineact.detect.grounding_dino._has_gpu", lambda: False)
        by_torch = GroundingDino(params).detect_images(shown)
        by_openvino = GroundingDino(dataclasses.replace(params, engine="auto")).detect_images(shown)
    return HandAnswers(by_torch, frames.boxes_xyxy_px), HandAnswers(by_openvino, frames.boxes_xyxy_px)


def test_the_same_boxes(answers):
    by_torch, by_openvino = answers
    assert sum(len(one.scores) for one in by_torch.found) > 24
    for one, other in zip(by_openvino.found, by_torch.found, strict=True):
        np.testing.assert_allclose(one.boxes_xyxy_px, other.boxes_xyxy_px, atol=0.01)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        assert one.phrases == other.phrases


def test_the_same_recall(answers):
    threshold = OmegaConf.load(SETTINGS).filters.box_threshold
    by_torch, by_openvino = (one.scores(threshold) for one in answers)
    assert by_torch["recall_iou40"] > 0.5
    assert by_openvino == by_torch
