"""Classification of crops as a task of the training loop, and the scores of its result."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from lineact.foundation.weights import Preprocessing
from lineact.metrics import accuracy, confusion_matrix, macro_f1, recall_per_class
from lineact.training.augment import augment
from lineact.training.classifier import normalise, predict_logits, to_unit
from lineact.training.crops import CropSet, class_weights, epoch_order
from lineact.training.loop import Task, Validation, best_epoch
from lineact.training.report import write_plots
from lineact.training.settings import AugmentParams, FitParams
from lineact.training.state import EpochRecord

Batch = tuple[np.ndarray, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class CropTask:
    """Cross-entropy on varied crops, optionally mixed with a further loss.

    Attributes:
        model: B x 3 x S x S -> B x K logits.
        train: training crops.
        val: validation crops.
        labels: class names.
        preprocessing: of the model.
        fit: for batch size, smoothing and class weights.
        augment: variation of the training crops.
        seed: of order and variation.
        soft_loss: (student logits B x K, rows of the training crops B, varied images B x 3 x S x S, 0 to 1) -> scalar.
        soft_share: alpha of alpha * soft + (1 - alpha) * hard, 0 to 1.
    """

    model: torch.nn.Module
    train: CropSet
    val: CropSet
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    fit: FitParams
    augment: AugmentParams
    seed: int
    soft_loss: Callable[[torch.Tensor, np.ndarray, torch.Tensor], torch.Tensor] | None = None
    soft_share: float = 0.0

    def as_task(self) -> Task:
        """The four things that the loop asks for."""
        steps = math.ceil(len(self.train) / self.fit.batch_size)
        return Task(self._batch_loss, self._batches, steps, self._validate)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        device = next(self.model.parameters()).device
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        for rows in epoch_order(len(self.train), self.fit.batch_size, self.seed, epoch):
            images = to_unit(self.train.images_rgb[rows], device)  # B x 3 x S x S
            classes = torch.from_numpy(self.train.classes[rows]).to(device)  # B
            yield rows, augment(images, self.augment, generator), classes

    def _batch_loss(self, batch: Batch) -> torch.Tensor:
        rows, images, classes = batch
        logits = self.model(normalise(images, self.preprocessing))  # B x K
        weights = class_weights(self.train.classes, len(self.labels), self.fit.class_weight_power)
        hard = functional.cross_entropy(
            logits,
            classes,
            weight=torch.from_numpy(weights).to(logits.device),
            label_smoothing=self.fit.label_smoothing,
        )
        if self.soft_loss is None:
            return hard
        return self.soft_share * self.soft_loss(logits, rows, images) + (1 - self.soft_share) * hard

    def _validate(self) -> Validation:
        logits = predict_logits(self.model, self.val.images_rgb, self.preprocessing)  # V x K
        loss = float(functional.cross_entropy(logits, torch.from_numpy(self.val.classes)))
        confusion = confusion_matrix(self.val.classes, logits.argmax(dim=1).numpy(), len(self.labels))
        return Validation(loss, accuracy(confusion) or 0.0, macro_f1(confusion) or 0.0)


def score_and_plot(
    folder: Path,
    history: list[EpochRecord],
    fit: FitParams,
    logits: torch.Tensor,
    classes: np.ndarray,
    labels: tuple[str, ...],
) -> dict[str, float | int | None]:
    """Draws the plots and returns the metrics of the best epoch.

    Args:
        folder: the stage's folder; plots go into its `plots`.
        history: of the loop.
        fit: for which epoch counts as the best.
        logits: V x K, of the best epoch's weights on the validation crops.
        classes: int64, V.
        labels: class names.
    """
    predicted = logits.argmax(dim=1).numpy()
    write_plots(folder / "plots", history, classes, predicted, labels)
    confusion = confusion_matrix(classes, predicted, len(labels))
    recalls = recall_per_class(confusion)
    majority = np.bincount(classes, minlength=len(labels)).max() / len(classes)
    return {
        "val_accuracy": accuracy(confusion),
        "val_macro_f1": macro_f1(confusion),
        "val_majority_accuracy": float(majority),
        **{
            f"val_recall_{label}": None if np.isnan(recall) else float(recall)
            for label, recall in zip(labels, recalls, strict=True)
        },
        "epochs": len(history),
        "best_epoch": best_epoch(history, fit),
    }
