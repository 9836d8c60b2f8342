"""Classifiers of every family, trained by the one loop on small generated crops."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from flows.classifier_choices import choices_of, classifier_of
from lineact.bundle.networks import Setup, open_network
from lineact.classifiers.clip import prompt_contrast
from lineact.classifiers.distillation import relation_loss
from lineact.classifiers.families import pooled_and_logits, stages_of, start_network, unfreeze
from lineact.classifiers.settings import LoraParams
from lineact.classifiers.starts import start_of_choice
from lineact.classifiers.train import train_classifier
from lineact.errors import ConfigError, InputError
from lineact.export.graphs import ClassifierGraph, write_onnx, write_openvino
from lineact.files import write_json
from lineact.foundation.clip import load_clip
from lineact.foundation.tiny import save_tensors
from lineact.settings import from_mapping
from lineact.training.classifier import load_classifier, predict_logits, save_classifier
from lineact.training.crops import CropSet
from lineact.training.loop import TrainingDivergedError
from tests.training_sets import (
    LABELS,
    classifier_params,
    crop_set,
    distillation_params,
    fit_params,
    write_clip,
    write_resnet,
    write_vit,
)

ROOT = Path(__file__).parents[2]
FAMILIES = ("resnet", "vit", "cnn", "clip")
PROMPTS = {"*": ("a hand with a {}",), "NG": ("an empty hand", "nothing")}
LORA = LoraParams(r=4, dropout=0.0, targets=("qkv", "proj"), head=True)


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("starts")
    return {
        "resnet": str(write_resnet(folder / "resnet")),
        "vit": str(write_vit(folder / "vit")),
        "clip": str(write_clip(folder / "clip")),
        "cnn": None,
    }


def settings_of(family, fit=None, **changes):
    return classifier_params(family, fit, prompts=PROMPTS if family == "clip" else {}, **changes)


def weights_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed_weights(before, after):
    return {name for name, value in before.items() if not torch.equal(value, after.state_dict()[name].cpu())}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_learns_twelve_crops_by_heart(family, starts, tmp_path):
    crops = crop_set(12)
    lr = 0.001 if family == "clip" else 0.004
    params = settings_of(family, fit_params(epochs=40, patience=40, batch_size=12, lr=lr, weight_decay=0.0))
    trained = train_classifier(params, LABELS, 1, crops, crops, starts[family], None, tmp_path / "run")
    images = crops.at_side(trained.preprocessing.side_px).images_rgb
    logits = predict_logits(trained.model, images, trained.preprocessing)
    assert (logits.argmax(dim=1).numpy() == crops.classes).all()
    assert trained.from_scratch == (family == "cnn")
    assert trained.trainable_share == 1.0
    assert trained.images_per_s is not None
    assert trained.images_per_s > 0
    save_classifier(tmp_path, "classifier", trained.model, trained.spec)
    again, spec = load_classifier(tmp_path, "classifier")
    assert (spec.family, spec.labels) == (family, LABELS)
    assert torch.equal(predict_logits(again, images, spec.preprocessing), logits)


@pytest.mark.parametrize("family", ["resnet", "vit", "cnn"])
def test_a_head_alone_leaves_the_body_as_it_was(family, starts, tmp_path):
    crops, params = crop_set(12), settings_of(family, fit_params(epochs=2, batch_size=4), trains="head")
    torch.manual_seed(1)
    before = weights_of(start_network(params, LABELS, starts[family]).module)
    trained = train_classifier(params, LABELS, 1, crops, crops, starts[family], None, tmp_path)
    head = "fc" if family == "resnet" else "head"
    assert changed_weights(before, trained.model) == {f"{head}.weight", f"{head}.bias"}  # statistics stay, too
    assert 0 < trained.trainable_share < 0.2


@pytest.mark.parametrize(("family", "named", "prefixes"), [
    ("resnet", ("layer3", "layer4"), ("layer3.", "layer4.", "fc.")),
    ("vit", ("block2", "norm"), ("blocks.1.", "norm.", "head.")),
    ("cnn", ("stage1",), ("stages.0.", "head.")),
])  # fmt: skip
def test_stages_unfreeze_exactly_the_named_ones(family, named, prefixes, starts, tmp_path):
    crops = crop_set(12)
    params = settings_of(family, fit_params(epochs=2, batch_size=4, lr=0.02), trains="stages", stages=named)
    torch.manual_seed(1)
    before = weights_of(start_network(params, LABELS, starts[family]).module)
    trained = train_classifier(params, LABELS, 1, crops, crops, starts[family], None, tmp_path)
    changed = changed_weights(before, trained.model)
    assert changed == {name for name in before if name.startswith(prefixes) and not name.endswith(".num_batches")}


@pytest.mark.parametrize("family", FAMILIES)
def test_stages_cover_every_weight_once(family, starts):
    module = start_network(settings_of(family), LABELS, starts[family]).module
    stages, seen = stages_of(family, module), set[str]()
    for name in stages:
        unfreeze(module, stages, () if name == "head" else (name,))
        own = {key for key, value in module.named_parameters() if value.requires_grad}
        if name != "head":
            unfreeze(module, stages, ())
            own -= {key for key, value in module.named_parameters() if value.requires_grad}
        assert not own & seen
        seen |= own
    assert seen == {key for key, _ in module.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
def test_pooled_features_lead_to_the_same_logits(family, starts):
    start = start_network(settings_of(family), LABELS, starts[family])
    module, images = start.module.eval(), torch.rand(3, 3, *start.config["pretrained_cfg"]["input_size"][1:])
    features, logits = pooled_and_logits(module, images)
    assert features.ndim == 2
    assert torch.equal(logits, module(images))


def test_prompts_alone_train_nothing(starts, tmp_path):
    crops = crop_set(12)
    params = settings_of("clip", trains="nothing")
    pair = start_network(params, LABELS, starts["clip"]).module.eval()
    trained = train_classifier(params, LABELS, 1, crops, crops, starts["clip"], None, tmp_path)
    assert (trained.history, trained.best_epoch, trained.images_per_s) == ([], 0, None)
    assert (trained.trainable_share, trained.train_s) == (0.0, 0.0)
    images = crops.at_side(trained.preprocessing.side_px).images_rgb
    before = predict_logits(pair, images, trained.preprocessing)
    assert torch.allclose(predict_logits(trained.model, images, trained.preprocessing), before, atol=1e-4)


def test_clip_in_stages_leaves_the_text_tower(starts, tmp_path):
    crops = crop_set(12)
    fit = fit_params(epochs=1, batch_size=6)
    params = settings_of("clip", fit, trains="stages", stages=("block6",))
    pair = start_network(params, LABELS, starts["clip"]).module
    unfreeze(pair, stages_of("clip", pair), ("block6",))
    learning = {name.split(".")[1] for name, value in pair.named_parameters() if value.requires_grad}
    assert learning == {"vision_model", "visual_projection", "text_projection", "logit_scale"}
    before = weights_of(pair)
    trained = train_classifier(params, LABELS, 1, crops, crops, starts["clip"], None, tmp_path)
    tower = {name: value for name, value in trained.model.state_dict().items() if name.startswith("vision_model.")}
    changed = {name for name, value in tower.items() if not torch.equal(before[f"clip.{name}"], value)}
    assert changed == {name for name in tower if ".layers.5." in name}


def test_the_prompts_decide_what_an_image_is(starts):
    params = settings_of("clip", trains="nothing")
    swapped = replace(
        params, prompts={"screw": PROMPTS["NG"], "wipe": ("a hand with a wipe",), "NG": ("a hand with a screw",)}
    )
    images = torch.rand(2, 3, 96, 96)
    logits, others = (start_network(each, LABELS, starts["clip"]).module.eval()(images) for each in (params, swapped))
    assert torch.allclose(logits, others[:, [2, 1, 0]], atol=1e-4)
    with pytest.raises(ConfigError, match="prompts: expected phrases for wipe"):
        start_network(replace(params, prompts={"screw": ("a screw",)}), LABELS, starts["clip"])


def test_contrast_is_least_where_each_image_meets_its_text():
    classes, weights = torch.tensor([0, 0, 1, 2]), torch.ones(3)
    right = 8.0 * torch.nn.functional.one_hot(classes, 3)
    assert prompt_contrast(right, classes, weights) < 0.4  # two images of one text halve its probability
    assert prompt_contrast(right[[2, 3, 0, 1]], classes, weights) > 3
    assert prompt_contrast(torch.zeros(4, 3), classes, weights) == pytest.approx((np.log(3) + np.log(4)) / 2)


def test_lora_trains_little_and_merges(starts, tmp_path):
    crops = crop_set(24)
    params = classifier_params("vit", fit_params(epochs=3), trains="lora", lora=LORA)
    trained = train_classifier(params, LABELS, 1, crops, crops, starts["vit"], None, tmp_path, teach_epochs=1)
    assert 0 <= trained.merge_difference <= 1e-4
    assert 0 < trained.trainable_share < 0.4
    assert trained.early is not None
    assert trained.as_teacher.model is trained.early
    unheaded = replace(params, lora=replace(LORA, head=False, targets=("fc1",)))
    torch.manual_seed(1)
    before = weights_of(start_network(params, LABELS, starts["vit"]).module)
    trained = train_classifier(unheaded, LABELS, 1, crops, crops, starts["vit"], None, tmp_path / "unheaded")
    assert changed_weights(before, trained.model) == {f"blocks.{index}.mlp.fc1.weight" for index in range(2)}


def test_relations_do_not_depend_on_scale_turn_or_place():
    torch.manual_seed(0)
    teacher = torch.randn(10, 6)
    turn, _ = torch.linalg.qr(torch.randn(6, 6))
    assert relation_loss(3 * teacher @ turn + 5, teacher) == pytest.approx(0.0, abs=1e-6)
    wider = torch.cat([teacher, torch.zeros(10, 3)], dim=1)
    assert relation_loss(wider, teacher) == pytest.approx(0.0, abs=1e-6)
    assert relation_loss(torch.randn(10, 6), teacher) > 0.01
    assert relation_loss(teacher[:1], teacher[:1]) == 0.0


def test_following_relations_alone_brings_the_student_to_them():
    torch.manual_seed(0)
    teacher, student = torch.randn(12, 8), torch.randn(12, 4).requires_grad_()
    optimiser, losses = torch.optim.Adam([student], lr=0.05), []
    for _ in range(60):
        loss = relation_loss(student, teacher)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    assert torch.isfinite(student).all()


@pytest.mark.parametrize("sees", ["clean", "augmented"])
def test_a_student_of_another_family_learns_with_all_losses(sees, starts, tmp_path):
    crops = crop_set(24)
    teacher = train_classifier(
        classifier_params("resnet", fit_params(epochs=3)),
        LABELS,
        1,
        crops,
        crops,
        starts["resnet"],
        None,
        tmp_path / "t",
    )
    lesson = distillation_params(feature_share=0.5, relation_share=0.5, teacher_sees=sees)
    params = classifier_params("vit", fit_params(epochs=3), distil=lesson)
    student = train_classifier(params, LABELS, 1, crops, crops, starts["vit"], teacher.as_teacher, tmp_path / "s")
    assert student.agreement is not None
    assert student.teacher_accuracy is not None
    assert student.parameters == sum(value.numel() for value in student.model.parameters())  # the map is left behind
    losses = [record.train_loss for record in student.history]
    assert losses[-1] < losses[0]


def test_a_teacher_is_asked_once_where_it_sees_crops_as_they_are(starts, tmp_path):
    crops, fit = crop_set(24), fit_params(epochs=3, batch_size=8)
    params = classifier_params("vit", fit)
    teacher = train_classifier(params, LABELS, 1, crops, crops, starts["vit"], None, tmp_path / "t").as_teacher
    asked: list[int] = []
    cast(Any, teacher.model).patch_embed.register_forward_hook(lambda _, pixels, __: asked.append(len(pixels[0])))
    counts = {}
    for sees in ("clean", "augmented"):
        taught = replace(params, distil=distillation_params(teacher_sees=sees))
        train_classifier(taught, LABELS, 1, crops, crops, starts["vit"], teacher, tmp_path / sees)
        counts[sees] = sum(asked)
        asked.clear()
    assert counts == {"clean": 24 + 24, "augmented": 24 + 24 + 3 * 24}  # training crops, validation crops, epochs


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_answers_alike_when_exported(family, runtime, starts, tmp_path):
    params = settings_of(family, fit_params(epochs=1))
    crops = crop_set(12)
    trained = train_classifier(params, LABELS, 1, crops, crops, starts[family], None, tmp_path / "run")
    preprocessing = trained.preprocessing
    side_px = preprocessing.side_px
    graph = ClassifierGraph(trained.model.cpu(), preprocessing.mean, preprocessing.std)
    write_onnx(graph, tmp_path / "classifier.onnx", (side_px, side_px), any_batch=True)
    write_openvino(tmp_path / "classifier.onnx")
    network = open_network(tmp_path, "classifier", Setup(runtime, "f32", 1))
    for count in (1, 3):
        images = crops.at_side(side_px).images_rgb[:count]
        expected = predict_logits(trained.model, images, preprocessing).numpy()
        assert np.abs(network(images) - expected).max() < 1e-3


def test_summed_gradients_are_those_of_the_whole_batch(starts, tmp_path):
    crops, histories = crop_set(22), []
    for at_once in (None, 4):
        fit = fit_params(epochs=2, batch_size=11, crops_at_once=at_once, label_smoothing=0.1)
        params = classifier_params("vit", fit, augment=replace(classifier_params("vit").augment, mixup=0.4))
        trained = train_classifier(params, LABELS, 1, crops, crops, starts["vit"], None, tmp_path / str(at_once))
        histories.append(trained.history)
    for whole, summed in zip(*histories, strict=True):
        assert summed.train_loss == pytest.approx(whole.train_loss, abs=1e-4)
        assert summed.val_loss == pytest.approx(whole.val_loss, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_interrupted_and_resumed_gives_the_same_weights(family, starts, tmp_path, monkeypatch):
    crops = crop_set(20)
    augment = replace(settings_of(family).augment, mixup=0.4, flip=0.5, sided=("screw",), shift=0.05)
    fit = fit_params(epochs=4, batch_size=8, crops_at_once=3)
    params = settings_of(family, fit, augment=augment)
    whole = train_classifier(params, LABELS, 3, crops, crops, starts[family], None, tmp_path / "whole")

    class KilledError(Exception):
        pass

    calls = []

    def dies_in_the_third_epoch(*arguments):
        calls.append(arguments)
        if len(calls) == 8:
            raise KilledError
        return augment_before(*arguments)

    from lineact.training import classify

    augment_before = classify.augment
    with monkeypatch.context() as patch:
        patch.setattr(classify, "augment", dies_in_the_third_epoch)
        with pytest.raises(KilledError):
            train_classifier(params, LABELS, 3, crops, crops, starts[family], None, tmp_path / "killed")
    again = train_classifier(params, LABELS, 3, crops, crops, starts[family], None, tmp_path / "killed")
    assert again.history == whole.history
    assert not changed_weights(weights_of(whole.model), again.model)
    assert again.train_s > 0


def test_a_finished_training_is_not_run_again(starts, tmp_path, monkeypatch):
    crops, params = crop_set(12), classifier_params("vit", fit_params(epochs=1))
    first = train_classifier(params, LABELS, 1, crops, crops, starts["vit"], None, tmp_path)
    monkeypatch.setattr("lineact.training.loop._train_epoch", None)  # calling it would fail
    again = train_classifier(params, LABELS, 1, crops, crops, starts["vit"], None, tmp_path)
    assert (again.train_s, again.images_per_s) == (first.train_s, first.images_per_s)


def test_another_head_or_setting_does_not_go_on_from_a_run(starts, tmp_path):
    crops, params = crop_set(12), classifier_params("vit", fit_params(epochs=1))
    train_classifier(params, LABELS, 1, crops, crops, starts["vit"], None, tmp_path)
    with pytest.raises(
        InputError, match=r"holds the state of a training with other labels: expected \['screw', 'lift'"
    ):
        train_classifier(params, ("screw", "lift", "NG"), 1, crops, crops, starts["vit"], None, tmp_path)
    other = replace(params, fit=fit_params(epochs=2))
    with pytest.raises(InputError, match="with other settings"):
        train_classifier(other, LABELS, 1, crops, crops, starts["vit"], None, tmp_path)


def test_an_action_with_two_crops_is_told_and_trained(starts, tmp_path, capsys):
    whole = crop_set(30)
    kept = np.flatnonzero((whole.classes != 1) | (np.arange(30) < 6))
    train = CropSet(whole.images_rgb[kept], whole.classes[kept])
    assert (train.classes == 1).sum() == 2
    train_classifier(
        classifier_params("vit", fit_params(epochs=1)), LABELS, 1, train, whole, starts["vit"], None, tmp_path
    )
    assert "wipe: 2 training crops, too few" in capsys.readouterr().out


def test_one_class_alone_is_refused(starts, tmp_path):
    whole = crop_set(12)
    one = CropSet(whole.images_rgb[::3], whole.classes[::3])
    with pytest.raises(InputError, match="at least two classes, found only those of one, screw"):
        train_classifier(classifier_params("vit"), LABELS, 1, one, whole, starts["vit"], None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_is_told_with_its_place(starts, tmp_path, monkeypatch):
    crops, params = crop_set(12), classifier_params("vit", fit_params(epochs=3, batch_size=12))
    calls = []

    def breaks(loss, where, params):
        calls.append(where)
        return refuse(float("nan") if len(calls) > 2 else loss, where, params)

    from lineact.training import loop

    refuse = loop._refuse_not_finite
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_refuse_not_finite", breaks)
        with pytest.raises(TrainingDivergedError, match="epoch 2, batch 1: expected a finite loss, found nan"):
            train_classifier(params, LABELS, 1, crops, crops, starts["vit"], None, tmp_path)
    trained = train_classifier(params, LABELS, 1, crops, crops, starts["vit"], None, tmp_path)
    assert len(trained.history) == 3


def test_unknown_stages_and_sides_are_named(starts, tmp_path):
    crops = crop_set(12)
    params = classifier_params("resnet", trains="stages", stages=("layer5",))
    with pytest.raises(ConfigError, match=r"unknown stage 'layer5'; this network has stem, layer1, .*, head"):
        train_classifier(params, LABELS, 1, crops, crops, starts["resnet"], None, tmp_path)
    params = classifier_params("resnet", augment=replace(params.augment, sided=("dance",)))
    with pytest.raises(ConfigError, match=r"augment\.sided: expected some of screw, wipe, NG, found 'dance'"):
        train_classifier(params, LABELS, 1, crops, crops, starts["resnet"], None, tmp_path)


@pytest.mark.parametrize(("changes", "words"), [
    ({"family": "resnet", "trains": "lora", "lora": LORA}, "lora is for the family vit"),
    ({"family": "cnn", "trains": "nothing"}, "nothing is for the family clip"),
    ({"family": "resnet", "trains": "stages"}, "stages must be named"),
    ({"family": "vit", "stages": ("block1",)}, "stages must be named"),
    ({"family": "vit", "trains": "lora"}, "lora must be set"),
    ({"family": "clip", "trains": "lora", "lora": LORA, "prompts": PROMPTS}, "lora is for the family vit"),
    ({"family": "clip"}, "needs prompts"),
    ({"family": "clip", "tiny": None, "prompts": PROMPTS}, "needs a start"),
    ({"family": "resnet", "depth": 2}, "depth is for the family vit"),
])  # fmt: skip
def test_settings_that_contradict_one_another_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        classifier_params(**changes)


def test_a_foreign_teacher_is_refused(starts, tmp_path):
    crops, params = crop_set(12), classifier_params("vit", fit_params(epochs=1))
    teacher = train_classifier(params, LABELS, 1, crops, crops, starts["vit"], None, tmp_path).as_teacher
    taught = replace(params, distil=distillation_params())
    with pytest.raises(InputError, match="expected a teacher of"):
        train_classifier(taught, ("a", "b", "NG"), 1, crops, crops, starts["vit"], teacher, tmp_path / "s")
    with pytest.raises(ConfigError, match="expected the teacher any, found none"):
        train_classifier(taught, LABELS, 1, crops, crops, starts["vit"], None, tmp_path / "s")


@pytest.mark.parametrize("foundation", ["tiny", "hub"])
@pytest.mark.parametrize("choice", choices_of(ROOT / "conf"))
def test_every_choice_composes(choice, foundation):
    params = classifier_of(ROOT / "conf", choice, foundation)
    assert params.foundation == foundation
    assert (params.start_name is None) == (choice == "cnn_scratch")
    if params.distil is not None:
        assert params.distil.teacher in choices_of(ROOT / "conf")


def test_an_unknown_choice_or_key_is_named():
    with pytest.raises(ConfigError, match="choice 'vit_xl': expected one of clip_finetuned, "):
        classifier_of(ROOT / "conf", "vit_xl")
    with pytest.raises(ConfigError, match="unknown key 'rank'"):
        classifier_of(ROOT / "conf", "vit_s", overrides=["+classifier.rank=3"])
    with pytest.raises(ConfigError, match="depth"):
        classifier_of(ROOT / "conf", "resnet34", overrides=["classifier.depth=3"])


def test_an_embedded_start_that_was_not_made_is_from_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = classifier_of(ROOT / "conf", "resnet34", "tiny", ["classifier.fit.epochs=1"])
    assert start_of_choice(params, tmp_path / "none") is None
    start = start_network(params, LABELS, None)
    assert start.from_scratch
    with pytest.raises(ConfigError, match="expected one of resnet18, resnet34, resnet50"):
        start_network(replace(params, tiny="resnet99"), LABELS, None)
    hub = classifier_of(ROOT / "conf", "resnet34", "hub")
    assert start_of_choice(hub, tmp_path) == "timm/resnet34.a1_in1k"


def test_settings_survive_a_round_trip():
    import dataclasses

    params = classifier_of(ROOT / "conf", "vit_s_distilled")
    assert from_mapping(type(params), dataclasses.asdict(params), "test") == params


@pytest.mark.parametrize("targets", [(), ("qkv", "qkv")])
def test_layers_of_lora_are_checked(targets):
    with pytest.raises(ValueError, match="LoRA targets must be one or more different layers"):
        replace(LORA, targets=targets)


def test_a_start_as_the_hub_has_it(tmp_path):
    """With a head of its own, and without model_args where the architecture's name says all."""
    import timm

    config = {
        "architecture": "resnet10t",
        "num_classes": 10,
        "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    }
    write_json(tmp_path / "hub" / "config.json", config)
    theirs = timm.create_model("resnet10t", num_classes=10)
    save_tensors(theirs, tmp_path / "hub" / "model.safetensors")
    params = classifier_params("resnet", fit_params(epochs=1), trains="head")
    crops = crop_set(12)
    trained = train_classifier(params, LABELS, 1, crops, crops, str(tmp_path / "hub"), None, tmp_path / "run")
    save_classifier(tmp_path, "classifier", trained.model, trained.spec)
    model, _ = load_classifier(tmp_path, "classifier")
    kept = theirs.state_dict()["layer4.0.conv1.weight"].half().float()
    assert torch.equal(model.state_dict()["layer4.0.conv1.weight"], kept)


def test_older_files_of_clip_and_foreign_ones(starts, tmp_path):
    folder = tmp_path / "clip"
    shutil.copytree(starts["clip"], folder)
    tensors = load_file(folder / "model.safetensors")
    places = {"vision_model.embeddings.position_ids": torch.arange(37)[None]}
    save_file(tensors | places, folder / "model.safetensors", {"format": "pt"})
    load_clip(str(folder))
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"model_type": "siglip"})
    with pytest.raises(InputError, match="expected the weights of a clip, found 'siglip'"):
        load_clip(str(folder))
    write_json(folder / "config.json", config)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"expected a model folder with tokenizer\.json"):
        load_clip(str(folder))
