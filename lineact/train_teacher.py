"""The teacher: a large ViT adapted to the line's actions by low-rank updates (LoRA), h = W0 x + B A x (LRIAR).

The head is trained jointly. For export the updates are merged into W0.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineact.errors import InputError
from lineact.files import cache_folder, sha256_of_file, write_metrics
from lineact.training.settings import ClassifierTrainingParams
from lineact.training.start import start_key, start_of

if TYPE_CHECKING:
    from peft import PeftModel

CODE_VERSION = 2  # raise it where a change of the code changes the weights: older checkpoints are then left alone
LORA_TARGETS = r"blocks\.\d+\.attn\.(qkv|proj)"  # timm's ViTs have one fused qkv
MERGE_TOLERANCE = 1e-4  # greatest difference of a logit between merged and unmerged weights


@dataclass(frozen=True)
class TrainTeacherParams(ClassifierTrainingParams):
    """Settings of the stage `train_teacher`, beside those that it shares with `distil`.

    Attributes:
        lora_r: rank of the updates; lora_alpha is the same, so that h = W0 x + B A x.
        lora_dropout: share of the updates' input that is dropped, 0 to below 1.
        teach_epochs: the best of the first so many epochs teaches the student.
    """

    lora_r: int
    lora_dropout: float
    teach_epochs: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lora_r < 1 or self.teach_epochs < 1 or not 0 <= self.lora_dropout < 1:
            raise ValueError("lora_r and teach_epochs must be at least 1, lora_dropout 0 to below 1")


def train_teacher(params: TrainTeacherParams, crops: Path, tiny: Path, out: Path) -> None:
    """Trains the teacher and writes it merged.

    Args:
        params: the settings.
        crops: LABELLED_CROPS table with both splits.
        tiny: folder of the embedded start, used where `params.foundation` is "tiny".
        out: gets teacher.safetensors and .json (best epoch), teacher_early.safetensors and .json (best of the first
            `teach_epochs`), metrics.json and plots/.

    Raises:
        InputError: on crops or weights that cannot be used.
        TrainingDivergedError: where the loss is no longer finite.
    """
    from lineact.training.state import finish_once

    start = start_of(params.foundation, params.hub_model, tiny)
    key = {
        "code": CODE_VERSION,
        "params": dataclasses.asdict(params),
        "crops": sha256_of_file(crops),
        "start": start_key(start, params.revision),
    }
    folder = cache_folder("train_teacher", key)
    finish_once(folder, out, lambda finished: _train(params, crops, start, folder, finished))


def _train(params: TrainTeacherParams, crops: Path, start: str, folder: Path, finished: Path) -> None:
    import torch

    from lineact.foundation.vit import load_vit
    from lineact.foundation.weights import read_config
    from lineact.training.classifier import ClassifierSpec, predict_logits, training_device
    from lineact.training.classify import CropTask, score_and_plot
    from lineact.training.crops import load_splits
    from lineact.training.loop import fit
    from lineact.training.state import load_weights

    labels = params.labels
    torch.manual_seed(params.seed)
    vit, preprocessing = load_vit(start, params.revision, class_count=len(labels))
    train, val = load_splits(crops, labels, preprocessing.side_px, params.split_gap_s)
    model = add_lora(vit, params).to(training_device())
    trainable, total = _parameter_counts(model)
    print(
        f"{len(train)} training and {len(val)} validation crops, {trainable / total:.2%} of {total} weights", flush=True
    )

    task = CropTask(model, train, val, labels, preprocessing, params.fit, params.augment, params.seed)
    keep = {"teacher": params.fit.epochs, "teacher_early": params.teach_epochs}
    history = fit(model, task.as_task(), params.fit, seed=params.seed, folder=folder, keep=keep)

    spec = ClassifierSpec(read_config(start, params.revision), labels)
    differences = []
    for name in ("teacher_early", "teacher"):
        load_weights(folder / f"{name}.safetensors", model)
        unmerged = predict_logits(model, val.images_rgb, preprocessing)  # V x K
        differences.append(_save_merged(model, spec, name, finished, val.images_rgb, unmerged))
    metrics = score_and_plot(finished, history, params.fit, unmerged, val.classes, labels)
    early = history[: params.teach_epochs]
    write_metrics(
        finished,
        metrics
        | {
            "early_val_macro_f1": max(record.val_macro_f1 for record in early),
            "trainable_share": trainable / total,
            "parameters": total,
            "merge_difference": max(differences),
            "train_crops": len(train),
            "val_crops": len(val),
            "classes_without_train_crops": len(labels) - len(set(train.classes.tolist())),
        },
    )


def add_lora(vit: Any, params: TrainTeacherParams) -> "PeftModel":
    """Freezes a ViT and adds low-rank updates to its attention; the head stays trainable as a whole."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=params.lora_r,
        lora_alpha=params.lora_r,
        lora_dropout=params.lora_dropout,
        target_modules=LORA_TARGETS,
        modules_to_save=["head"],
        bias="none",
    )
    return get_peft_model(vit, config)


def _save_merged(model: Any, spec: Any, name: str, finished: Path, images_rgb: Any, unmerged: Any) -> float:
    """Writes W0 + B A and checks what was written; returns the greatest difference of a logit."""
    import copy

    from lineact.training.classifier import load_classifier, predict_logits, save_classifier

    save_classifier(finished, name, copy.deepcopy(model).merge_and_unload(), spec)
    read_back, _ = load_classifier(finished, name)
    device = next(model.parameters()).device
    merged = predict_logits(read_back.to(device), images_rgb, spec.preprocessing)
    difference = float((merged - unmerged).abs().max())
    if difference > MERGE_TOLERANCE:
        raise InputError(
            f"{name}: merged weights answer differently by {difference:.2e}, expected at most {MERGE_TOLERANCE:.0e}; "
            "the start's config.json does not describe its weights fully: use a plain timm ViT"
        )
    return difference


def _parameter_counts(model: Any) -> tuple[int, int]:
    """(trainable, all) parameters, LoRA and head included; peft's frozen copy of the head is not counted."""
    named = [(name, value) for name, value in model.named_parameters() if ".original_module." not in name]
    return sum(value.numel() for _, value in named if value.requires_grad), sum(value.numel() for _, value in named)
