"""Grounding DINO by OpenVINO answers as it does by torch; what was converted once is read from disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers.models.grounding_dino import modeling_grounding_dino
from transformers.utils import logging

from lineact.bundle.networks import supported_precisions
from lineact.detect import grounding_openvino
from lineact.detect.backend import Detections, Recording
from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
from lineact.errors import InputError
from lineact.files import sha256_of_file
from lineact.video import read_frames
from tests.generated_videos import write_video
from tests.tiny_grounding_dino import write_hub_model

MASKS = "generate_masks_with_special_tokens_and_transfer_map"


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr("lineact.detect.grounding_dino._has_gpu", lambda: False)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Settings with weights, and a cache that all tests here share, since each conversion takes seconds."""
    folder = tmp_path_factory.mktemp("openvino")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lineact.files.CACHE", folder / "cache")
        yield GroundingDinoParams(
            weights=str(write_hub_model(folder / "weights")),
            revision="main",
            precision="float32",
            engine="auto",
            prompt=("hand", "glove"),
            text_threshold=0.2,
            score_floor=0.0,
            batch_size=2,
        )


def images(count: int, size_hw: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, (*size_hw, 3), np.uint8) for _ in range(count)]


def assert_alike(found: Detections, expected: Detections) -> None:
    assert len(found.scores) == 10
    np.testing.assert_allclose(found.boxes_xyxy_px, expected.boxes_xyxy_px, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert found.phrases == expected.phrases


def stored_networks() -> list[Path]:
    from lineact.files import CACHE

    return sorted((CACHE / "openvino").glob("*/network.xml"))


def test_both_engines_answer_alike(converted):
    torch_engine, engine = GroundingDino(replace(converted, engine="torch")), GroundingDino(converted)
    shown = images(3)
    for found, expected in zip(engine.detect_images(shown), torch_engine.detect_images(shown), strict=True):
        assert_alike(found, expected)
    for said, other in zip(engine.queries(shown), torch_engine.queries(shown), strict=True):
        np.testing.assert_allclose(said.boxes_xyxy_px, other.boxes_xyxy_px, atol=1e-3)
        np.testing.assert_allclose(said.token_probabilities, other.token_probabilities, atol=1e-5)
    _, model = engine._loaded
    assert model.model.text_backbone.forward_count == 1


def test_pictures_of_other_sizes_in_one_batch(converted):
    shown = [*images(1), *images(1, (64, 48)), *images(1)]
    found = GroundingDino(converted).detect_images(shown)
    torch_engine = GroundingDino(replace(converted, engine="torch"))
    for one, image in zip(found, shown, strict=True):
        assert_alike(one, torch_engine.detect_images([image])[0])


def test_a_recording_whose_last_batch_is_smaller(converted, tmp_path):
    path = write_video(tmp_path / "a.mp4", images(5))
    pts_s = [frame.pts_s for frame in read_frames(path)]
    recording = Recording(path, sha256_of_file(path), np.array(pts_s))
    found = list(GroundingDino(converted).detect(recording, pts_s))
    expected = list(GroundingDino(replace(converted, engine="torch")).detect(recording, pts_s))
    assert len(found) == len(pts_s) == 5
    for one, other in zip(found, expected, strict=True):
        assert_alike(one, other)


def test_a_network_is_converted_once(converted, monkeypatch):
    expected = GroundingDino(converted).detect_images(images(1))[0]
    stored = stored_networks()
    monkeypatch.setattr(grounding_openvino, "_converted", None)
    again = GroundingDino(replace(converted, text_threshold=0.9)).detect_images(images(1))[0]
    np.testing.assert_array_equal(again.boxes_xyxy_px, expected.boxes_xyxy_px)
    assert stored_networks() == stored
    with pytest.raises(InputError, match="not callable"):  # another text is another network
        GroundingDino(replace(converted, prompt=("hand",))).detect_images(images(1))


def test_the_engine_that_answers_has_shards_of_its_own(converted, monkeypatch):
    plain = GroundingDino(replace(converted, engine="torch"))
    assert "engine" not in plain.key  # shards from before there was a choice stay good
    assert GroundingDino(converted).key == plain.key | {"engine": "openvino"}
    monkeypatch.setattr("lineact.detect.grounding_dino._has_gpu", lambda: True)
    assert GroundingDino(converted).key == plain.key


@pytest.mark.skipif("bf16" not in supported_precisions("openvino"), reason="this CPU computes in float32 only")
def test_bfloat16_is_near(converted, monkeypatch):
    monkeypatch.setattr("lineact.detect.grounding_dino._computes_in_bfloat16", lambda: True)
    lower = GroundingDino(replace(converted, precision="auto"))
    assert lower.key == GroundingDino(converted).key | {"precision": "bfloat16"}
    exact, near = (backend.queries(images(1))[0].token_probabilities for backend in (GroundingDino(converted), lower))
    assert 0 < np.abs(np.sort(exact, axis=0) - np.sort(near, axis=0)).max() < 0.05


def test_what_openvino_cannot_convert_is_told_and_leaves_nothing_behind(converted, monkeypatch):
    masks, level, stored = getattr(modeling_grounding_dino, MASKS), logging.get_verbosity(), stored_networks()
    monkeypatch.setattr(grounding_openvino, "OWN_RULES", {})
    expected = r"aten::special_logit\); set detect.grounding_dino.engine to torch"
    with pytest.raises(InputError, match=expected):
        GroundingDino(replace(converted, prompt=("tool",))).detect_images(images(1))
    assert stored_networks() == stored
    assert getattr(modeling_grounding_dino, MASKS) is masks
    assert logging.get_verbosity() == level


def test_the_masks_of_the_text_are_constant_only_meanwhile(converted):
    backend = GroundingDino(converted)
    ids, (_, model) = backend._text["input_ids"], backend._loaded
    masks = getattr(modeling_grounding_dino, MASKS)
    expected = masks(ids, special_tokens=model.model.special_tokens)
    with grounding_openvino.constant_text_masks(model, ids):
        found = getattr(modeling_grounding_dino, MASKS)(ids * 0, special_tokens=None)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert getattr(modeling_grounding_dino, MASKS) is masks
