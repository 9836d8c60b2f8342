"""Missing or foreign weights are told before a line's recordings are decoded for the first time."""

import json
from pathlib import Path

import pytest
import yaml

from flows.first_weights import look_for_weights
from lineact.errors import InputError
from lineact.foundation import tiny
from tests.tiny_grounding_dino import write_hub_model

ROOT = Path(__file__).parents[2]
LINE = "press"


@pytest.fixture
def sections(tmp_path, monkeypatch) -> dict:
    """What detect and embed of a new line receive, both with full-size weights by name."""
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())["lines"]["demo"]
    dino = {"prompt": ["hand"], "text_threshold": 0.2, "score_floor": 0.1, "batch_size": 1, "revision": "main"}
    dino |= {"precision": "float32", "engine": "torch"}
    detect = settings["detect"] | {"backend": "grounding_dino", "grounding_dino": dino | {"weights": "some/detector"}}
    detect.pop("motion", None)
    embed = settings["embed"] | {"foundation": "hub", "hub_model": "some/blip2", "hub_revision": None}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return {"hub_cache": "hub", "detect": detect, "embed": embed}


def _write(sections: dict) -> None:
    Path("params.yaml").write_text(yaml.safe_dump({"lines": {LINE: sections}}))


def _configured(folder: Path, model_type: str) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return str(folder)


def _tower(folder: Path) -> Path:
    tiny.save_blip2_vision(tiny.blip2_vision(), folder, "card")
    return folder


def test_missing_weights_name_both_ways_out(sections):
    _write(sections)
    with pytest.raises(InputError, match=r"some/detector(.|\n)*local folder(.|\n)*detector: motion"):
        look_for_weights(LINE)


@pytest.mark.parametrize(
    ("detector", "tower", "found"),
    [
        ("detr", "blip-2", "expected the weights of a grounding-dino, found 'detr'"),
        ("grounding-dino", "clip", "expected the weights of a blip-2, found 'clip'"),
    ],
)
def test_weights_of_another_architecture_are_refused(sections, tmp_path, detector, tower, found):
    sections["detect"]["grounding_dino"]["weights"] = _configured(tmp_path / "detector", detector)
    sections["embed"]["hub_model"] = _configured(tmp_path / "tower", tower)
    _write(sections)
    with pytest.raises(InputError, match=found):
        look_for_weights(LINE)


def test_usable_weights_pass(sections, tmp_path):
    sections["detect"]["grounding_dino"]["weights"] = str(write_hub_model(tmp_path / "detector"))
    sections["embed"]["hub_model"] = str(_tower(tmp_path / "tower"))
    _write(sections)
    look_for_weights(LINE)


def _changed(folder: Path, **settings: object) -> str:
    """The same weights under another config.json."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    return str(folder)


@pytest.mark.parametrize(
    ("detector", "tower", "found"),
    [
        ({"d_model": 64}, {}, r"/detector: expected the weights that its config.json describes, found others"),
        ({}, {"hidden_size": 64}, r"/tower: weights do not fit the architecture .*, the first: size mismatch for"),
    ],
)
def test_weights_of_another_size_than_their_configuration_tells_are_refused(sections, tmp_path, detector, tower, found):
    weights = _changed(write_hub_model(tmp_path / "detector"), **detector)
    sections["detect"]["grounding_dino"]["weights"] = weights
    sections["embed"]["hub_model"] = _changed(_tower(tmp_path / "tower"), **tower)
    _write(sections)
    with pytest.raises(InputError, match=found):
        look_for_weights(LINE)


def test_a_prompt_of_too_many_tokens_is_refused(sections, tmp_path):
    longest = json.loads((write_hub_model(tmp_path / "detector") / "config.json").read_text())["max_text_len"]
    sections["detect"]["grounding_dino"] |= {"weights": str(tmp_path / "detector"), "prompt": ["hand"] * longest}
    sections["embed"]["hub_model"] = str(_tower(tmp_path / "tower"))
    _write(sections)
    with pytest.raises(InputError, match=rf"grounding_dino\.prompt: expected at most {longest} tokens"):
        look_for_weights(LINE)


def test_a_line_that_was_labelled_before_may_need_none(sections):
    _write(sections)
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {f"detect@{LINE}": {}, f"embed@{LINE}": {}}}))
    look_for_weights(LINE)
