import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from lineact.errors import InputError
from lineact.files import sha256_of_file, sha256_of_tree
from lineact.foundation.tiny import yolov5_description
from lineact.foundation.yolov5 import build_yolov5, find_start, load_weights, load_yolov5, size_of
from lineact.train_detector import check_detection_set, input_size, train_detector
from lineact.training.yolo.trainer import load_start
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


@pytest.mark.parametrize("frozen_stages", [0, 3])
def test_stopped_and_started_again_gives_the_same_weights(frozen_stages, detection, start, tmp_path, monkeypatch):
    """Stopped by an error right before the third epoch; kill -9 itself is the slow test below."""
    from lineact.training.yolo.trainer import HandTrainer

    params = detector_params(frozen_stages=frozen_stages)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    train_detector(params, detection, start, tmp_path / "whole/out")

    monkeypatch.chdir(tmp_path / "stopped")
    begin = HandTrainer._model_train

    def stop(trainer):
        if trainer.epoch == 2:
            raise KeyboardInterrupt
        begin(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(HandTrainer, "_model_train", stop)
        with pytest.raises(KeyboardInterrupt):
            train_detector(params, detection, start, tmp_path / "stopped/out")
    assert not (tmp_path / "stopped/out").exists()
    train_detector(params, detection, start, tmp_path / "stopped/out")
    for name in ("detector.safetensors", "metrics.json"):
        assert (tmp_path / "whole/out" / name).read_bytes() == (tmp_path / "stopped/out" / name).read_bytes()

    monkeypatch.setattr("lineact.training.yolo.trainer.HandTrainer", None)  # a third run trains nothing
    train_detector(params, detection, start, tmp_path / "stopped/out")


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


def test_a_changed_start_is_another_start(tmp_path, monkeypatch):
    import lineact.training.state

    monkeypatch.chdir(tmp_path)
    folders = []
    monkeypatch.setattr(lineact.training.state, "finish_once", lambda folder, *_: folders.append(folder))
    detection, start = write_detection_set(tmp_path / "detection"), tmp_path / "yolov5nu"
    start.mkdir()
    params = detector_params(foundation="hub", hub_model=str(start))
    for content in (b"one", b"two", b"one"):
        (start / "model.safetensors").write_bytes(content)
        train_detector(params, detection, tmp_path, tmp_path / "out")
    assert folders[0] == folders[2] != folders[1]


def test_a_fetched_start_is_kept_as_safetensors_that_name_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "detector.yaml").write_text(yaml.safe_dump(yolov5_description()))
    model = build_yolov5(tmp_path / "detector.yaml")
    fetched: list[str] = []

    def fetch(path: Path) -> Path:  # ultralytics asks again when it reads a file that is there
        if not fetched:
            torch.save({"model": model.half(), "train_args": {}}, path)
            fetched.append(sha256_of_file(path))
        return path

    monkeypatch.setattr("ultralytics.utils.downloads.attempt_download_asset", fetch)
    folder = Path(find_start("yolov5nu.pt"))
    assert find_start("yolov5nu.pt") == str(folder)
    assert json.loads((folder / "source.json").read_text()) == {"file": "yolov5nu.pt", "sha256": fetched[0]}
    assert len(fetched) == 1
    assert size_of(load_start(str(folder), "n")) == "n"
    assert not list(tmp_path.rglob("*.pt"))


def test_a_fetched_file_that_is_no_checkpoint_is_one_clear_error(detection, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ultralytics.utils.downloads.attempt_download_asset", lambda path: path.write_bytes(b"none"))
    params = detector_params(foundation="hub", hub_model="yolov5nu.pt")
    with pytest.raises(InputError, match=r"yolov5nu\.pt': expected tensors by name, or a detector of ultralytics"):
        train_detector(params, detection, tmp_path, tmp_path / "out")


@pytest.mark.parametrize(("nms_iou", "max_hands", "kept"), [(0.5, 8, 2), (0.7, 8, 3), (0.5, 1, 1)])
def test_validation_finds_hands_as_the_release_does(detection, start, monkeypatch, nms_iou, max_hands, kept):
    """Three boxes, of which two overlap by 0.6, whatever the picture."""
    from lineact.training.yolo import result

    output = torch.tensor([[10.0, 10, 20, 20, 0.9], [12.5, 10, 22.5, 20, 0.8], [40, 30, 50, 40, 0.7]]).T[None]
    monkeypatch.setattr(result, "DetectorGraph", lambda _: lambda _: output)
    images = check_detection_set(detection)["val"]
    frames = result.predict(build_yolov5(start / "detector.yaml"), images, (64, 64), nms_iou, max_hands)
    assert [len(frame.scores) for frame in frames] == [kept] * len(images)
    assert frames[0].boxes_xyxy_px[0] == pytest.approx([20, 0, 40, 12])  # 128 x 72 in 64 x 64, 14 empty rows above


def test_validation_reads_the_true_boxes_in_the_images_pixels(detection, start):
    from lineact.training.yolo import result

    images = check_detection_set(detection)["val"]
    for path, frame in zip(images, result.predict(load_yolov5(start), images, (64, 64), 0.5, 8), strict=True):
        line = (detection / "labels/val" / f"{path.stem}.txt").read_text().split()[1:]
        x, y, width, height = (float(value) * side for value, side in zip(line, (128, 72, 128, 72), strict=True))
        expected = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        assert frame.truth_xyxy_px == pytest.approx(np.array(expected).reshape(-1, 4))


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
