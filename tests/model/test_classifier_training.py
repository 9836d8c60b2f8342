import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lineact.classifiers.distillation import soft_cross_entropy
from lineact.classifiers.lora import add_lora
from lineact.classifiers.settings import LoraParams
from lineact.distil import distil
from lineact.errors import InputError
from lineact.foundation.vit import load_vit
from lineact.settings import from_mapping
from lineact.train_teacher import train_teacher
from lineact.training.augment import augment
from lineact.training.classifier import load_classifier, predict_logits
from lineact.training.settings import AugmentParams
from lineact.training.start import start_key, start_of
from tests.training_sets import (
    AUGMENT,
    LABELS,
    SIDE_PX,
    distil_params,
    draw_crop,
    fit_params,
    teacher_params,
    write_crops,
    write_vit,
)

ROOT = Path(__file__).parents[2]
NOTHING = AugmentParams(0, 0, 0, 0, 0, 0, 0, 0, (), 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A teacher and its student, trained on generated crops."""
    folder = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(folder)  # the cache lies below the working folder
    try:
        crops = write_crops(folder / "crops.parquet", count=240)
        teacher_start, student_start = write_vit(folder / "vit"), write_vit(folder / "small", 1, embed_dim=16)
        fit = fit_params(epochs=12, patience=12)
        train_teacher(teacher_params(fit, teach_epochs=10), crops, teacher_start, folder / "teacher")
        fit = fit_params(epochs=15, patience=15, lr=0.01)
        distil(distil_params(fit), crops, folder / "teacher", folder / "none", student_start, folder / "student")
    finally:
        os.chdir(before)
    return folder


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_the_pair_learns_what_is_easy(trained):
    teacher, student = metrics_of(trained / "teacher"), metrics_of(trained / "student")
    assert teacher["val_accuracy"] >= 0.9
    assert student["val_accuracy"] >= 0.9
    assert teacher["val_majority_accuracy"] < 0.4
    assert student["agreement_with_teacher"] >= 0.85


def test_the_teacher_is_merged_and_mostly_frozen(trained):
    metrics = metrics_of(trained / "teacher")
    assert 0 <= metrics["merge_difference"] <= 1e-4
    assert 0 < metrics["trainable_share"] < 0.3
    start, _ = load_vit(str(trained / "vit"), class_count=len(LABELS))
    before, after = start.state_dict(), load_file(trained / "teacher/teacher.safetensors")
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".attn.qkv.weight" in name or ".attn.proj.weight" in name} | {
        "head.weight",
        "head.bias",
    }


@pytest.mark.parametrize(
    ("stage", "name"), [("teacher", "teacher"), ("teacher", "teacher_early"), ("student", "student")]
)
def test_the_written_classifier_is_whole(trained, stage, name):
    model, spec = load_classifier(trained / stage, name)
    assert spec.labels == LABELS
    rng = np.random.default_rng(5)
    crops = np.stack([draw_crop(LABELS[index % 3], rng) for index in range(60)])
    logits = predict_logits(model, crops, spec.preprocessing)
    assert (logits.argmax(dim=1).numpy() == np.arange(60) % 3).mean() >= 0.85


def test_answers_do_not_depend_on_the_batch_or_slightly_on_light(trained):
    model, spec = load_classifier(trained / "student", "student")
    rng = np.random.default_rng(6)
    crops = np.stack([draw_crop(LABELS[index % 3], rng) for index in range(30)])
    logits = predict_logits(model, crops, spec.preprocessing)
    alone = predict_logits(model, crops, spec.preprocessing, batch_size=1)
    assert torch.allclose(logits, alone, atol=1e-4)
    brighter = np.clip(crops.astype(int) + 8, 0, 255).astype(np.uint8)
    same = predict_logits(model, brighter, spec.preprocessing).argmax(dim=1) == logits.argmax(dim=1)
    assert same.float().mean() >= 0.9


def test_turning_the_bar_turns_the_answer(trained):
    model, spec = load_classifier(trained / "teacher", "teacher")
    rng = np.random.default_rng(7)
    upright = np.stack([draw_crop("screw", rng) for _ in range(20)])
    lying = upright.transpose(0, 2, 1, 3)
    margin = [
        (logits[:, 0] - logits[:, 1]).mean()
        for logits in (
            predict_logits(model, np.ascontiguousarray(crops), spec.preprocessing) for crops in (upright, lying)
        )
    ]
    assert margin[0] > 0 > margin[1]


def test_plots_for_dvc_and_people(trained):
    for stage in ("teacher", "student"):
        plots = trained / stage / "plots"
        header, *rows = (plots / "curves.csv").read_text().splitlines()
        assert header == "epoch,train_loss,val_loss,val_accuracy,val_macro_f1"
        assert len(rows) == metrics_of(trained / stage)["epochs"]
        header, *rows = (plots / "confusion.csv").read_text().splitlines()
        assert header == "actual,predicted"
        assert len(rows) == metrics_of(trained / stage)["val_crops"]
        assert {cell for row in rows for cell in row.split(",")} <= set(LABELS)
        assert (plots / "curves.png").stat().st_size > 1000
        assert (plots / "confusion.png").stat().st_size > 1000


def test_a_second_run_only_copies(trained, monkeypatch):
    monkeypatch.chdir(trained)
    monkeypatch.setattr("lineact.training.loop.fit", None)  # calling it would fail
    monkeypatch.setattr("lineact.training.classifier.predict_logits", None)
    fit = fit_params(epochs=12, patience=12)
    again = trained / "again"
    train_teacher(teacher_params(fit, teach_epochs=10), trained / "crops.parquet", trained / "vit", again)
    names = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert len(names) >= 9
    assert all((again / name).read_bytes() == (trained / "teacher" / name).read_bytes() for name in names)


def test_the_same_settings_give_the_same_weights(tmp_path, monkeypatch):
    crops, start = write_crops(tmp_path / "crops.parquet"), write_vit(tmp_path / "vit")
    weights = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)  # another cache
        train_teacher(teacher_params(fit_params(epochs=2), lora_dropout=0.1), crops, start, tmp_path / name / "out")
        weights.append((tmp_path / name / "out/teacher.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_lora_starts_as_the_frozen_model(tmp_path):
    vit, _ = load_vit(str(write_vit(tmp_path / "vit")), class_count=3)
    images = torch.rand(2, 3, SIDE_PX, SIDE_PX)
    before = vit.eval()(images)
    model = add_lora(vit, LoraParams(4, 0.0, ("qkv", "proj"), True)).eval()
    assert torch.allclose(model(images), before, atol=1e-6)
    modules: list[Any] = list(model.modules())
    scaling = {module.scaling["default"] for module in modules if hasattr(module, "scaling")}
    assert scaling == {1.0}  # lora_alpha = r: h = W0 x + B A x
    adapted = [name for name, _ in model.named_modules() if name.endswith("lora_A")]
    assert len(adapted) == 2 * len(vit.blocks)


@pytest.mark.parametrize("temperature", [0.07, 1.0, 4.0])
def test_the_soft_loss_is_least_where_the_student_says_the_same(temperature):
    torch.manual_seed(0)
    teacher = torch.randn(8, 4)
    agreeing = soft_cross_entropy(teacher / temperature, teacher, 1.0, temperature)
    targets = (teacher / temperature).softmax(dim=1)
    entropy = -(targets * targets.clamp_min(1e-30).log()).sum(dim=1).mean()
    assert agreeing == pytest.approx(float(entropy), abs=1e-5)
    for _ in range(5):
        assert soft_cross_entropy(torch.randn(8, 4), teacher, 1.0, temperature) > agreeing


def test_the_temperatures_are_each_ones_own():
    teacher, student = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.5, -0.5]])
    hard = soft_cross_entropy(student, teacher, 1.0, 0.07)
    assert hard == pytest.approx(-float(student.log_softmax(dim=1)[0, 0]), abs=1e-4)  # 0.07: one-hot
    doubled = soft_cross_entropy(student * 2, teacher, 2.0, 0.5)
    assert doubled == pytest.approx(float(soft_cross_entropy(student, teacher, 1.0, 0.5)))


def test_varied_crops_stay_images_and_follow_their_seed():
    images = torch.rand(16, 3, SIDE_PX, SIDE_PX)
    once, again = (augment(images, AUGMENT, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, augment(images, AUGMENT, torch.Generator().manual_seed(2)))
    assert once.shape == images.shape
    assert 0 <= once.min() <= once.max() <= 1
    nothing = NOTHING
    assert torch.allclose(augment(images, nothing, torch.Generator()), images, atol=1e-5)
    flipped = augment(images, replace(nothing, flip=1.0), torch.Generator())
    assert torch.allclose(flipped, images.flip(3), atol=1e-5)


def test_sided_crops_are_never_mirrored():
    images, sided = torch.rand(4, 3, SIDE_PX, SIDE_PX), torch.tensor([True, False, False, True])
    varied = augment(images, replace(NOTHING, flip=1.0), torch.Generator(), sided)
    assert torch.allclose(varied[sided], images[sided], atol=1e-5)
    assert torch.allclose(varied[~sided], images[~sided].flip(3), atol=1e-5)


def test_the_student_may_be_deeper_and_see_varied_answers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    crops, start = write_crops(tmp_path / "crops.parquet"), write_vit(tmp_path / "vit")
    train_teacher(teacher_params(fit_params(epochs=1)), crops, start, tmp_path / "teacher")
    params = distil_params(fit_params(epochs=1), depth=3, teacher_sees="augmented")
    distil(params, crops, tmp_path / "teacher", tmp_path / "none", start, tmp_path / "student")
    model: Any
    model, spec = load_classifier(tmp_path / "student", "student")
    assert len(model.blocks) == spec.config["model_args"]["depth"] == 3


def test_a_missing_or_foreign_teacher_is_refused(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    crops, start = trained / "crops.parquet", trained / "vit"
    with pytest.raises(InputError, match="expected the teacher of the stage train_teacher"):
        distil(distil_params(), crops, tmp_path, tmp_path / "none", start, tmp_path / "out")
    with pytest.raises(InputError, match="expected a teacher of"):
        distil(
            distil_params(actions=("other",)), crops, trained / "teacher", tmp_path / "none", start, tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"actions": ["a", "a"]},
        {"actions": ["NG"]},
        {"split_gap_s": -0.1},
        {"fit": {"lr": 0}},
        {"augment": {"erase": 2.0}},
        {"augment": {"mixup": -0.1}},
        {"fit": {"crops_at_once": 0}},
    ],
)
@pytest.mark.parametrize("params", [teacher_params(), distil_params()], ids=["teacher", "student"])
def test_settings_out_of_range_are_refused(params, change):
    refuses(params, change)


@pytest.mark.parametrize("change", [{"lora_r": 0}, {"lora_dropout": 1.0}, {"teach_epochs": 0}])
def test_settings_of_the_teacher_out_of_range_are_refused(change):
    refuses(teacher_params(), change)


@pytest.mark.parametrize(
    "change", [{"depth": 0}, {"feature_share": -1.0}, {"soft_share": 1.1}, {"teacher_temperature": 0}]
)
def test_settings_of_the_student_out_of_range_are_refused(change):
    refuses(distil_params(), change)


def refuses(params, change):
    import dataclasses

    from lineact.errors import ConfigError

    values = dataclasses.asdict(params)
    assert from_mapping(type(params), values, "test") == params
    for key, value in change.items():
        values[key] = values[key] | value if isinstance(value, dict) else value
    with pytest.raises(ConfigError, match=next(iter(change))):
        from_mapping(type(params), values, "test")


@pytest.mark.parametrize("params", [teacher_params, distil_params])
def test_the_commit_counts_for_the_hub_alone(params):
    assert params(foundation="hub", hub_revision="abc").revision == "abc"
    assert params(foundation="tiny", hub_revision="abc").revision is None


def test_a_start_is_known_by_its_bytes(tmp_path):
    assert start_of("hub", "timm/some_vit", tmp_path) == "timm/some_vit"
    start = start_of("tiny", "timm/some_vit", tmp_path)
    empty = start_key(start)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert start_key(start) != empty


def test_the_newest_of_a_hub_name_is_known_by_its_commit(tmp_path, monkeypatch):
    def cached(name, filename, revision=None):
        return str(tmp_path / name / "snapshots" / (revision or newest) / filename)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", cached)
    newest = "1111"
    assert start_key("timm/some_vit") == "timm/some_vit@1111"
    newest = "2222"
    assert start_key("timm/some_vit") == "timm/some_vit@2222"
    assert start_key("timm/some_vit", "1111") == "timm/some_vit@1111"


@pytest.mark.slow
def test_killed_with_sigkill_and_started_again_gives_the_same_weights(tmp_path):
    crops, start = write_crops(tmp_path / "crops.parquet", count=150), write_vit(tmp_path / "vit")
    code = (
        "from pathlib import Path; from tests.training_sets import *; from lineact.train_teacher import train_teacher\n"
        "params = teacher_params(fit_params(epochs=20, patience=20))\n"
        f"train_teacher(params, Path({str(crops)!r}), Path({str(start)!r}), Path('out'))"
    )
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    subprocess.run(command, cwd=tmp_path / "whole", env=environment, check=True, capture_output=True)
    process = subprocess.Popen(command, cwd=tmp_path / "killed", env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("epoch 4 "):
            break
    time.sleep(0.05)  # somewhere within the next epochs
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed/out").exists()
    again = subprocess.run(
        command, cwd=tmp_path / "killed", env=environment, check=True, capture_output=True, text=True
    )
    assert "goes on after epoch" in again.stdout
    for name in ("teacher.safetensors", "teacher_early.safetensors", "metrics.json"):
        assert (tmp_path / "whole/out" / name).read_bytes() == (tmp_path / "killed/out" / name).read_bytes()
