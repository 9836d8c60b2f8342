import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from lineact.errors import InputError
from lineact.files import sha256_of_tree
from lineact.foundation.yolov5 import build_yolov5, load_weights
from lineact.train_detector import check_detection_set, input_size, train_detector
from tests.training_sets import detector_params, write_detection_set, write_detector_start

ROOT = Path(__file__).parents[2]


@given(st.lists(st.tuples(st.integers(16, 4000), st.integers(16, 4000)), min_size=1, max_size=4), st.integers(1, 20))
def test_the_input_holds_every_image_and_no_more(sizes_wh, cells):
    long_side_px = 32 * cells
    width, height = input_size(set(sizes_wh), long_side_px)
    assert width % 32 == height % 32 == 0
    assert max(width, height) == long_side_px
    for w, h in sizes_wh:
        scale = long_side_px / max(w, h)
        assert w * scale <= width + 0.01
        assert h * scale <= height + 0.01
    for side, index in ((width, 0), (height, 1)):
        needed = max(size[index] * long_side_px / max(size) for size in sizes_wh)
        assert side - needed < 32


def test_the_demo_size():
    assert input_size({(640, 360)}, 320) == (320, 192)


@pytest.fixture(scope="module")
def detection(tmp_path_factory):
    return write_detection_set(tmp_path_factory.mktemp("set") / "detection")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return write_detector_start(tmp_path_factory.mktemp("start") / "yolov5")


def test_a_training_leaves_what_the_next_stages_need(detection, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sha256_of_tree(detection)
    train_detector(detector_params(), detection, start, tmp_path / "out")
    assert sha256_of_tree(detection) == before  # no label caches in an earlier stage's folder
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["train_images"] == 10
    assert metrics["val_images"] == 4
    assert (metrics["input_width_px"], metrics["input_height_px"]) == (64, 64)
    assert 0 <= metrics["val_map50"] <= 1
    model = build_yolov5(tmp_path / "out/detector.yaml")
    load_weights(model, tmp_path / "out/detector.safetensors")
    weights = load_file(tmp_path / "out/detector.safetensors")
    assert {str(value.dtype) for value in weights.values()} == {"torch.float32", "torch.int64"}
    with (tmp_path / "out/plots/curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    for name in ("curves.png", "precision_recall.png", "precision_recall.csv"):
        assert (tmp_path / "out/plots" / name).stat().st_size > 0


def test_stopped_and_started_again_gives_the_same_weights(detection, start, tmp_path, monkeypatch):
    """Stopped by an error right before the third epoch; kill -9 itself is the slow test below."""
    from lineact.training.yolo.trainer import HandTrainer

    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    train_detector(detector_params(), detection, start, tmp_path / "whole/out")

    monkeypatch.chdir(tmp_path / "stopped")
    begin = HandTrainer._model_train

    def stop(trainer):
        if trainer.epoch == 2:
            raise KeyboardInterrupt
        begin(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(HandTrainer, "_model_train", stop)
        with pytest.raises(KeyboardInterrupt):
            train_detector(detector_params(), detection, start, tmp_path / "stopped/out")
    assert not (tmp_path / "stopped/out").exists()
    train_detector(detector_params(), detection, start, tmp_path / "stopped/out")
    for name in ("detector.safetensors", "metrics.json"):
        assert (tmp_path / "whole/out" / name).read_bytes() == (tmp_path / "stopped/out" / name).read_bytes()

    monkeypatch.setattr("lineact.training.yolo.trainer.HandTrainer", None)  # a third run trains nothing
    train_detector(detector_params(), detection, start, tmp_path / "stopped/out")


def test_bad_sets_are_refused_by_name(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def broken(name):
        return write_detection_set(tmp_path / name)

    folder = broken("corrupt")
    (folder / "images/train/003.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError, match=r"images/train/003\.png: expected an image"):
        train_detector(detector_params(), folder, start, tmp_path / "out")

    folder = broken("no-boxes")
    for path in (folder / "labels/train").glob("*.txt"):
        path.write_text("")
    with pytest.raises(InputError, match="expected boxes on at least one of 10 training images"):
        check_detection_set(folder)

    folder = broken("no-images")
    for path in (folder / "images/val").glob("*"):
        path.unlink()
    with pytest.raises(InputError, match="images/val: expected validation images, found none"):
        check_detection_set(folder)

    folder = broken("no-label")
    (folder / "labels/train/002.txt").unlink()
    with pytest.raises(InputError, match=r"labels/train/002\.txt: expected labels"):
        check_detection_set(folder)

    folder = broken("bad-label")
    (folder / "labels/val/001.txt").write_text("0 0.5 0.5 0.1 0.1\n0 1.5 0.5 0.1 0.1\n")
    with pytest.raises(InputError, match=r"001\.txt, line 2"):
        check_detection_set(folder)

    with pytest.raises(InputError, match=r"data\.yaml: expected a YOLO data set"):
        check_detection_set(tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_missing_weights_are_one_clear_error(detection, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = detector_params(foundation="hub", hub_model=str(tmp_path / "yolov5nu.pt"))
    monkeypatch.setattr("ultralytics.utils.downloads.attempt_download_asset", lambda path: path)
    with pytest.raises(InputError, match="foundation: tiny"):
        train_detector(params, detection, tmp_path, tmp_path / "out")


@pytest.mark.slow
def test_killed_with_sigkill_and_started_again_gives_the_same_weights(detection, start, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "from pathlib import Path; from tests.training_sets import *\n"
        "from lineact.train_detector import train_detector\n"
        f"train_detector(detector_params(epochs=6), Path({str(detection)!r}), Path({str(start)!r}), Path('out'))"
    )
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(home)}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    subprocess.run(command, cwd=tmp_path / "whole", env=environment, check=True, capture_output=True)
    process = subprocess.Popen(command, cwd=tmp_path / "killed", env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("epoch 2 "):
            break
    time.sleep(0.2)  # somewhere within the next epochs
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(
        command, cwd=tmp_path / "killed", env=environment, check=True, capture_output=True, text=True
    )
    assert "goes on after epoch" in again.stdout
    for name in ("detector.safetensors", "metrics.json"):
        assert (tmp_path / "whole/out" / name).read_bytes() == (tmp_path / "killed/out" / name).read_bytes()
    assert not [path for path in home.rglob("*") if "ltralytics" in path.name]  # nothing of its settings at home
