"""The original Grounding DINO package runs on local files, with the methods that BertModel no longer has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lineact.detect.groundingdino_py as module
from lineact.detect.groundingdino_py import GroundingDinoPy, GroundingDinoPyParams
from lineact.errors import InputError
from tests.tiny_grounding_dino import write_original_model


@pytest.fixture(scope="module")
def params(tmp_path_factory) -> GroundingDinoPyParams:
    config, checkpoint, text_encoder = write_original_model(tmp_path_factory.mktemp("groundingdino_py"))
    return GroundingDinoPyParams(
        config=str(config),
        checkpoint=str(checkpoint),
        text_encoder=str(text_encoder),
        prompt=("hand",),
        text_threshold=0.2,
        score_floor=0.0,
        batch_size=2,
    )


@pytest.fixture(autouse=True)
def _no_network_and_small_images(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(module, "SHORTER_SIDE_PX", 64)


@pytest.mark.slow
def test_it_runs_on_local_files_and_encodes_its_prompt_once(params):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    backend = GroundingDinoPy(params)
    batch = backend.detect_images(images)
    alone = backend.detect_images(images[:1])[0]
    assert backend._model.bert.forward_count == 1
    assert all(found.boxes_xyxy_px.shape == (10, 4) for found in batch)
    np.testing.assert_allclose(batch[0].boxes_xyxy_px, alone.boxes_xyxy_px, atol=1e-2)
    assert (np.diff(batch[0].boxes_xyxy_px.reshape(-1, 2, 2), axis=1) > 0).all()
    assert ((batch[0].scores > 0) & (batch[0].scores <= 1)).all()
    assert any("hand" in phrase for found in batch for phrase in found.phrases)

    floor = float(np.median(batch[0].scores))
    fewer = GroundingDinoPy(replace(params, score_floor=floor)).detect_images(images[:1])[0]
    assert len(fewer.scores) == (batch[0].scores > floor).sum() > 0


@pytest.mark.slow
def test_a_checkpoint_of_another_model_is_an_error(params, tmp_path):
    from safetensors.torch import load_file, save_file

    other, state = tmp_path / "a.safetensors", load_file(params.checkpoint)
    save_file({name: value for name, value in state.items() if "feat_map" not in name}, other)
    with pytest.raises(InputError, match=r"2 missing \(first: feat_map\.bias\)"):
        GroundingDinoPy(replace(params, checkpoint=str(other)))._model  # noqa: B018


@pytest.mark.slow
def test_a_prompt_that_it_would_cut_off_is_an_error_at_loading(params):
    GroundingDinoPy(params).load()
    with pytest.raises(InputError, match=r"groundingdino_py\.prompt: expected at most 256 tokens, found \d+; ask for"):
        GroundingDinoPy(replace(params, prompt=("hand",) * 250)).load()


def test_an_image_smaller_than_a_patch_is_refused_before_the_model_is_loaded(params, monkeypatch):
    monkeypatch.setattr(GroundingDinoPy, "_model", None)
    with pytest.raises(InputError, match="at least 16 x 16 pixels, found 40 x 12"):
        GroundingDinoPy(params).detect_images([np.zeros((12, 40, 3), np.uint8)])


@pytest.mark.parametrize("name", ["config", "checkpoint", "text_encoder"])
def test_a_missing_file_is_named_with_the_ways_out(name, tmp_path):
    paths = {"config": tmp_path / "c.py", "checkpoint": tmp_path / "c.safetensors", "text_encoder": tmp_path / "bert"}
    for path in paths.values():
        path.mkdir() if path.name == "bert" else path.touch()
    missing = Path("nowhere") / name
    settings = {key: str(path) for key, path in paths.items()} | {name: str(missing)}
    settings_py = GroundingDinoPyParams(**settings, prompt=("hand",), text_threshold=0.2, score_floor=0.0, batch_size=2)
    with pytest.raises(InputError, match=rf"{missing}(.|\n)*groundingdino_py\.{name}(.|\n)*detector: motion"):
        GroundingDinoPy(settings_py)


def test_masks_are_those_of_transformers_4():
    import torch
    from transformers import BertConfig

    from lineact.detect.bert_masks import BertWithMasks
    from tests.tiny_grounding_dino import TEXT

    bert = BertWithMasks(BertConfig(**TEXT))
    lowest = torch.finfo(torch.float32).min
    rows = torch.tensor([[1, 1, 0]])
    assert bert.get_extended_attention_mask(rows).tolist() == [[[[0.0, 0.0, lowest]]]]
    square = torch.tensor([[[True, False], [True, True]]])
    assert bert.get_extended_attention_mask(square).tolist() == [[[[0.0, lowest], [0.0, 0.0]]]]
    assert bert.get_head_mask(None, 2) == [None, None]
