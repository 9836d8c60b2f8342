"""One way to train a classifier of any family: frozen, in stages, whole, by LoRA, alone or taught by another."""

import copy
import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lineact.classifiers.clip import ClipPair, prompt_contrast
from lineact.classifiers.distillation import Lesson, Student, Teacher, answers_of
from lineact.classifiers.families import build_network, pooled_and_logits, stages_of, start_network, unfreeze
from lineact.classifiers.head import start_at_probe
from lineact.classifiers.lora import add_lora, parameter_counts
from lineact.classifiers.settings import ClassifierParams
from lineact.context import crops_in
from lineact.errors import ConfigError, InputError
from lineact.files import write_json
from lineact.foundation.weights import Preprocessing, load_strictly
from lineact.training.classifier import ClassifierSpec, predict_logits, training_device
from lineact.training.classify import CropTask
from lineact.training.crops import CropSet, refuse_unusable
from lineact.training.loop import best_epoch, fit
from lineact.training.state import EpochRecord, load_seconds, load_weights

MERGE_TOLERANCE = 1e-4  # greatest difference of a logit between merged and unmerged weights
SCARCE = 5  # training crops of an action
RUN_FILE = "run.json"
BEST, EARLY = "best", "early"


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier after its training.

    Attributes:
        model: of the best epoch, in evaluation mode on the training's device: B x 3 x S x S, normalised -> B x K
            logits. What was trained beside W0 is merged into it.
        early: likewise, of the best of the first `teach_epochs`; None where that was not asked for.
        spec: what is needed to save and load it.
        history: one record per epoch; none where nothing was trained.
        best_epoch: from 1; 0 where nothing was trained.
        trainable_share: of the parameters, 0 to 1.
        parameters: how many there are, those of low-rank updates included.
        train_s: seconds of all epochs with their validation, those before an interruption included.
        images_per_s: training crops per second of an epoch, validation left out; None where nothing was trained.
        from_scratch: whether it began with random weights.
        merge_difference: greatest difference of a logit, on the validation crops, between the trained weights and the
            merged ones in a network built anew from `spec`.
        agreement: share of validation crops to which it gives its teacher's answer; None without a teacher.
        teacher_accuracy: share of validation crops that its teacher answers right, likewise.
    """

    model: nn.Module
    early: nn.Module | None
    spec: ClassifierSpec
    history: list[EpochRecord]
    best_epoch: int
    trainable_share: float
    parameters: int
    train_s: float
    images_per_s: float | None
    from_scratch: bool
    merge_difference: float
    agreement: float | None
    teacher_accuracy: float | None

    @property
    def preprocessing(self) -> Preprocessing:
        """How crops become the network's input."""
        return self.spec.preprocessing

    @property
    def as_teacher(self) -> Teacher:
        """The best of its first epochs where that was asked for, else the best of all."""
        return Teacher(self.early or self.model, self.spec)


def train_classifier(
    params: ClassifierParams,
    labels: tuple[str, ...],
    seed: int,
    train: CropSet,
    val: CropSet,
    start: str | None,
    teacher: Teacher | None,
    folder: Path,
    *,
    teach_epochs: int | None = None,
) -> TrainedClassifier:
    """Trains a classifier. Called again with the same arguments it goes on where it was killed, to the same weights.

    Args:
        params: which, and how.
        labels: class names; NG is the last one.
        seed: of the head's start, the order of crops and their variation.
        train: training crops of any side; they are scaled to the network's.
        val: validation crops likewise.
        start: folder or hub name of the start, see `start_of_choice`; None for random weights.
        teacher: where `params.distil` is set.
        folder: for the training's state, of this training alone.
        teach_epochs: the best of the first so many epochs is kept, too.

    Raises:
        ConfigError: where the settings do not fit the network or the labels, e.g. name a stage that it has not.
        InputError: where crops, start or teacher cannot be used, or the folder holds another training.
        TrainingDivergedError: where the loss is no longer finite; the state of the last whole epoch stays.
    """
    refuse_unusable(train, val, labels, "crops")
    _refuse_other_teacher(params, labels, teacher)
    _tell_scarce(train, labels)
    torch.manual_seed(seed)
    crops = crops_in(train.images_rgb[0])
    begun = start_network(params, labels, start, crops)
    spec = ClassifierSpec(begun.config, labels, params.family, crops)
    scaled = [crops.at_side(spec.preprocessing.side_px) for crops in (train, val)]
    if params.head_start == "probe" and params.family != "clip" and not begun.from_scratch:
        start_at_probe(begun.module, spec.preprocessing, scaled[0], params.fit.class_weight_power)
    network = prepared(begun.module, params).to(training_device())
    trainable, total = parameter_counts(network)
    print(
        f"{len(train)} training and {len(val)} validation crops, {trainable / total:.2%} of {total} weights", flush=True
    )
    _claim(folder, params, labels, seed, (len(train), len(val)))
    lesson = None if params.distil is None or teacher is None else Lesson(params.distil, teacher, train)
    model = _beside_projection(network, lesson, spec)
    task = _task(params, labels, seed, model, lesson, scaled[0], scaled[1], spec)
    keep = {BEST: params.fit.epochs} | ({} if teach_epochs is None else {EARLY: teach_epochs})
    history = []
    if params.trains != "nothing":
        history = fit(model, task.as_task(), params.fit, seed=seed, folder=folder, keep=keep)

    finished, differences = {}, []
    for name in keep:
        if history:
            load_weights(folder / f"{name}.safetensors", model)
        finished[name], difference = _finished(network, spec, scaled[1])
        differences.append(difference)
    agreement, teacher_accuracy = _compared(finished[BEST], spec, teacher, val)
    seconds = load_seconds(folder)
    training_s = sum(epoch.training_s for epoch in seconds)
    return TrainedClassifier(
        model=finished[BEST],
        early=finished.get(EARLY),
        spec=spec,
        history=history,
        best_epoch=best_epoch(history, params.fit) if history else 0,
        trainable_share=trainable / total,
        parameters=total,
        train_s=training_s + sum(epoch.validation_s for epoch in seconds),
        images_per_s=len(train) * len(seconds) / training_s if history else None,
        from_scratch=begun.from_scratch,
        merge_difference=max(differences),
        agreement=agreement,
        teacher_accuracy=teacher_accuracy,
    )


def _refuse_other_teacher(params: ClassifierParams, labels: tuple[str, ...], teacher: Teacher | None) -> None:
    if (params.distil is None) != (teacher is None):
        expected = "no teacher" if params.distil is None else f"the teacher {params.distil.teacher}"
        raise ConfigError(f"distil: expected {expected}, found {'none' if teacher is None else 'one'}")
    if teacher is not None and teacher.spec.labels != labels:
        raise InputError(
            f"expected a teacher of {labels}, found one of {teacher.spec.labels}; train it on the same labels"
        )


def _tell_scarce(train: CropSet, labels: tuple[str, ...]) -> None:
    counts = np.bincount(train.classes, minlength=len(labels))
    for label, count in zip(labels, counts, strict=True):
        if count < SCARCE:
            print(f"{label}: {count} training crops, too few to learn from; review more of them", flush=True)


def prepared(module: nn.Module, params: ClassifierParams) -> nn.Module:
    """The network with its trained parameters, and no others, requiring gradients."""
    if params.trains == "lora" and params.lora is not None:
        return add_lora(module, params.lora)
    if params.trains == "nothing":
        return module.requires_grad_(False)
    if params.trains in ("head", "stages"):
        unfreeze(module, stages_of(params.family, module), params.stages)
    return module


def _claim(folder: Path, params: ClassifierParams, labels: tuple[str, ...], seed: int, crops: tuple[int, int]) -> None:
    """Marks a folder as this training's, so that no other goes on from its state."""
    run = {"labels": labels, "seed": seed, "train and validation crops": crops, "settings": dataclasses.asdict(params)}
    wanted = json.loads(json.dumps(run))
    path = folder / RUN_FILE
    if not path.exists():
        write_json(path, wanted)
        return
    found = json.loads(path.read_text())
    for name, value in wanted.items():
        if found.get(name) != value:
            raise InputError(
                f"{folder}: holds the state of a training with other {name}: expected {value}, found "
                f"{found.get(name)}; remove the folder, or train in another"
            )


def _beside_projection(network: nn.Module, lesson: Lesson | None, spec: ClassifierSpec) -> nn.Module:
    if lesson is None or not lesson.wants_features:
        return network
    device = next(network.parameters()).device
    network.eval()
    side_px = spec.preprocessing.side_px
    with torch.no_grad():
        features, _ = pooled_and_logits(network, torch.zeros(1, 3, spec.crops * side_px, side_px, device=device))
    return Student(network, features.shape[1], lesson.answers.features.shape[1]).to(device)


def _task(
    params: ClassifierParams,
    labels: tuple[str, ...],
    seed: int,
    model: nn.Module,
    lesson: Lesson | None,
    train: CropSet,
    val: CropSet,
    spec: ClassifierSpec,
) -> CropTask:
    task = CropTask(model, train, val, labels, spec.preprocessing, params.fit, params.augment, seed)
    if params.family == "clip":
        task = dataclasses.replace(task, hard_loss=prompt_contrast)
    if lesson is None or params.distil is None:
        return task
    return dataclasses.replace(
        task,
        soft_loss=lesson.soft_loss,
        soft_share=params.distil.soft_share,
        feature_loss=partial(lesson.feature_loss, model) if isinstance(model, Student) else None,
    )


def _finished(network: nn.Module, spec: ClassifierSpec, val: CropSet) -> tuple[nn.Module, float]:
    """A network built anew from the spec with the trained weights, merged; and by how much a logit differs."""
    trained = predict_logits(network, val.images_rgb, spec.preprocessing)  # V x K
    model = build_network(spec.family, spec.config, spec.labels, "the classifier's description", spec.crops)
    load_strictly(model, _merged(network), "the trained classifier")
    model = model.to(next(network.parameters()).device).eval()
    difference = float((predict_logits(model, val.images_rgb, spec.preprocessing) - trained).abs().max())
    if difference > MERGE_TOLERANCE:
        raise InputError(
            f"merged weights answer differently by {difference:.2e}, expected at most {MERGE_TOLERANCE:.0e}; "
            "the start's config.json does not describe its weights fully: use a plain timm network"
        )
    return model, difference


def _merged(network: Any) -> dict[str, torch.Tensor]:
    """The state without what is of use in training alone: low-rank updates, CLIP's text tower."""
    if isinstance(network, ClipPair):
        return network.merged()
    if hasattr(network, "merge_and_unload"):
        network = copy.deepcopy(network).merge_and_unload()
    return network.state_dict()


def _compared(
    model: nn.Module, spec: ClassifierSpec, teacher: Teacher | None, val: CropSet
) -> tuple[float | None, float | None]:
    """(agreement with the teacher, the teacher's accuracy) on the validation crops."""
    if teacher is None:
        return None, None
    own = predict_logits(model, val.at_side(spec.preprocessing.side_px).images_rgb, spec.preprocessing).argmax(dim=1)
    taught = answers_of(teacher, val).logits.argmax(dim=1)
    return float((own == taught).float().mean()), float((taught.numpy() == val.classes).mean())
