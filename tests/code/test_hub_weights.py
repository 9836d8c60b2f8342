"""Weights by a hub name and a pinned commit, as a line's settings name them, from a cache that a download left."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
from lineact.foundation import tiny
from tests.hub_server import serve_hub
from tests.tiny_grounding_dino import write_hub_model

COMMIT, OTHER_COMMIT = "a" * 40, "b" * 40
NAME = "plant/hands"
ASK = """
import json, sys
from tasks.stage import prepare_hub
prepare_hub("weights")  # hub_cache of conf/config.yaml
import numpy as np
from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
backend = GroundingDino(GroundingDinoParams(("hand",), 0.2, 0.0, 1, sys.argv[1], sys.argv[2], "float32", "torch"))
(found,) = backend.detect_images([np.zeros((48, 64, 3), np.uint8)])
print(json.dumps({"weights": backend.key["weights"], "boxes": len(found.scores)}))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A folder in which `weights` is laid out as huggingface_hub leaves a fetched model."""
    folder = tmp_path_factory.mktemp("cache")
    write_hub_model(folder / "weights" / "models--plant--hands" / "snapshots" / COMMIT)
    return folder


def asked(cache: Path, commit: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, for huggingface_hub reads its settings at its import; it reaches no network."""
    environment = {"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), "HF_HUB_OFFLINE": "1", "HOME": str(cache)}
    command = [sys.executable, "-c", ASK, NAME, commit]
    return subprocess.run(command, cwd=cache, env=environment, capture_output=True, text=True, check=False)


def test_a_pinned_commit_is_taken_from_the_cache_that_the_settings_name(cache):
    done = asked(cache, COMMIT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"weights": COMMIT, "boxes": 10}


def test_another_commit_is_not_taken_for_it(cache):
    done = asked(cache, OTHER_COMMIT)
    assert done.returncode != 0
    assert f"'{NAME}' (revision {OTHER_COMMIT})" in done.stderr
    assert "local folder" in done.stderr
    assert "detector: motion" in done.stderr


EMBED = """
import sys
from tasks.stage import prepare_hub
prepare_hub("weights")
import numpy as np
from lineact.embed import EmbedParams, open_encoder
encoder = open_encoder(EmbedParams("hub", sys.argv[1], sys.argv[2], 1.5, 64, 1, 1), None)
print(encoder.key["weights"], encoder.forward(np.zeros((1, 64, 64, 3), np.uint8)).shape)
"""


@pytest.mark.parametrize(("code", "name"), [(ASK, NAME), (EMBED, "plant/tower")])
def test_weights_are_fetched_once_with_progress_and_serve_without_a_network(code, name, tmp_path):
    models = {NAME: write_hub_model(tmp_path / "detector"), "plant/tower": tmp_path / "tower"}
    tiny.save_blip2_vision(tiny.blip2_vision(), models["plant/tower"], "card")
    environment = {"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(tmp_path)}

    def ask(url: str, commit: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, name, commit]
        return subprocess.run(
            command, cwd=tmp_path, env=environment | {"HF_ENDPOINT": url}, capture_output=True, text=True, timeout=400
        )

    with serve_hub(models, COMMIT) as hub:
        first = ask(hub.url, COMMIT)
        assert first.returncode == 0, first.stderr
        assert COMMIT in first.stdout
        assert hub.fetched.count(f"{name}/model.safetensors") == 1
        assert len(set(hub.fetched)) == len(hub.fetched)
        assert "model.safetensors: 100%" in first.stderr
        other = ask(hub.url, OTHER_COMMIT)
        assert other.returncode != 0
        assert "the hub knows no such revision of it" in other.stderr
    again = ask(hub.url, COMMIT)  # nobody answers there any more
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert "Retrying" not in again.stderr
    assert [path.name for path in (tmp_path / "weights").glob("models--*")] == [f"models--{name.replace('/', '--')}"]


@pytest.mark.parametrize(
    "change", [{"prompt": ("glove",)}, {"text_threshold": 0.3}, {"score_floor": 0.1}, {"weights": "other"}, "pictures"]
)
def test_shards_have_a_key_of_all_that_the_boxes_depend_on(tmp_path, change):
    first = write_hub_model(tmp_path / "first")
    params = GroundingDinoParams(("hand",), 0.2, 0.0, 8, str(first), "main", "float32", "torch")
    before = GroundingDino(params).key
    if change == "pictures":  # are prepared otherwise
        (prepared,) = (path for path in first.glob("*.json") if '"do_resize": true' in path.read_text())
        prepared.write_text(prepared.read_text().replace('"do_resize": true', '"do_resize": false'))
    elif "weights" in change:
        shutil.copytree(first, tmp_path / "other")
        (tmp_path / "other" / "model.safetensors").write_bytes(b"others")
        params = replace(params, weights=str(tmp_path / "other"))
    else:
        params = replace(params, **change)
    assert GroundingDino(params).key != before
    assert GroundingDino(replace(params, batch_size=1)).key == GroundingDino(params).key
