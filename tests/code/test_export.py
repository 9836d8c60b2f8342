"""Export: parity with PyTorch, the same bytes twice, and inputs that must be refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import yaml

from lineact.bundle.manifest import read_manifest
from lineact.bundle.networks import Setup, open_network
from lineact.errors import InputError
from lineact.export.parity import Reference, differences
from lineact.files import sha256_of_tree
from tests.released_pair import EXPORT, INPUT_WH, LABELS, run_export, smooth_noise


@pytest.fixture
def inputs(released, tmp_path):
    for name in ("models", "data"):
        shutil.copytree(released / name, tmp_path / name)
    return tmp_path


def test_metrics_hold_the_parity_of_both_runtimes(released):
    metrics = json.loads((released / "export/metrics.json").read_text())
    for runtime in ("openvino", "onnxruntime"):
        assert 0 <= metrics[f"classifier_{runtime}_max_abs_diff"] <= EXPORT.logits_tolerance
        assert 0 <= metrics[f"detector_{runtime}_scores_max_abs_diff"] <= EXPORT.scores_tolerance
        assert 0 <= metrics[f"detector_{runtime}_boxes_max_abs_diff_px"] <= EXPORT.boxes_tolerance_px
    assert metrics["score_threshold"] == 0.6


def test_the_manifest_says_what_the_pair_is(released):
    manifest = read_manifest(released / "export/bundle")
    assert manifest.line == "press_a"
    assert manifest.classifier.labels == LABELS
    assert manifest.classifier.kind == "student"
    assert manifest.detector.input_wh == INPUT_WH
    assert {sample.action for sample in manifest.crops} == set(LABELS)
    on_disk = {
        path.relative_to(released / "export/bundle").as_posix() for path in (released / "export/bundle").rglob("*.*")
    }
    assert set(manifest.files) == on_disk - {"manifest.json"}


def test_the_same_input_gives_the_same_bytes(inputs, released):
    run_export(EXPORT, inputs, inputs / "export")
    assert sha256_of_tree(inputs / "export") == sha256_of_tree(released / "export")


def test_nothing_of_this_machine_is_inside(released):
    for path in (released / "export").rglob("*.*"):
        content = path.read_bytes()
        assert str(released).encode() not in content, path
        assert b"site-packages" not in content, path


def test_the_teacher_can_be_released(inputs, released):
    run_export(dataclasses.replace(EXPORT, classifier="teacher"), inputs, inputs / "export")
    manifest = read_manifest(inputs / "export/bundle")
    assert manifest.classifier.kind == "teacher"
    parameters = [
        json.loads((folder / "export/metrics.json").read_text())["classifier_parameters"]
        for folder in (inputs, released)
    ]
    assert parameters[0] > parameters[1]  # two blocks where the student has one


def test_other_weights_are_found_out(released):
    """The comparison must see a difference where there is one."""
    bundle = released / "export/bundle"
    rng = np.random.default_rng(0)
    crops = np.stack([smooth_noise(rng, (32, 32)) for _ in range(4)])
    frames = np.stack([smooth_noise(rng, INPUT_WH[::-1]) for _ in range(2)])
    logits = open_network(bundle, "classifier", Setup("openvino", "f32", 1))(crops)
    outputs = np.concatenate(
        [open_network(bundle, "detector", Setup("openvino", "f32", 1))(frame[None]) for frame in frames]
    )
    logits[2, 1] += 0.5
    outputs[1, 0, 7] += 3
    outputs[0, 4, 5] -= 0.25
    found = differences(bundle, Reference(crops, logits, frames, outputs))
    for runtime in ("openvino", "onnxruntime"):
        assert found[f"classifier_{runtime}_max_abs_diff"] == pytest.approx(0.5, abs=1e-3)
        assert found[f"detector_{runtime}_boxes_max_abs_diff_px"] == pytest.approx(3, abs=0.05)
        assert found[f"detector_{runtime}_scores_max_abs_diff"] == pytest.approx(0.25, abs=1e-3)


def test_too_great_a_difference_fails_and_leaves_no_bundle(inputs):
    with pytest.raises(InputError, match=r"classifier_\w+_max_abs_diff: expected at most 1e-12 .*logits_tolerance"):
        run_export(dataclasses.replace(EXPORT, logits_tolerance=1e-12), inputs, inputs / "export")
    assert not (inputs / "export/bundle").exists()
    assert not list((inputs / "export").iterdir())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("models/train_detector/detector.yaml", r"detector.yaml: expected a YOLOv5 model yaml, found nothing"),
        ("models/train_detector/detector.safetensors", r"detector.safetensors: expected safetensors"),
        ("models/distil/student.json", r"student.json: expected a classifier's description"),
        ("data/crops.parquet", r"crops.parquet: expected a table of an earlier stage"),
    ],
)
def test_a_missing_input_is_named(inputs, name, says):
    (inputs / name).unlink()
    with pytest.raises(InputError, match=says):
        run_export(EXPORT, inputs, inputs / "export")


def test_a_detector_without_its_input_size_is_refused(inputs):
    path = inputs / "models/train_detector/detector.yaml"
    values = yaml.safe_load(path.read_text())
    del values["input_wh"]
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"detector.yaml: expected input_wh and score_threshold"):
        run_export(EXPORT, inputs, inputs / "export")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"score_threshold": 0.0}, "score_threshold"),
        ({"nms_iou": 1.5}, "nms_iou"),
        ({"sample_crops": 7}, "sample_crops"),
        ({"logits_tolerance": 0.0}, "tolerances"),
        ({"max_hands": 0}, "max_hands"),
    ],
)
def test_settings_out_of_range_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(EXPORT, **change)
