"""The student: a small ViT that learns from the teacher's soft answers and from the labels (Hinton et al.; LRIAR)."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lineact.classifiers.settings import ClassifierParams, DistillationParams
from lineact.errors import InputError
from lineact.files import cache_folder, sha256_of_file, write_metrics
from lineact.training.settings import ClassifierTrainingParams
from lineact.training.start import start_key, start_of

CODE_VERSION = 3  # raise it where a change of the code changes the weights: older checkpoints are then left alone
TEACHER = "teacher_early"  # the papers let the best of the first five epochs teach


@dataclass(frozen=True)
class DistilParams(ClassifierTrainingParams):
    """Settings of the stage `distil`, beside those that it shares with `train_teacher`.

    Attributes:
        student: "fixed" trains the start as the other settings say, "auto" the one that `choose_student` took.
        depth: number of transformer blocks; null takes the start's.
        teacher_temperature: divides the teacher's logits alone; below 1 sharpens them.
        student_temperature: divides the student's logits in the soft loss.
        soft_share: alpha of alpha * soft loss + (1 - alpha) * cross-entropy with the labels, 0 to 1.
        feature_share: weight of the distance of pooled features, added to that; 0 leaves it out.
        relation_share: weight of the relations between crops, likewise.
        teacher_sees: "clean" asks the teacher once per crop, "augmented" again for each varied crop (slower).
    """

    student: Literal["fixed", "auto"]
    depth: int | None
    teacher_temperature: float
    student_temperature: float
    soft_share: float
    feature_share: float
    relation_share: float
    teacher_sees: Literal["clean", "augmented"]

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.classifier  # refuses what it cannot be

    @property
    def classifier(self) -> ClassifierParams:
        """The student as any other classifier."""
        return ClassifierParams(
            family="vit",
            foundation=self.foundation,
            tiny=None,
            hub_model=self.hub_model,
            hub_revision=self.hub_revision,
            trains="all",
            stages=(),
            depth=self.depth,
            side_px=self.side_px,
            head_start=self.head_start,
            lora=None,
            distil=DistillationParams(
                teacher=TEACHER,
                teacher_temperature=self.teacher_temperature,
                student_temperature=self.student_temperature,
                soft_share=self.soft_share,
                feature_share=self.feature_share,
                relation_share=self.relation_share,
                teach_epochs=1,  # train_teacher chose it
                teacher_sees=self.teacher_sees,
            ),
            prompts={},
            fit=self.fit,
            augment=self.augment,
        )


def distil(params: DistilParams, crops: Path, teacher: Path, chosen: Path, tiny: Path, out: Path) -> None:
    """Trains the student.

    Args:
        params: the settings.
        crops: LABELLED_CROPS table with both splits.
        teacher: folder of the stage `train_teacher`.
        chosen: start of the stage `choose_student`, used where `params.student` is "auto".
        tiny: folder of the embedded start, used where it is "fixed" and `params.foundation` is "tiny".
        out: gets student.safetensors and .json, metrics.json and plots/.

    Raises:
        InputError: on crops, teacher or weights that cannot be used.
        TrainingDivergedError: where the loss is no longer finite.
    """
    if params.student == "auto":
        train_from(chosen, params, crops, teacher, out)
    else:
        _train_once(params, crops, teacher, start_of(params.foundation, params.hub_model, tiny), out)


def train_from(start: Path, params: DistilParams, crops: Path, teacher: Path, out: Path) -> None:
    """Trains a student from a folder of its own; the same folder again only copies.

    Args:
        start: in timm's hub layout, with as many blocks as the student is to have.
        params: the settings but those of the start.
        crops: see `distil`.
        teacher: see `distil`.
        out: see `distil`.

    Raises:
        InputError: see `distil`.
        TrainingDivergedError: see `distil`.
    """
    # As an embedded start: the folder's bytes and nothing else tell this training from others, wherever it lies.
    local = dataclasses.replace(params, foundation="tiny", depth=None, side_px=None)
    _train_once(local, crops, teacher, str(start), out)


def _train_once(params: DistilParams, crops: Path, teacher: Path, start: str, out: Path) -> None:
    from lineact.training.state import finish_once

    settings = dataclasses.asdict(params)
    del settings["student"]  # how the start was come by does not change what is trained from it
    key = {
        "code": CODE_VERSION,
        "params": settings,
        "crops": sha256_of_file(crops),
        "teacher": [_hash_or_refuse(teacher / f"{TEACHER}{suffix}") for suffix in (".safetensors", ".json")],
        "start": start_key(start, params.revision),
    }
    folder = cache_folder("distil", key)
    finish_once(folder, out, lambda finished: _train(params, crops, teacher, start, folder, finished))


def _train(params: DistilParams, crops: Path, teacher: Path, start: str, folder: Path, finished: Path) -> None:
    from lineact.classifiers.context import network_of_crop
    from lineact.classifiers.distillation import Teacher
    from lineact.classifiers.train import train_classifier
    from lineact.foundation.timm_config import preprocessing_of
    from lineact.foundation.weights import read_config
    from lineact.training.classifier import load_classifier, predict_logits, save_classifier
    from lineact.training.classify import score_and_plot
    from lineact.training.crops import load_splits

    labels = params.labels
    model, spec = load_classifier(teacher, TEACHER)
    if spec.labels != labels:
        raise InputError(f"{teacher}: expected a teacher of {labels}, found {spec.labels}; run `dvc repro`")
    side_px = params.side_px or preprocessing_of(read_config(start, params.revision), start).side_px
    # Where their inputs differ, both see crops scaled from those of the larger.
    train, val = load_splits(crops, labels, max(side_px, spec.preprocessing.side_px), params.split_gap_s)
    trained = train_classifier(params.classifier, labels, params.seed, train, val, start, Teacher(model, spec), folder)
    save_classifier(finished, "student", trained.model, trained.spec)
    logits = predict_logits(trained.model, val.at_side(side_px).images_rgb, trained.preprocessing)  # V x K
    metrics = score_and_plot(finished, trained.history, params.fit, logits, val.classes, labels)
    write_metrics(
        finished,
        metrics
        | {
            "teacher_val_accuracy": trained.teacher_accuracy,
            "agreement_with_teacher": trained.agreement,
            "trainable_share": trained.trainable_share,
            "parameters": trained.parameters,
            "depth": len(network_of_crop(trained.model).blocks),
            "train_crops": len(train),
            "val_crops": len(val),
        },
    )


def _hash_or_refuse(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: expected the teacher of the stage train_teacher, found nothing; run `dvc repro`")
    return sha256_of_file(path)
