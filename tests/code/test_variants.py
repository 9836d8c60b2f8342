"""Variants of the networks: accepted where they are right enough and worth it, rejected with the reason."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest

from lineact.bundle import load_bundle
from lineact.bundle.networks import Setup, at_hand, supported_precisions
from lineact.bundle.processing import read_png, rgb_of
from lineact.errors import ConfigError, InputError
from lineact.export import ExportParams
from lineact.files import sha256_of_tree
from lineact.schema import LABELLED_CROPS, read_table, write_table
from lineact.variants import Accuracy, Judged, Labelled, VariantLimits, accuracy_of, judge, write_variants
from tests.released_pair import EXPORT, run_export

LIMITS = VariantLimits(crops=100, frames=10, max_loss=0.01, max_call_p99_ms=10.0, max_frame_p95_ms=40.0)
PLAIN = Judged(Setup("openvino", "f32", 1), Accuracy(0.90, 0.80, 0.70), 5.0, 8.0, 9.0)


def variant(precision="int8", accuracy=PLAIN.accuracy, call_p99_ms=4.0, frame_p50_ms=6.0, frame_p95_ms=7.0):
    return Judged(Setup("openvino", precision, 1), accuracy, call_p99_ms, frame_p50_ms, frame_p95_ms)


@pytest.mark.parametrize(
    ("candidate", "reasons"),
    [
        (variant(), []),
        (variant(accuracy=Accuracy(0.891, 0.80, 0.70)), []),
        (variant(accuracy=Accuracy(0.88, 0.80, 0.70)), ["actions 0.880 beside 0.900 in f32, may lose 0.01"]),
        (variant(accuracy=Accuracy(0.9, 0.7, 0.6)), ["recall 0.700 beside 0.800", "boxes 0.600 beside 0.700"]),
        (variant(accuracy=Accuracy(float("nan"), 0.8, 0.7)), ["actions nan"]),
        (variant(frame_p50_ms=8.0), ["no faster: a frame takes 8.00 ms, 8.00 in f32"]),
        (variant(call_p99_ms=10.1), ["a call's p99 is 10.10 ms, needed at most 10"]),
        (variant(frame_p95_ms=41.0), ["a frame's p95 is 41.00 ms, needed at most 40"]),
        (PLAIN._replace(call_p99_ms=11.0), ["a call's p99 is 11.00 ms"]),
    ],
)
def test_a_variant_is_accepted_or_rejected_with_all_reasons(candidate, reasons):
    plain = [] if candidate.setup == PLAIN.setup else [PLAIN]
    found = judge([*plain, candidate], LIMITS)[-1].reasons
    assert len(found) == len(reasons)
    for said, expected in zip(found, reasons, strict=True):
        assert said.startswith(expected)


def test_a_variant_is_held_against_its_own_runtime_and_threads():
    other = PLAIN._replace(setup=Setup("onnxruntime", "f32", 2), frame_p50_ms=20.0, accuracy=Accuracy(0.5, 0.5, 0.5))
    assert judge([other, PLAIN, variant(frame_p50_ms=15.0)], LIMITS)[2].reasons  # 15 ms are slower than its own 8
    assert not judge([other, PLAIN, variant()], LIMITS)[0].reasons


def test_the_table_names_what_was_rejected_and_what_is_missing(tmp_path):
    judged = judge([PLAIN, variant(call_p99_ms=11.0)], LIMITS)
    write_variants(tmp_path / "variants.csv", judged, [("tensorrt_f32", "no GPU")])
    with (tmp_path / "variants.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["variant"], row["accepted"]) for row in rows] == [
        ("openvino_f32_1t", "yes"), ("openvino_int8_1t", "no"), ("tensorrt_f32", "no")
    ]  # fmt: skip
    assert [row["why_not"] for row in rows] == ["", "a call's p99 is 11.00 ms, needed at most 10", "no GPU"]
    assert rows[0]["actions"] == "0.9000"
    assert rows[2]["actions"] == ""


def test_accuracy_is_of_the_validation_data(released, tmp_path):
    pair = load_bundle(released / "export/bundle")
    table = read_table(released / "data/crops.parquet", LABELLED_CROPS)
    rows = table.to_pylist()
    for row in rows:
        crop_rgb = rgb_of(row["crop_png"], "crops")
        said = pair.labels[int(pair.logits(crop_rgb[None]).argmax())]
        row["action"] = said if row["split"] == "val" else next(name for name in pair.labels if name != said)
    write_table(table.from_pylist(rows, table.schema), tmp_path / "crops.parquet", LABELLED_CROPS)
    shutil.copytree(released / "data/detection", tmp_path / "detection")
    labels = sorted((tmp_path / "detection/labels/val").glob("*.txt"))
    for path in labels:  # the truth is what the detector finds
        image_rgb = read_png(tmp_path / f"detection/images/val/{path.stem}.png")
        boxes_xyxy_px, _ = pair.detect(image_rgb)
        height, width = image_rgb.shape[:2]
        shares = boxes_xyxy_px / np.array([width, height] * 2)
        centres, sizes = (shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]
        path.write_text("".join(f"0 {c[0]} {c[1]} {s[0]} {s[1]}\n" for c, s in zip(centres, sizes, strict=True)))
    labelled = Labelled(tmp_path / "crops.parquet", tmp_path / "detection")
    assert accuracy_of(pair, labelled, LIMITS) == (1.0, 1.0, 1.0)
    labels[0].write_text("0 0.01 0.01 0.001 0.001\n")  # a hand that nobody finds
    worse = accuracy_of(pair, labelled, LIMITS)
    assert worse.actions == 1.0
    assert worse.recall < 1
    assert worse.boxes < 1


@pytest.fixture(scope="module")
def quantised(released, tmp_path_factory):
    """The released pair, exported with int8 networks."""
    folder = tmp_path_factory.mktemp("quantised")
    for name in ("models", "data"):
        shutil.copytree(released / name, folder / name)
    for kind in ("images", "labels"):
        shutil.copytree(folder / f"data/detection/{kind}/val", folder / f"data/detection/{kind}/train")
    run_export(with_int8(EXPORT), folder, folder / "export")
    return folder


def with_int8(params: ExportParams) -> ExportParams:
    return dataclasses.replace(params, calibration_crops=6, calibration_frames=3)


def test_int8_networks_are_released_beside_the_others_and_answer_nearly_alike(quantised, released):
    bundle = quantised / "export/bundle"
    setup = Setup("openvino", "int8", 1)
    pair = load_bundle(bundle, setup)
    assert (bundle / "detector.int8.bin").stat().st_size < (bundle / "detector.bin").stat().st_size / 2
    assert 0 < pair.logits_difference() < 1.0
    assert pair.scores_difference() < 0.5  # of a network with random weights, whose scores all lie at the threshold
    with pytest.raises(ConfigError, match="expected int8 networks, found none"):
        load_bundle(released / "export/bundle", setup)


def test_an_altered_int8_network_is_refused(quantised, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(quantised / "export/bundle", copy)
    content = bytearray((copy / "classifier.int8.bin").read_bytes())
    content[0] ^= 1
    (copy / "classifier.int8.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"classifier.int8.bin: expected SHA-256"):
        load_bundle(copy)


def test_the_same_calibration_gives_the_same_bytes(quantised, tmp_path):
    run_export(with_int8(EXPORT), quantised, tmp_path / "again")
    assert sha256_of_tree(tmp_path / "again/bundle") == sha256_of_tree(quantised / "export/bundle")


def test_calibration_without_training_data_is_told(released, tmp_path):
    with pytest.raises(InputError, match="expected training crops and images to calibrate int8 on, found 6 and 0"):
        run_export(with_int8(EXPORT), released, tmp_path / "export")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"calibration_crops": 5}, "both be 0, or neither"),
        ({"calibration_crops": -1}, "at least 0"),
        ({"setup": Setup("openvino", "int8", 1)}, "int8 needs calibration_crops"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(EXPORT, **change)


def test_a_machine_without_the_precision_runs_f32(monkeypatch):
    wanted = Setup("openvino", "bf16", 2)
    monkeypatch.setattr("lineact.bundle.networks.supported_precisions", lambda _: ("f32",))
    assert at_hand(wanted) == Setup("openvino", "f32", 2)
    monkeypatch.setattr("lineact.bundle.networks.supported_precisions", lambda _: ("f32", "bf16"))
    assert at_hand(wanted) == wanted
    monkeypatch.setattr(
        "lineact.bundle.networks.supported_precisions", lambda runtime: () if runtime == "tensorrt" else ("f32",)
    )
    assert at_hand(Setup("tensorrt", "f16", 1)) == Setup("openvino", "f32", 1)


def test_tensorrt_is_only_there_with_its_runtime():
    import onnxruntime

    there = "TensorrtExecutionProvider" in onnxruntime.get_available_providers()
    assert supported_precisions("tensorrt") == (("f32", "f16") if there else ())
