import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lineact.bundle.processing import scale_crop
from lineact.classifiers.families import start_network
from lineact.classifiers.settings import LoraParams
from lineact.classifiers.train import train_classifier
from lineact.context import ContextParams, Past, crops_in
from lineact.distil import distil
from lineact.errors import ConfigError
from lineact.png import encode_png
from lineact.schema import LABELLED_CROPS, table_of, write_table
from lineact.train_teacher import train_teacher
from lineact.training.augment import augment
from lineact.training.classifier import load_classifier, predict_logits, save_classifier
from lineact.training.crops import CropSet
from lineact.training.decoded import scale_image
from lineact.training.settings import AugmentParams
from tests.training_sets import (
    AUGMENT,
    LABELS,
    SIDE_PX,
    classifier_params,
    distil_params,
    distillation_params,
    fit_params,
    teacher_params,
    write_resnet,
    write_vit,
)

ORDER = ("comes", "goes", "NG")
LORA = LoraParams(r=4, dropout=0.0, targets=("qkv", "proj"), head=True)


def order_set(count, seed=0, crops=3):
    """Strips whose single crops look alike in all classes: a disc comes, goes, or stays away; only order tells."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % len(ORDER)
    strips = rng.integers(90, 110, (count, crops, SIDE_PX, SIDE_PX, 3))
    for index, name in enumerate(classes):
        # newest first: what comes is there now and was not before
        there = {0: (0,), 1: (crops - 1,), 2: (rng.integers(1, crops - 1),)}[int(name)]
        for place in there:
            x, y = rng.integers(2, SIDE_PX - 12, 2)
            strips[index, place, y : y + 10, x : x + 10] = (220, 40, 40)
    return CropSet(strips.reshape(count, crops * SIDE_PX, SIDE_PX, 3).astype(np.uint8), classes.astype(np.int64))


def test_no_context_is_one_crop_of_now():
    assert ContextParams(0.0, 4).lags_s == (0.0,)
    assert ContextParams(1.5, 4).lags_s == (0.0, 0.5, 1.0, 1.5)
    with pytest.raises(ValueError, match="at least 2"):
        ContextParams(1.0, 1)


@settings(deadline=None)
@given(st.floats(5, 60), st.floats(0.2, 3), st.integers(2, 5), st.integers(10, 120))
def test_the_past_is_never_newer_than_its_lag_nor_much_older(fps, context_s, crops, count):
    lags_s = ContextParams(context_s, crops).lags_s
    past = Past[np.ndarray](lags_s)
    for index in range(count):
        now_s = index / fps
        found_s = [float(picture[0, 0, 0]) / fps for picture in past.add(now_s, np.full((1, 1, 1), index, float))]
        assert found_s[0] == now_s
        for lag_s, then_s in zip(lags_s[1:], found_s[1:], strict=True):
            assert then_s <= max(now_s - lag_s, 0) + 1e-5  # never from the future of its place
            assert then_s >= now_s - lag_s - lags_s[1] / 4 - 1 / fps - 1e-5 or then_s == 0
    assert len(past._kept) <= 4 * (crops - 1) + 2


@pytest.mark.parametrize("scale", [scale_image, scale_crop])
@pytest.mark.parametrize("side_px", [16, SIDE_PX, 40])
def test_a_strip_is_scaled_crop_by_crop(scale, side_px):
    crops = np.random.default_rng(0).integers(0, 256, (3, SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    strip = scale(np.concatenate(crops), side_px)
    assert crops_in(strip) == 3
    np.testing.assert_array_equal(strip, np.concatenate([scale(crop, side_px) for crop in crops]))


def test_the_crops_of_a_strip_vary_alike():
    crop = torch.rand(2, 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(0))
    lively = dataclasses.replace(AUGMENT, shift=0.2, erase=1.0, blur=0.5, flip=0.5)
    varied = augment(torch.cat([crop, crop], dim=2), lively, torch.Generator().manual_seed(1))
    torch.testing.assert_close(varied[:, :, :SIDE_PX], varied[:, :, SIDE_PX:])
    single = augment(crop, lively, torch.Generator().manual_seed(1))
    torch.testing.assert_close(varied[:, :, :SIDE_PX], single)


def test_a_classifier_of_strips_tells_what_differs_in_order_alone(tmp_path):
    train, val = order_set(90), order_set(45, seed=1)
    params = classifier_params("vit", fit_params(epochs=3), head_start="probe")
    trained = train_classifier(params, ORDER, 1, train, val, str(write_vit(tmp_path / "start")), None, tmp_path / "t")
    assert trained.history[-1].val_accuracy >= 0.8  # chance: a third
    newest = CropSet(*(train.images_rgb[:, :SIDE_PX], train.classes)), CropSet(val.images_rgb[:, :SIDE_PX], val.classes)
    alone = train_classifier(params, ORDER, 1, *newest, str(tmp_path / "start"), None, tmp_path / "alone")
    assert alone.history[-1].val_accuracy <= 0.75  # two of the three classes look alike now


@pytest.mark.parametrize(("family", "write"), [("vit", write_vit), ("resnet", write_resnet)])
def test_a_classifier_of_strips_is_saved_and_read(family, write, tmp_path):
    train, val = order_set(18), order_set(9, seed=1)
    params = classifier_params(family, fit_params(epochs=1))
    trained = train_classifier(params, ORDER, 1, train, val, str(write(tmp_path / "start")), None, tmp_path / "t")
    images_rgb = val.at_side(trained.preprocessing.side_px).images_rgb
    save_classifier(tmp_path, "saved", trained.model, trained.spec)
    model, spec = load_classifier(tmp_path, "saved")
    assert spec.crops == 3
    logits = predict_logits(trained.model, images_rgb, trained.preprocessing)
    torch.testing.assert_close(predict_logits(model, images_rgb, spec.preprocessing), logits)


@pytest.mark.parametrize("teacher_sees", ["clean", "augmented"])
def test_a_teacher_of_strips_by_lora_teaches_a_student_of_strips(teacher_sees, tmp_path):
    train, val = order_set(18), order_set(9, seed=1)
    start, fit = str(write_vit(tmp_path / "start")), fit_params(epochs=1)
    by_lora = classifier_params("vit", fit, trains="lora", lora=LORA, head_start="probe")
    teacher = train_classifier(by_lora, ORDER, 1, train, val, start, None, tmp_path / "teacher")
    assert 0 < teacher.trainable_share < 0.5
    taught = classifier_params(
        "vit", fit, distil=distillation_params(feature_share=0.5, teacher_sees=teacher_sees), augment=AUGMENT
    )
    student = train_classifier(taught, ORDER, 1, train, val, start, teacher.as_teacher, tmp_path / "student")
    assert student.spec.crops == 3
    assert student.agreement is not None


def test_stages_of_a_network_of_strips_are_frozen_as_those_of_its_crops(tmp_path):
    params = classifier_params("resnet", fit_params(epochs=1), trains="stages", stages=("layer4",))
    train, val = order_set(18), order_set(9, seed=1)
    start = str(write_resnet(tmp_path / "start"))
    before = start_network(params, ORDER, start, crops=3).module.state_dict()
    trained = train_classifier(params, ORDER, 1, train, val, start, None, tmp_path / "t").model.state_dict()
    changed = {name.split(".")[1] for name in before if not torch.equal(before[name], trained[name].cpu())}
    assert changed == {"layer4", "weight", "bias"}  # the head is called head.weight and head.bias


def test_families_without_context_say_so(tmp_path):
    with pytest.raises(ConfigError, match="expected a vit or a resnet where crops have context, found a cnn"):
        train_classifier(
            classifier_params("cnn", tiny=None), ORDER, 1, order_set(30), order_set(15), None, None, tmp_path
        )


def test_plain_crops_vary_as_they_did_before_there_was_context():
    # values of a release without context: the default must not change a line's training
    images = torch.linspace(0, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)
    params = AugmentParams(0.1, 0.1, 0.1, 0.1, 0.1, 0.5, 0.5, 0.5, (), 0)
    varied = augment(images, params, torch.Generator().manual_seed(3))
    torch.testing.assert_close(varied.mean(), torch.tensor(0.55035), atol=1e-5, rtol=0)
    torch.testing.assert_close(varied[1, 2, 3, 4], torch.tensor(0.99604), atol=1e-5, rtol=0)


def test_the_stages_train_a_teacher_and_a_student_of_strips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            "video_sha256": f"{index % 2}" * 64, "pts_s": float(index), "box_id": f"{index:03d}",
            "x1": 0.0, "y1": 0.0, "x2": 9.0, "y2": 9.0, "action": LABELS[label],
            "split": ("train", "val")[index % 2], "decided_by": "person", "crop_png": encode_png(strip),
        }
        for index, (strip, label) in enumerate(zip(*dataclasses.astuple(order_set(24))[:2], strict=True))
    ]  # fmt: skip
    write_table(table_of(rows, LABELLED_CROPS), Path("crops.parquet"), LABELLED_CROPS)
    start, fit = write_vit(tmp_path / "start"), fit_params(epochs=1)
    train_teacher(teacher_params(fit, teach_epochs=1), Path("crops.parquet"), start, tmp_path / "teacher")
    distil(
        distil_params(fit), Path("crops.parquet"), tmp_path / "teacher", tmp_path / "none", start, tmp_path / "student"
    )
    assert load_classifier(tmp_path / "student", "student")[1].crops == 3
