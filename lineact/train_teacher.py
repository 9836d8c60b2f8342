"""The teacher: a large ViT adapted to the line's actions by low-rank updates (LoRA), h = W0 x + B A x (LRIAR).

The head is trained jointly. For export the updates are merged into W0.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from lineact.classifiers.settings import ClassifierParams, LoraParams, LoraTarget
from lineact.files import cache_folder, sha256_of_file, write_metrics
from lineact.training.settings import ClassifierTrainingParams
from lineact.training.start import start_key, start_of

CODE_VERSION = 3  # raise it where a change of the code changes the weights: older checkpoints are then left alone


@dataclass(frozen=True)
class TrainTeacherParams(ClassifierTrainingParams):
    """Settings of the stage `train_teacher`, beside those that it shares with `distil`.

    Attributes:
        lora_r: rank of the updates; lora_alpha is the same, so that h = W0 x + B A x.
        lora_dropout: share of the updates' input that is dropped, 0 to below 1.
        lora_targets: which linear layers of each block get an update.
        lora_head: whether the head is trained with them.
        teach_epochs: the best of the first so many epochs teaches the student.
    """

    lora_r: int
    lora_dropout: float
    lora_targets: tuple[LoraTarget, ...]
    lora_head: bool
    teach_epochs: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lora_r < 1 or self.teach_epochs < 1 or not 0 <= self.lora_dropout < 1:
            raise ValueError("lora_r and teach_epochs must be at least 1, lora_dropout 0 to below 1")
        _ = self.classifier  # refuses what it cannot be

    @property
    def classifier(self) -> ClassifierParams:
        """The teacher as any other classifier."""
        return ClassifierParams(
            family="vit",
            foundation=self.foundation,
            tiny=None,
            hub_model=self.hub_model,
            hub_revision=self.hub_revision,
            trains="lora",
            stages=(),
            depth=None,
            side_px=self.side_px,
            head_start=self.head_start,
            lora=LoraParams(self.lora_r, self.lora_dropout, self.lora_targets, self.lora_head),
            distil=None,
            prompts={},
            fit=self.fit,
            augment=self.augment,
        )


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
    from lineact.classifiers.train import train_classifier
    from lineact.foundation.timm_config import preprocessing_of
    from lineact.foundation.weights import read_config
    from lineact.training.classifier import predict_logits, save_classifier
    from lineact.training.classify import score_and_plot
    from lineact.training.crops import load_splits

    labels = params.labels
    side_px = params.side_px or preprocessing_of(read_config(start, params.revision), start).side_px
    train, val = load_splits(crops, labels, side_px, params.split_gap_s)
    trained = train_classifier(
        params.classifier, labels, params.seed, train, val, start, None, folder, teach_epochs=params.teach_epochs
    )
    save_classifier(finished, "teacher", trained.model, trained.spec)
    save_classifier(finished, "teacher_early", trained.as_teacher.model, trained.spec)
    logits = predict_logits(trained.model, val.images_rgb, trained.preprocessing)  # V x K
    metrics = score_and_plot(finished, trained.history, params.fit, logits, val.classes, labels)
    early = trained.history[: params.teach_epochs]
    write_metrics(
        finished,
        metrics
        | {
            "early_val_macro_f1": max(record.val_macro_f1 for record in early),
            "trainable_share": trained.trainable_share,
            "parameters": trained.parameters,
            "merge_difference": trained.merge_difference,
            "train_crops": len(train),
            "val_crops": len(val),
            "classes_without_train_crops": len(labels) - len(set(train.classes.tolist())),
        },
    )
