"""A .pt file from anywhere: a detector is read, and nothing in the file is run."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from lineact.errors import InputError
from lineact.foundation.yolov5 import build_yolov5
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


def test_a_detector_is_read(checkpoint):
    path = checkpoint()
    stored = torch.load(path, weights_only=False)["model"].float().state_dict()  # our own file
    loaded = load_start(str(path), "n")
    assert isinstance(loaded, DetectionModel)
    assert vars(loaded)["yaml"]["nc"] == 1
    tensors = loaded.state_dict()
    same = [name for name in stored if tensors[name].shape == stored[name].shape]
    assert len(same) > 0.9 * len(stored)
    assert all(torch.equal(tensors[name], stored[name]) for name in same)


CRAFTED = {
    "archive": lambda mark, _, write: write(hidden=Runs(mark)),
    "bare_pickle": lambda mark, path, _: path.write_bytes(pickle.dumps(Runs(mark), protocol=2)),
    "old_format": lambda mark, path, _: torch.save(Runs(mark), path, _use_new_zipfile_serialization=False),
    "architecture": lambda mark, _, write: write(yaml={"activation": f"__import__('os').mkdir({str(mark)!r})"}),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_file_is_refused_and_nothing_of_it_runs(kind, checkpoint, tmp_path):
    mark, path = tmp_path / "it_ran", tmp_path / "yolo.pt"
    CRAFTED[kind](mark, path, checkpoint)
    with pytest.raises(
        InputError, match=r"yolo\.pt': expected a \.pt file of ultralytics.*ways out: name another file"
    ):
        load_start(str(path), "n")
    assert not mark.exists()


def test_a_network_that_is_no_detector_is_refused(tmp_path):
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "yolo.pt")
    with pytest.raises(InputError, match=r"expected a \.pt file of ultralytics"):
        load_start(str(tmp_path / "yolo.pt"), "n")
