"""The student: a small ViT that learns from the teacher's soft answers and from the labels (Hinton et al.; LRIAR)."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lineact.errors import InputError
from lineact.files import cache_folder, sha256_of_file, write_metrics
from lineact.training.settings import ClassifierTrainingParams
from lineact.training.start import start_key, start_of

if TYPE_CHECKING:
    import torch

CODE_VERSION = 2  # raise it where a change of the code changes the weights: older checkpoints are then left alone
TEACHER = "teacher_early"  # the papers let the best of the first five epochs teach


@dataclass(frozen=True)
class DistilParams(ClassifierTrainingParams):
    """Settings of the stage `distil`, beside those that it shares with `train_teacher`.

    Attributes:
        depth: number of transformer blocks; null takes the start's.
        teacher_temperature: divides the teacher's logits alone; below 1 sharpens them.
        student_temperature: divides the student's logits in the soft loss.
        soft_share: alpha of alpha * soft loss + (1 - alpha) * cross-entropy with the labels, 0 to 1.
        teacher_sees: "clean" asks the teacher once per crop, "augmented" again for each varied crop (slower).
    """

    depth: int | None
    teacher_temperature: float
    student_temperature: float
    soft_share: float
    teacher_sees: Literal["clean", "augmented"]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.teacher_temperature > 0 and self.student_temperature > 0):
            raise ValueError("teacher_temperature and student_temperature must be above 0")
        if not 0 <= self.soft_share <= 1 or (self.depth is not None and self.depth < 1):
            raise ValueError("soft_share must be 0 to 1, depth null or at least 1")


def distil(params: DistilParams, crops: Path, teacher: Path, tiny: Path, out: Path) -> None:
    """Trains the student.

    Args:
        params: the settings.
        crops: LABELLED_CROPS table with both splits.
        teacher: folder of the stage `train_teacher`.
        tiny: folder of the embedded start, used where `params.foundation` is "tiny".
        out: gets student.safetensors and .json, metrics.json and plots/.

    Raises:
        InputError: on crops, teacher or weights that cannot be used.
        TrainingDivergedError: where the loss is no longer finite.
    """
    from lineact.training.state import finish_once

    start = start_of(params.foundation, params.hub_model, tiny)
    key = {
        "code": CODE_VERSION,
        "params": dataclasses.asdict(params),
        "crops": sha256_of_file(crops),
        "teacher": [_hash_or_refuse(teacher / f"{TEACHER}{suffix}") for suffix in (".safetensors", ".json")],
        "start": start_key(start, params.revision),
    }
    folder = cache_folder("distil", key)
    finish_once(folder, out, lambda finished: _train(params, crops, teacher, start, folder, finished))


def soft_cross_entropy(
    student_logits: "torch.Tensor",
    teacher_logits: "torch.Tensor",
    student_temperature: float,
    teacher_temperature: float,
) -> "torch.Tensor":
    """Cross-entropy of the student's answer with the teacher's: -mean_b sum_k q_bk log p_bk.

    q = softmax(teacher / T_t), p = softmax(student / T_s). There is no factor T^2: the temperatures are independent and
    the share of this loss is a setting.

    Args:
        student_logits: B x K.
        teacher_logits: B x K, without graph.
        student_temperature: T_s, above 0.
        teacher_temperature: T_t, above 0; 0.07 nearly makes them one-hot.

    Returns:
        Scalar.
    """
    targets = (teacher_logits / teacher_temperature).softmax(dim=1)  # B x K
    return -(targets * (student_logits / student_temperature).log_softmax(dim=1)).sum(dim=1).mean()


def _train(params: DistilParams, crops: Path, teacher: Path, start: str, folder: Path, finished: Path) -> None:
    import numpy as np
    import torch

    from lineact.foundation.vit import load_vit
    from lineact.foundation.weights import read_config
    from lineact.training.classifier import (
        ClassifierSpec,
        load_classifier,
        normalise,
        predict_logits,
        save_classifier,
        training_device,
    )
    from lineact.training.classify import CropTask, score_and_plot
    from lineact.training.crops import load_splits
    from lineact.training.loop import fit
    from lineact.training.state import load_weights

    labels, device = params.labels, training_device()
    teacher_model, teacher_spec = load_classifier(teacher, TEACHER)
    if teacher_spec.labels != labels:
        raise InputError(f"{teacher}: expected a teacher of {labels}, found {teacher_spec.labels}; run `dvc repro`")
    teacher_model, taught_side_px = teacher_model.to(device), teacher_spec.preprocessing.side_px
    torch.manual_seed(params.seed)
    student, preprocessing = load_vit(start, params.revision, class_count=len(labels), depth=params.depth)
    student = student.to(device)
    train, val = load_splits(crops, labels, preprocessing.side_px, params.split_gap_s)
    shown, shown_val = (
        (train, val)
        if taught_side_px == preprocessing.side_px
        else load_splits(crops, labels, taught_side_px, params.split_gap_s)
    )
    answers = predict_logits(teacher_model, shown.images_rgb, teacher_spec.preprocessing)  # N x K
    val_answers = predict_logits(teacher_model, shown_val.images_rgb, teacher_spec.preprocessing)  # V x K
    print(f"{len(train)} training and {len(val)} validation crops, answered by the teacher", flush=True)

    def soft_loss(logits: torch.Tensor, rows: np.ndarray, images: torch.Tensor) -> torch.Tensor:
        if params.teacher_sees == "clean":
            asked = answers[torch.from_numpy(rows)].to(logits.device)
        else:
            size = (taught_side_px, taught_side_px)
            resized = torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
            with torch.no_grad():
                asked = teacher_model(normalise(resized, teacher_spec.preprocessing))
        return soft_cross_entropy(logits, asked, params.student_temperature, params.teacher_temperature)

    task = CropTask(
        student,
        train,
        val,
        labels,
        preprocessing,
        params.fit,
        params.augment,
        params.seed,
        soft_loss,
        params.soft_share,
    )
    history = fit(
        student, task.as_task(), params.fit, seed=params.seed, folder=folder, keep={"student": params.fit.epochs}
    )

    load_weights(folder / "student.safetensors", student)
    config = read_config(start, params.revision)
    config["model_args"] = dict(config.get("model_args", {})) | {"depth": len(student.blocks)}
    save_classifier(finished, "student", student, ClassifierSpec(config, labels))
    logits = predict_logits(student, val.images_rgb, preprocessing)  # V x K
    metrics = score_and_plot(finished, history, params.fit, logits, val.classes, labels)
    agreement = (logits.argmax(dim=1) == val_answers.argmax(dim=1)).float().mean()
    taught_right = val_answers.argmax(dim=1).numpy() == val.classes
    write_metrics(
        finished,
        metrics
        | {
            "teacher_val_accuracy": float(taught_right.mean()),
            "agreement_with_teacher": float(agreement),
            "trainable_share": 1.0,
            "parameters": sum(value.numel() for value in student.parameters()),
            "depth": len(student.blocks),
            "train_crops": len(train),
            "val_crops": len(val),
        },
    )


def _hash_or_refuse(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: expected the teacher of the stage train_teacher, found nothing; run `dvc repro`")
    return sha256_of_file(path)
