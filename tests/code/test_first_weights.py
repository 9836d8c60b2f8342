"""Missing or foreign weights are told before a line's recordings are decoded for the first time."""

import json
from pathlib import Path

import pytest
import yaml

from flows.dvc_stage import StageError
from flows.first_weights import load_weights, look_for_weights
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
    return {"hub_cache": "hub", "detect": detect, "embed": embed, "compute": settings["compute"]}


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
        load_weights(LINE)


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
        load_weights(LINE)


def test_usable_weights_pass(sections, tmp_path):
    sections["detect"]["grounding_dino"]["weights"] = str(write_hub_model(tmp_path / "detector"))
    sections["embed"]["hub_model"] = str(_tower(tmp_path / "tower"))
    _write(sections)
    load_weights(LINE)


def _changed(folder: Path, **settings: object) -> str:
    """The same weights under another config.json."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    return str(folder)


@pytest.mark.parametrize(
    ("detector", "tower", "found"),
    [
        ({"d_model": 64}, {}, r"/detector: expected the weights that its config.json describes, found others"),
        ({}, {"hidden_size": 64}, r"/tower: weights do not fit the architecture in its config \(size mismatch for"),
    ],
)
def test_weights_of_another_size_than_their_configuration_tells_are_refused(sections, tmp_path, detector, tower, found):
    weights = _changed(write_hub_model(tmp_path / "detector"), **detector)
    sections["detect"]["grounding_dino"]["weights"] = weights
    sections["embed"]["hub_model"] = _changed(_tower(tmp_path / "tower"), **tower)
    _write(sections)
    with pytest.raises(InputError, match=found):
        load_weights(LINE)


def test_a_prompt_of_too_many_tokens_is_refused(sections, tmp_path):
    longest = json.loads((write_hub_model(tmp_path / "detector") / "config.json").read_text())["max_text_len"]
    sections["detect"]["grounding_dino"] |= {"weights": str(tmp_path / "detector"), "prompt": ["hand"] * longest}
    sections["embed"]["hub_model"] = str(_tower(tmp_path / "tower"))
    _write(sections)
    with pytest.raises(InputError, match=rf"grounding_dino\.prompt: expected at most {longest} tokens"):
        load_weights(LINE)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("detect", "filters", {}), id="another rule"),
        pytest.param(("embed", "batch_size", 1), id="other batches"),
    ],
)
def test_a_line_that_was_labelled_with_the_same_networks_may_need_none(sections, change):
    _write(sections)
    _lock(sections)
    stage, name, value = change
    _write(sections | {stage: sections[stage] | {name: value}})
    look_for_weights(LINE, _refuse)


@pytest.mark.parametrize(
    "change",
    [("detect", "grounding_dino", {"prompt": ["glove"]}), ("embed", "hub_model", "some/other"), ("embed", None, None)],
)
def test_other_networks_are_looked_for_in_a_process_of_their_own(sections, change, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _lock(sections)
    stage, name, value = change
    if name is None:
        Path("dvc.lock").unlink()
    elif isinstance(value, dict):
        sections[stage][name] |= value
    else:
        sections[stage][name] = value
    _write(sections)
    said: list[str] = []
    with pytest.raises(StageError, match=r"^Grounding DINO weights 'some/detector'(.|\n)*detector: motion") as caught:
        look_for_weights(LINE, said.append)
    assert caught.value.exit_code == InputError.exit_code
    assert any("some/detector" in line for line in said)


def _refuse(line: str) -> None:
    raise AssertionError(f"a process was started, which said {line!r}")


def _lock(sections: dict) -> None:
    """What dvc.lock holds after the line was labelled with these settings."""
    stages = {
        f"{stage}@{LINE}": {
            "params": {"params.yaml": {f"lines.{LINE}.{stage}": json.loads(json.dumps(sections[stage]))}}
        }
        for stage in ("detect", "embed")
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))


def test_a_lock_that_lacks_a_setting_is_of_other_networks(sections, monkeypatch):
    _write(sections)
    _lock(sections | {"embed": {"foundation": "tiny"}})
    asked: list[str] = []

    def run_child(module: str, *_: object) -> tuple[int, list[str]]:
        asked.append(module)
        return 0, []

    monkeypatch.setattr("flows.first_weights.run_child", run_child)
    look_for_weights(LINE, _refuse)
    assert asked == ["flows.first_weights"]


def test_a_cluster_has_the_weights_on_its_workers(sections, tmp_path, monkeypatch):
    def load(*_: object) -> None:
        raise AssertionError("loaded by the process that coordinates")

    monkeypatch.setattr("flows.first_weights.load_blip2_vision", load)
    monkeypatch.setattr("lineact.detect.grounding_dino.GroundingDino.load", load)
    dask = yaml.safe_load((ROOT / "conf" / "compute" / "dask.yaml").read_text())["compute"]
    sections["detect"]["grounding_dino"]["weights"] = _configured(tmp_path / "detector", "grounding-dino")
    sections["embed"]["hub_model"] = _configured(tmp_path / "tower", "blip-2")
    _write(sections | {"compute": dask})
    load_weights(LINE)
    sections["embed"]["hub_model"] = _configured(tmp_path / "other", "clip")
    _write(sections | {"compute": dask})
    with pytest.raises(InputError, match="expected the weights of a blip-2, found 'clip'"):
        load_weights(LINE)
