"""The released pair on a frame: geometry, suppression, and bundles that must be refused."""

import dataclasses
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.boxes import crop_square, iou_matrix
from lineact.bundle import load_bundle
from lineact.bundle.manifest import NETWORK_FILES, EventSettings
from lineact.bundle.networks import Setup
from lineact.bundle.processing import fit_into, read_png, scale_crop, select_boxes
from lineact.bundle.work import WorkSettings, WorkStep
from lineact.errors import ConfigError, InputError
from lineact.schema import LABELLED_CROPS, read_table
from tests.released_pair import CROP_SIDE_PX, EXPORT, INPUT_WH, LABELS, smooth_noise


@pytest.fixture(scope="module")
def bundle(released):
    return released / "export/bundle"


@pytest.fixture(scope="module")
def pair(bundle):
    return load_bundle(bundle)


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "bundle")


@given(
    width=st.integers(8, 400),
    height=st.integers(8, 400),
    input_wh=st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda sides: (sides[0] * 32, sides[1] * 32)),
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_a_box_comes_back_to_where_it_was_in_the_frame(width, height, input_wh, corners):
    fitted, placement = fit_into(np.zeros((height, width, 3), np.uint8), input_wh)
    assert fitted.shape == (input_wh[1], input_wh[0], 3)
    x1, x2 = sorted(value * width for value in corners[:2])
    y1, y2 = sorted(value * height for value in corners[2:])
    box = np.array([[x1, y1, x2, y2]], np.float32)
    scale_x, scale_y = placement.scale_xy
    offset = np.array([placement.left_px, placement.top_px] * 2)
    shown = box * [scale_x, scale_y, scale_x, scale_y] + offset
    assert (shown >= -1e-3).all()
    assert (shown <= np.array(input_wh * 2) + 1e-3).all()
    np.testing.assert_allclose(placement.to_source(shown.astype(np.float32)), box, atol=0.02)


def test_the_frame_lies_in_the_middle_on_grey():
    fitted, placement = fit_into(np.full((100, 100, 3), 7, np.uint8), (96, 64))
    assert (placement.left_px, placement.top_px) == (16, 0)
    assert (fitted[:, :16] == 114).all()
    assert (fitted[:, 16:80] == 7).all()
    assert (fitted[:, 80:] == 114).all()


@given(seed=st.integers(0, 10_000), threshold=st.floats(0.05, 0.95), nms_iou=st.floats(0.1, 0.9))
def test_kept_boxes_are_sure_sorted_apart_and_every_dropped_one_has_a_surer_neighbour(seed, threshold, nms_iou):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 60, (2, 40)), rng.uniform(5, 40, (2, 40))
    output = np.concatenate([corner, corner + size, rng.uniform(0, 1, (1, 40))]).astype(np.float32)
    boxes, scores = select_boxes(output, threshold, nms_iou, 40)
    assert (scores >= np.float32(threshold)).all()
    assert (np.diff(scores) <= 0).all()
    between = iou_matrix(boxes, boxes) - np.eye(len(boxes))
    assert (between <= nms_iou).all()
    for box, score in zip(output[:4].T, output[4], strict=True):
        if score >= threshold and not (boxes == box).all(axis=1).any():
            assert (iou_matrix(box[None], boxes[scores >= score]) > nms_iou).any()


def test_a_lower_threshold_only_adds_weaker_boxes():
    rng = np.random.default_rng(5)
    corner, size = rng.uniform(0, 60, (2, 60)), rng.uniform(5, 40, (2, 60))
    output = np.concatenate([corner, corner + size, rng.uniform(0, 1, (1, 60))]).astype(np.float32)
    sure, sure_scores = select_boxes(output, 0.6, 0.4, 60)
    weak, weak_scores = select_boxes(output, 0.1, 0.4, 60)
    np.testing.assert_array_equal(weak[weak_scores >= 0.6], sure)
    assert len(weak_scores) > len(sure_scores)


def test_no_more_boxes_than_a_frame_may_have():
    apart = np.arange(0, 100, 10, dtype=np.float32)
    output = np.stack([apart, apart, apart + 5, apart + 5, np.linspace(0.9, 0.1, 10, dtype=np.float32)])
    boxes, scores = select_boxes(output, 0.05, 0.5, 3)
    assert len(boxes) == 3
    np.testing.assert_array_equal(scores, output[4, :3])


def test_a_frame_twice_as_large_gives_boxes_twice_as_large(pair):
    small = smooth_noise(np.random.default_rng(4), (INPUT_WH[1], INPUT_WH[0]))
    large = small.repeat(2, axis=0).repeat(2, axis=1)  # scaled back to the input, it is the small one exactly
    few, many = pair.recognise(small), pair.recognise(large)
    assert few
    assert [hand.action for hand in few] == [hand.action for hand in many]
    for one, other in zip(few, many, strict=True):
        np.testing.assert_allclose(other.box_xyxy_px, one.box_xyxy_px * 2, atol=0.05)
        assert other.score == pytest.approx(one.score, abs=1e-4)


def test_crops_are_cut_as_the_training_crops(pair):
    image = smooth_noise(np.random.default_rng(6), (80, 120))
    box = np.array([[30, 20, 50, 70]], np.float32)
    expected = crop_square(image, box[0], EXPORT.crop_context, CROP_SIDE_PX)
    np.testing.assert_array_equal(pair.crops(image, box)[0], expected)


@pytest.mark.parametrize("side_px", [32, CROP_SIDE_PX, 64])
def test_crops_are_scaled_as_in_training(released, side_px):
    from lineact.training.crops import load_splits

    path = released / "data/crops.parquet"
    trained, _ = load_splits(path, LABELS, side_px, 0.0)
    rows = [row for row in read_table(path, LABELLED_CROPS).to_pylist() if row["split"] == "train"]
    assert len(rows) == len(trained)
    for row, image_rgb in zip(rows, trained.images_rgb, strict=True):
        crop_bgr = cv2.imdecode(np.frombuffer(row["crop_png"], np.uint8), cv2.IMREAD_COLOR)
        assert crop_bgr is not None
        np.testing.assert_array_equal(scale_crop(crop_bgr[..., ::-1], side_px), image_rgb)


def test_probabilities_sum_to_one_and_do_not_depend_on_the_company(pair):
    crops = np.stack([smooth_noise(np.random.default_rng(seed), (40, 40)) for seed in range(5)])
    together = pair.classify(crops)
    assert together.shape == (5, len(LABELS))
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)
    alone = np.concatenate([pair.classify(crop[None]) for crop in crops])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert pair.classify(crops[:0]).shape == (0, len(LABELS))


def test_both_runtimes_recognise_the_same(bundle):
    image = smooth_noise(np.random.default_rng(8), (128, 192))
    found = [load_bundle(bundle, Setup(runtime, "f32", 1)).recognise(image) for runtime in ("openvino", "onnxruntime")]
    assert found[0]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one.box_xyxy_px, other.box_xyxy_px, atol=0.1)
        assert one.action == other.action
        assert one.confidence == pytest.approx(other.confidence, abs=1e-3)


def test_samples_give_what_the_manifest_says(pair):
    assert pair.logits_difference() < EXPORT.logits_tolerance
    assert pair.scores_difference() < EXPORT.scores_tolerance
    assert any(sample.scores for sample in pair.manifest.frames)
    for sample in pair.manifest.frames:
        boxes, scores = pair.detect(read_png(pair.folder / sample.file))
        np.testing.assert_allclose(boxes, np.array(sample.boxes_xyxy_px).reshape(-1, 4), atol=0.1)
        np.testing.assert_allclose(scores, sample.scores, atol=1e-3)


@pytest.mark.parametrize("lost", ["ours", "theirs"])
def test_a_box_that_one_runtime_lacks_counts_with_what_it_exceeds_the_threshold_by(bundle, lost):
    pair = load_bundle(bundle)
    frame = next(frame for frame in pair.manifest.frames if frame.scores)
    if lost == "ours":  # the sample has a box where this runtime finds none
        far = dataclasses.replace(
            frame, boxes_xyxy_px=((0.0, 0.0, 1.0, 1.0), *frame.boxes_xyxy_px), scores=(0.9, *frame.scores)
        )
        expected = 0.9 - pair.score_threshold
    else:
        far = dataclasses.replace(frame, boxes_xyxy_px=(), scores=())
        expected = frame.scores[0] - pair.score_threshold
    pair.manifest = dataclasses.replace(pair.manifest, frames=(far,))
    assert pair.scores_difference() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", [*NETWORK_FILES, "samples/crop_00.png", "samples/frame_00.png"])
def test_an_altered_file_is_refused_by_name(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: expected SHA-256 .* it was altered"):
        load_bundle(copy)


@pytest.mark.parametrize("name", [*NETWORK_FILES, "manifest.json", "samples/crop_01.png"])
def test_an_incomplete_bundle_is_refused_by_name(copy, name):
    (copy / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: expected .* found nothing"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda manifest: manifest | {"schema_version": 99}, "expected a bundle of version 4 or older, found 99"),
        (lambda manifest: manifest | {"surprise": 1}, "unknown key 'surprise'"),
        (lambda manifest: {name: value for name, value in manifest.items() if name != "classifier"}, "'classifier'"),
        (lambda manifest: manifest | {"files": {}}, "expected the hash of classifier.bin"),
        (lambda _: [1], "found None"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(copy, change, says):
    path = copy / "manifest.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=says):
        load_bundle(copy)


def test_a_bundle_from_before_events_is_read_with_their_defaults(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest.pop("events") == {"min_duration_s": 0.4, "max_gap_s": 0.3}
    path.write_text(json.dumps(manifest | {"schema_version": 2}))
    assert load_bundle(copy).manifest.events == EventSettings()


def test_a_bundle_from_before_work_has_none(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest.pop("work") is None
    path.write_text(json.dumps(manifest | {"schema_version": 3}))
    assert load_bundle(copy).manifest.work is None


def test_the_standard_work_is_read(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"work": {"steps": [{"action": "pick", "max_s": 3}], "takt_s": 20}}))
    assert load_bundle(copy).manifest.work == WorkSettings((WorkStep("pick", 0.0, 3.0),), takt_s=20.0)


def test_a_torn_manifest_is_refused(copy):
    path = copy / "manifest.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match=r"manifest.json: expected JSON"):
        load_bundle(copy)


def test_a_bundle_runs_as_it_was_released(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["setup"] = {"runtime": "onnxruntime", "precision": "f32", "threads": 2}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert load_bundle(copy).setup == Setup("onnxruntime", "f32", 2)


def test_a_precision_that_the_runtime_does_not_have_is_refused(bundle):
    with pytest.raises(ConfigError, match=r"onnxruntime: expected a precision .*f32.*, found bf16"):
        load_bundle(bundle, Setup("onnxruntime", "bf16", 1))


def test_the_runtime_imports_no_training_library(bundle):
    program = (
        "import sys; from pathlib import Path; import numpy as np; from lineact.bundle import load_bundle\n"
        f"load_bundle(Path({str(bundle)!r})).recognise(np.zeros((64, 96, 3), np.uint8))\n"
        "print([name for name in ('torch', 'timm', 'transformers', 'ultralytics', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
