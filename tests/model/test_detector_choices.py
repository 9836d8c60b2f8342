"""Sizes, frozen stages, rectangular input and variation of the line's detector."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from lineact import train_detector as stage
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file
from lineact.foundation import build, judge
from lineact.foundation.pickled import convert
from lineact.foundation.tiny import YOLOV5_SIZES, yolov5_description
from lineact.foundation.yolov5 import STAGE_ENDS, build_yolov5, load_yolov5, size_of
from lineact.train_detector import embedded_start, train_detector
from lineact.training.yolo.trainer import HandTrainer, load_start
from tasks.configure import compose_line
from tests.training_sets import detector_params, write_detection_set, write_detector_start

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "models/foundation/tiny/yolov5"
NO_VARIATION = dict.fromkeys(("shift", "scale", "hue", "saturation", "brightness", "flip"), 0.0)


@pytest.fixture(scope="module")
def detection(tmp_path_factory):
    return write_detection_set(tmp_path_factory.mktemp("set") / "detection")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return write_detector_start(tmp_path_factory.mktemp("start") / "yolov5")


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder to train in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_checkpoint(path: Path, description: dict) -> Path:
    """The folder made of a .pt file as ultralytics writes it, of a detector with random weights."""
    yaml_path = path.with_suffix(".yaml")
    yaml_path.write_text(yaml.safe_dump(description))
    model = build_yolov5(yaml_path)
    if "depth_multiple" in description:
        vars(model)["yaml"].pop("scale")  # as before sizes had names
    torch.save({"model": model.half(), "train_args": {}}, path)
    return convert(path, path.with_suffix(""), sha256_of_file(path))


def test_a_larger_size_starts_from_its_own_embedded_weights(detection, workplace, monkeypatch):
    monkeypatch.setattr(stage, "MADE", workplace / "made")
    params = detector_params(size="s", epochs=1)
    with pytest.raises(ConfigError, match=r"size: s: expected its embedded start in .*made/yolov5s.*only=yolov5s"):
        train_detector(params, detection, COMMITTED, workplace / "out")
    write_detector_start(workplace / "made/yolov5s", size="s")
    train_detector(params, detection, COMMITTED, workplace / "out")
    trained = yaml.safe_load((workplace / "out/detector.yaml").read_text())
    assert (trained["scale"], trained["scales"]) == ("s", {"s": [0.33, 0.25, 1024]})
    parameters = json.loads((workplace / "out/metrics.json").read_text())["parameters"]
    assert parameters > 2 * sum(value.numel() for value in load_yolov5(COMMITTED).parameters())


def test_what_makes_a_larger_start_writes_what_training_takes(workplace, monkeypatch):
    """Two steps on three pictures in place of the corpus."""
    scenes = write_detection_set(workplace / "scenes", train_count=3)
    corpus = workplace / "corpus"
    (corpus / "images").mkdir(parents=True)
    for path in (scenes / "images/train").glob("*.png"):
        picture = cv2.imread(str(path))
        assert picture is not None
        cv2.imwrite(str(corpus / f"images/{path.stem}.jpg"), cv2.copyMakeBorder(picture, 12, 12, 0, 0, 0))
    shutil.copytree(scenes / "labels/train", corpus / "labels")
    monkeypatch.setattr(build, "scene_corpus", lambda *_: corpus)
    monkeypatch.setattr(judge, "line_frames", lambda *_: judge.LineFrames([], [], [], []))
    monkeypatch.setattr(stage, "MADE", workplace / "made")
    for name, size in build.LARGER_YOLOV5.items():
        build.build_yolov5(workplace / "made" / name, build.DetectorRun(2, 1, 2, 1e-3, 0), size)
        folder = embedded_start(size, COMMITTED)
        assert vars(load_start(str(folder), size))["yaml"]["scales"] == {size: [*YOLOV5_SIZES[size], 1024]}
        assert f"only={name}`" in (folder / "README.md").read_text()


@pytest.mark.parametrize("size", ["n", "s", "m"])
def test_a_start_knows_its_size(size, tmp_path):
    folder = write_detector_start(tmp_path / "start", size=size)
    assert size_of(load_start(str(folder), size)) == size
    other = "m" if size == "n" else "n"
    with pytest.raises(InputError, match=rf"size {other} \(train_detector\.size\), found one of size {size}"):
        load_start(str(folder), other)


def test_a_checkpoint_of_another_size_is_refused(detection, workplace):
    path = write_checkpoint(workplace / "yolov5su.pt", yolov5_description("s"))
    params = detector_params(foundation="hub", hub_model=str(path))
    with pytest.raises(InputError, match=r"yolov5su': expected a YOLOv5 of size n .*, found one of size s; .*5nu"):
        train_detector(params, detection, COMMITTED, workplace / "out")
    assert not (workplace / "out").exists()
    assert size_of(load_start(str(path), "s")) == "s"


@pytest.mark.parametrize(
    ("width", "found"), [(0.25, "n"), (0.5, "s"), (0.125, r"unknown \(8 channels in its first layer\)")]
)
def test_an_older_checkpoint_shows_its_size_by_its_stem(width, found, tmp_path):
    description = {name: value for name, value in yolov5_description().items() if name not in ("scale", "scales")}
    sizes = {"depth_multiple": 0.33, "width_multiple": width}
    path = write_checkpoint(tmp_path / "yolov5.pt", description | sizes)
    with pytest.raises(InputError, match=f"found one of size {found};"):
        load_start(str(path), "m")


def test_the_full_size_start_follows_the_size(tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    path = tmp_path / "conf/line/demo.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["train_detector"] |= {"size": "m", "frozen_stages": 5}
    path.write_text("# @package _global_\n" + yaml.safe_dump(settings, sort_keys=False))
    assert compose_line(tmp_path / "conf", "demo")["train_detector"]["hub_model"] == "yolov5mu.pt"


@pytest.mark.parametrize("changes", [{"frozen_stages": 6}, {"frozen_stages": -1}])
def test_stages_that_are_not_there_are_refused(changes):
    with pytest.raises(ValueError, match="frozen_stages must be 0 to 5"):
        detector_params(**changes)


def test_a_stage_begins_where_the_picture_shrinks():
    backbone = yolov5_description()["backbone"]
    shrinking = [
        layer for layer, (_, _, kind, arguments) in enumerate(backbone) if kind == "Conv" and arguments[2] == 2
    ]
    assert (*shrinking, len(backbone)) == STAGE_ENDS


@pytest.mark.parametrize("frozen_stages", [0, 2, 5])
def test_frozen_stages_and_no_others_stay_as_they_are(frozen_stages, detection, start, workplace):
    train_detector(detector_params(frozen_stages=frozen_stages), detection, start, workplace / "out")
    before, after = load_yolov5(start).state_dict(), load_file(workplace / "out/detector.safetensors")
    assert set(before) == set(after)
    stay = {name for name in before if torch.equal(before[name], after[name])}
    frozen = {name for name in before if int(name.split(".")[1]) < STAGE_ENDS[frozen_stages]}
    assert frozen <= stay
    # Averages count no batches, what turns a distribution into an edge is fixed, and no disc is so large that the
    # coarsest grid learned its box.
    others = ("num_batches_tracked", ".dfl.", ".cv2.2.")
    assert not [name for name in stay - frozen if not any(part in name for part in others)]


def batches_of(monkeypatch, params, detection, start, out):
    """The pictures and boxes that a training sees: file's stem to (uint8, H x W x 3, BGR; float, T x 4, shares)."""
    seen = []
    prepare = HandTrainer.preprocess_batch

    def keep(trainer, batch):
        pictures = batch["img"].permute(0, 2, 3, 1).numpy()[..., ::-1].copy()
        for index, path in enumerate(batch["im_file"]):
            own = batch["bboxes"][batch["batch_idx"] == index].numpy()
            seen.append((Path(path).stem, pictures[index], own))
        return prepare(trainer, batch)

    monkeypatch.setattr(HandTrainer, "preprocess_batch", keep)
    train_detector(params, detection, start, out)
    return seen


def labels_of(detection, stem):
    numbers = (detection / f"labels/train/{stem}.txt").read_text().split()
    return np.array(numbers, np.float64).reshape(-1, 5)[:, 1:]


def turned(detection, folder):
    """The same set with the camera on its side."""
    shutil.copytree(detection, folder)
    for path in folder.glob("images/*/*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path)).transpose(1, 0, 2))  # type: ignore[union-attr]
    for path in folder.glob("labels/*/*.txt"):
        fields = path.read_text().split()
        path.write_text(" ".join([fields[0], fields[2], fields[1], fields[4], fields[3]]) if fields else "")
    return folder


@pytest.mark.parametrize("upright", [False, True])
def test_training_sees_whole_pictures_on_the_cameras_rectangle(upright, detection, start, workplace, monkeypatch):
    """128 x 72 becomes 128 x 96, the next multiple of 32, not a square; without variation nothing else is changed."""
    source = turned(detection, workplace / "turned") if upright else detection
    params = detector_params(long_side_px=128, epochs=2, **NO_VARIATION)
    seen = batches_of(monkeypatch, params, source, start, workplace / "out")
    assert len(seen) == 2 * 10
    for stem, picture, boxes in seen:
        stored = cv2.imread(str(source / f"images/train/{stem}.png"))
        assert picture.shape == ((128, 96, 3) if upright else (96, 128, 3))
        inside = picture[:, 12:84] if upright else picture[12:84]
        assert (inside == stored).all()
        expected = labels_of(source, stem)
        along = [0, 2] if upright else [1, 3]  # the padded axis
        expected[:, along] = expected[:, along] * 72 / 96 + ([12 / 96, 0] if len(expected) else 0)
        assert boxes == pytest.approx(expected, abs=1e-3)
    trained = yaml.safe_load((workplace / "out/detector.yaml").read_text())
    assert trained["input_wh"] == ([96, 128] if upright else [128, 96])


def test_mirrored_pictures_have_mirrored_boxes(detection, start, workplace, monkeypatch):
    params = detector_params(long_side_px=128, epochs=1, **(NO_VARIATION | {"flip": 1.0}))
    for stem, picture, boxes in batches_of(monkeypatch, params, detection, start, workplace / "out"):
        stored = cv2.imread(str(detection / f"images/train/{stem}.png"))
        assert (picture[12:84, ::-1] == stored).all()
        assert boxes[:, 0] == pytest.approx(1 - labels_of(detection, stem)[:, 0], abs=1e-3)


def test_variation_moves_and_scales_and_never_turns(detection, start, workplace, monkeypatch):
    """A square stays one, at most as much larger or smaller and as far away as the settings say."""
    params = detector_params(long_side_px=128, epochs=3, **(NO_VARIATION | {"shift": 0.1, "scale": 0.2}))
    moved = 0.0
    for stem, _, boxes in batches_of(monkeypatch, params, detection, start, workplace / "out"):
        expected = labels_of(detection, stem)
        if len(boxes) and (boxes[:, :2] - boxes[:, 2:] / 2 > 0.01).all() and (boxes.sum(axis=1) < 2).all():
            width_px, height_px = boxes[0, 2] * 128, boxes[0, 3] * 96
            assert width_px == pytest.approx(height_px, abs=0.5)
            assert 0.79 <= width_px / (expected[0, 2] * 128) <= 1.21
            moved = max(moved, abs(boxes[0, 0] - expected[0, 0]))
    assert 0.02 < moved < 0.1 + 0.2 * 0.5
