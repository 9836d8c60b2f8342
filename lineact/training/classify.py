"""Classification of crops as a task of the training loop, and the scores of its result."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.nn import functional

from lineact.errors import ConfigError
from lineact.foundation.weights import Preprocessing
from lineact.metrics import accuracy, confusion_matrix, macro_f1, recall_per_class
from lineact.training.augment import augment
from lineact.training.classifier import normalise, predict_logits, to_unit
from lineact.training.crops import CropSet, class_weights, epoch_order
from lineact.training.loop import Task, Validation, best_epoch
from lineact.training.report import write_plots
from lineact.training.settings import AugmentParams, FitParams
from lineact.training.state import EpochRecord

HardLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
SoftLoss = Callable[[torch.Tensor, np.ndarray, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Targets:
    """What a part of a batch should be taken for, with its weight in the batch's loss.

    Attributes:
        rows: of the training crops, B.
        classes: int64, B.
        weight_share: of the batch's class weights, those of this part; times the mixture's share.
        count_share: likewise, of the batch's crops.
    """

    rows: np.ndarray
    classes: torch.Tensor
    weight_share: float
    count_share: float


@dataclass(frozen=True)
class Part:
    """Crops of a batch that go through the network together.

    Attributes:
        images: varied, B x 3 x S x S, 0 to 1.
        targets: one; two of mixed crops.
    """

    images: torch.Tensor
    targets: tuple[Targets, ...]


@dataclass(frozen=True)
class CropTask:
    """Cross-entropy on varied crops, optionally mixed with further losses.

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
        hard_loss: (logits B x K, classes B, class weights K) -> scalar; None for cross-entropy.
        feature_loss: (pooled features B x width, rows, varied images) -> scalar that is added; the model must then
            have a method `pooled_and_logits`.
    """

    model: torch.nn.Module
    train: CropSet
    val: CropSet
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    fit: FitParams
    augment: AugmentParams
    seed: int
    soft_loss: SoftLoss | None = None
    soft_share: float = 0.0
    hard_loss: HardLoss | None = None
    feature_loss: SoftLoss | None = None

    def as_task(self) -> Task:
        """The four things that the loop asks for.

        Raises:
            ConfigError: where `augment.sided` names an action that is none of the labels.
        """
        unknown = sorted(set(self.augment.sided) - set(self.labels))
        if unknown:
            raise ConfigError(
                f"augment.sided: expected some of {', '.join(self.labels)}, found {', '.join(map(repr, unknown))}"
            )
        steps = math.ceil(len(self.train) / self.fit.batch_size)
        return Task(self._part_loss, self._batches, steps, self._validate)

    @cached_property
    def _weights(self) -> np.ndarray:
        return class_weights(self.train.classes, len(self.labels), self.fit.class_weight_power)

    @cached_property
    def _sided(self) -> torch.Tensor:
        """bool, N: training crops that are never mirrored."""
        sided = [self.labels.index(action) for action in self.augment.sided]
        return torch.from_numpy(np.isin(self.train.classes, sided))

    def _batches(self, epoch: int) -> Iterator[list[Part]]:
        device = next(self.model.parameters()).device
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        mixing = np.random.default_rng((self.seed, epoch, 1))  # 1: other numbers than the order's
        for rows in epoch_order(len(self.train), self.fit.batch_size, self.seed, epoch):
            images = to_unit(self.train.images_rgb[rows], device)  # B x 3 x S x S
            images = augment(images, self.augment, generator, self._sided[rows].to(device))
            if self.augment.mixup == 0:
                yield self._parts(images, [(rows, 1.0)])
                continue
            share, order = float(mixing.beta(self.augment.mixup, self.augment.mixup)), mixing.permutation(len(rows))
            images = share * images + (1 - share) * images[torch.from_numpy(order).to(device)]
            yield self._parts(images, [(rows, share), (rows[order], 1 - share)])

    def _parts(self, images: torch.Tensor, mixture: list[tuple[np.ndarray, float]]) -> list[Part]:
        """A batch in shares of `crops_at_once`, whose losses sum up to that of the whole batch."""
        count = math.ceil(len(images) / (self.fit.crops_at_once or len(images)))
        # Of nearly the same size: BatchNorm cannot do with a single crop that is left over.
        ends = [len(images) * number // count for number in range(count + 1)]
        return [
            Part(
                images[start:end],
                tuple(self._targets(rows, slice(start, end), share, images.device) for rows, share in mixture),
            )
            for start, end in itertools.pairwise(ends)
        ]

    def _targets(self, rows: np.ndarray, part: slice, share: float, device: torch.device) -> Targets:
        weights = self._weights[self.train.classes[rows]].astype(np.float64)
        classes = torch.from_numpy(self.train.classes[rows[part]]).to(device)
        count_share = len(classes) / len(rows)
        return Targets(rows[part], classes, share * float(weights[part].sum() / weights.sum()), share * count_share)

    def _part_loss(self, part: Part) -> torch.Tensor:
        images = normalise(part.images, self.preprocessing)
        if self.feature_loss is None:
            logits, features = self.model(images), None
        else:
            features, logits = cast(Any, self.model).pooled_and_logits(images)  # B x width, B x K
        loss = self._loss(logits, features, part.images, part.targets[0])
        for targets in part.targets[1:]:
            loss = loss + self._loss(logits, features, part.images, targets)
        return loss

    def _loss(
        self, logits: torch.Tensor, features: torch.Tensor | None, images: torch.Tensor, targets: Targets
    ) -> torch.Tensor:
        loss = targets.weight_share * self._hard(logits, targets.classes)
        if self.soft_loss is not None:
            soft = targets.count_share * self.soft_loss(logits, targets.rows, images)
            loss = self.soft_share * soft + (1 - self.soft_share) * loss
        if self.feature_loss is not None and features is not None:
            loss = loss + targets.count_share * self.feature_loss(features, targets.rows, images)
        return loss

    def _hard(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        weights = torch.from_numpy(self._weights).to(logits.device)
        if self.hard_loss is not None:
            return self.hard_loss(logits, classes, weights)
        return functional.cross_entropy(logits, classes, weight=weights, label_smoothing=self.fit.label_smoothing)

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
