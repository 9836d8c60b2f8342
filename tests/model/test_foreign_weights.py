"""A pickle from anywhere: refused where weights are read, converted only with its hash, and nothing in it is run."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lineact.detect.groundingdino_py import GroundingDinoPy, GroundingDinoPyParams
from lineact.errors import InputError
from lineact.files import sha256_of_file
from lineact.foundation.pickled import convert, main
from lineact.foundation.weights import read_safetensors
from lineact.foundation.yolov5 import build_yolov5, find_start
from lineact.temporal.features.extractors import open_network
from lineact.training.yolo.trainer import DetectionModel, load_start

TINY = Path(__file__).resolve().parents[2] / "models" / "foundation" / "tiny" / "yolov5" / "detector.yaml"


class Runs:
    """Unpickled, it makes a folder: what a crafted file could do as well is worse."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Writes a .pt file as ultralytics does."""
    monkeypatch.chdir(tmp_path)

    def write(**changes: object) -> Path:
        torch.manual_seed(0)
        model = build_yolov5(TINY)
        model.yaml |= changes.pop("yaml", {})  # type: ignore[operator]
        torch.save({"model": model.half(), "train_args": {}} | changes, tmp_path / "yolo.pt")
        return tmp_path / "yolo.pt"

    return write


def test_a_detector_is_converted_once_and_read_from_then_on(checkpoint, tmp_path, capsys):
    path = checkpoint()
    stored = torch.load(path, weights_only=False)["model"].float().state_dict()  # our own file
    main([str(path), str(tmp_path / "start"), "--sha256", sha256_of_file(path).upper()])
    assert capsys.readouterr().out.strip() == str(tmp_path / "start")
    assert {one.name for one in (tmp_path / "start").iterdir()} == {"detector.yaml", "model.safetensors", "source.json"}
    loaded = load_start(find_start(str(tmp_path / "start")), "n")
    assert isinstance(loaded, DetectionModel)
    assert vars(loaded)["yaml"]["nc"] == 1
    tensors = loaded.state_dict()
    same = [name for name in stored if tensors[name].shape == stored[name].shape]
    assert len(same) > 0.9 * len(stored)
    assert all(torch.equal(tensors[name], stored[name]) for name in same)
    with pytest.raises(InputError, match="start: exists already"):
        convert(path, tmp_path / "start", sha256_of_file(path))
    convert(path, tmp_path / "again", sha256_of_file(path))
    model = "model.safetensors"
    assert (tmp_path / "again" / model).read_bytes() == (tmp_path / "start" / model).read_bytes()


def test_tensors_by_name_are_converted(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    torch.save({"model": tensors | {"tied": tensors["a"]}}, tmp_path / "some.pth")
    made = convert(tmp_path / "some.pth", tmp_path / "some.safetensors", sha256_of_file(tmp_path / "some.pth"))
    found = read_safetensors(made)
    assert torch.equal(found["tied"], tensors["a"])
    assert set(found) == {"a", "b", "tied"}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pkl", ""])
def test_a_pickle_is_refused_wherever_weights_are_read_and_nothing_of_it_runs(suffix, tmp_path):
    mark, path = tmp_path / "it_ran", tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Runs(mark)))
    grounding = GroundingDinoPyParams(
        config=__file__, checkpoint=str(path), text_encoder=str(tmp_path), prompt=("hand",), **GROUNDING
    )
    for reads in (
        lambda: find_start(str(path)),
        lambda: open_network("i3d", str(path)),
        lambda: open_network("r3d_18", str(path)),
        lambda: GroundingDinoPy(grounding),
    ):
        with pytest.raises(InputError, match=rf"{path}: expected weights as \.safetensors, found .*--sha256 HEX"):
            reads()
    assert not mark.exists()


def test_a_pickle_by_another_name_is_no_safetensors(tmp_path):
    mark, path = tmp_path / "it_ran", tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Runs(mark)))
    with pytest.raises(InputError, match="expected safetensors, found something else"):
        open_network("i3d", str(path))
    assert not mark.exists()


GROUNDING: dict[str, Any] = {"text_threshold": 0.2, "score_floor": 0.0, "batch_size": 1}
CRAFTED = {
    "archive": lambda mark, _, write: write(hidden=Runs(mark)),
    "bare_pickle": lambda mark, path, _: path.write_bytes(pickle.dumps(Runs(mark), protocol=2)),
    "old_format": lambda mark, path, _: torch.save(Runs(mark), path, _use_new_zipfile_serialization=False),
    "architecture": lambda mark, _, write: write(yaml={"activation": f"__import__('os').mkdir({str(mark)!r})"}),
    "no_detector": lambda _, path, __: torch.save({"model": torch.nn.Linear(2, 2)}, path),
    "no_tensors": lambda _, path, __: torch.save({"epoch": 3}, path),
    "torn": lambda _, path, __: path.write_bytes(b"PK torn"),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_file_is_not_converted_and_nothing_of_it_runs(kind, checkpoint, tmp_path, capsys):
    mark, path = tmp_path / "it_ran", tmp_path / "yolo.pt"
    CRAFTED[kind](mark, path, checkpoint)
    with pytest.raises(SystemExit) as ended:
        main([str(path), str(tmp_path / "to.safetensors"), "--sha256", sha256_of_file(path)])
    assert ended.value.code == InputError.exit_code
    assert "yolo.pt" in capsys.readouterr().err
    assert not mark.exists()
    assert not (tmp_path / "to.safetensors").exists()


def test_another_file_than_the_one_whose_hash_is_known_is_not_converted(checkpoint, tmp_path):
    path, known = checkpoint(), "0" * 64
    with pytest.raises(InputError, match=rf"expected SHA-256 {known}, found {sha256_of_file(path)}"):
        convert(path, tmp_path / "to", known)
    with pytest.raises(InputError, match="expected a file with weights, found none"):
        convert(tmp_path / "none.pt", tmp_path / "to", known)
    assert not (tmp_path / "to").exists()


def test_a_folder_s_architecture_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "it_ran"
    shutil.copytree(TINY.parent, tmp_path / "start")
    described = yaml.safe_load(TINY.read_text()) | {"activation": f"__import__('os').mkdir({str(mark)!r})"}
    (tmp_path / "start" / "detector.yaml").write_text(yaml.safe_dump(described))
    with pytest.raises(InputError, match=r"detector\.yaml"):
        load_start(str(tmp_path / "start"), "n")
    assert not mark.exists()
