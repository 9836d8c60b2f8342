"""Trains SPOT on videos of which only some have labels, with the one training loop."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from lineact.temporal.features import ClipParams
from lineact.temporal.features.opening import ExtractorParams
from lineact.temporal.heads import DecodeParams
from lineact.temporal.parts import Example
from lineact.temporal.spec import learnt_spec
from lineact.temporal.spot import SpotParams
from lineact.temporal.spot.cells import Truth, truth_of
from lineact.temporal.spot.localizer import SpotLocalizer
from lineact.temporal.spot.losses import class_loss, mask_loss, pretraining_mask_loss
from lineact.temporal.spot.network import Spot
from lineact.temporal.training import KEPT, agreement, check_examples
from lineact.training.loop import Task, Validation, fit
from lineact.training.settings import FitParams
from lineact.training.state import EpochRecord, load_weights

CROPS, LEAST_CROP, MOST_CROP = 2, 0.02, 0.4  # of a video in pretraining: how many are left, and their share of its time
DROPPED = 0.1  # share of the rows' numbers that are left out where a video is varied
IN_MASK = 0.5


@dataclass(frozen=True)
class SpotTraining:
    """How SPOT is trained.

    Attributes:
        spot: the network and its schedule.
        decode: what becomes of its answers.
        fit: the loop; `epochs` are those of the schedule, and a batch is of so many labelled and unlabelled videos.
        noise: standard deviation of what is added to each number, in standard deviations of it.
        seed: of weights, order, crops and noise.
    """

    spot: SpotParams
    decode: DecodeParams
    fit: FitParams
    noise: float
    seed: int

    def __post_init__(self) -> None:
        wanted = len(self.spot.pretrains)
        if self.fit.epochs != wanted:
            raise ValueError(f"fit.epochs must be pretrain_epochs + train_epochs, {wanted}, found {self.fit.epochs}")


def train_spot(
    params: SpotTraining,
    labels: tuple[str, ...],
    extractor: ExtractorParams,
    clips: ClipParams,
    train: Sequence[Example],
    unlabelled: Sequence[Example],
    val: Sequence[Example],
    folder: Path,
) -> tuple[SpotLocalizer, list[EpochRecord]]:
    """Trains; a killed training goes on from its last epoch in `folder`.

    Args:
        params: the settings.
        labels: actions to find.
        extractor: what made the features.
        clips: how they were cut.
        train: videos that teach with their segments.
        unlabelled: videos that teach without; their truth is not looked at.
        val: videos that choose the epoch.
        folder: of the training's state.

    Returns:
        The localiser of the best epoch, and a record per epoch; its accuracy and F1 are of rows with one label each.

    Raises:
        InputError: where there is nothing to learn, or segments that cannot be.
    """
    check_examples(labels, train, val)
    seen = [one.features for one in (*train, *unlabelled)]
    spec = learnt_spec(labels, extractor, clips, params.spot, params.decode, seen)
    torch.manual_seed(params.seed)
    localizer = SpotLocalizer(spec, Spot(params.spot, spec.inputs, len(labels)))
    task = _Teaching(params, localizer, train, unlabelled, val).task()
    history = fit(localizer.network, task, params.fit, seed=params.seed, folder=folder, keep={KEPT: params.fit.epochs})
    load_weights(folder / f"{KEPT}.safetensors", localizer.network)
    localizer.network.eval()
    return localizer, history


@dataclass(frozen=True)
class _Part:
    """Videos of a step, by their numbers among the labelled and among the unlabelled ones.

    Attributes:
        pretrains: whether labels are left aside.
        labelled: numbers.
        unlabelled: numbers.
        weight: of what the unlabelled ones teach, 0 to 1.
    """

    pretrains: bool
    labelled: list[int]
    unlabelled: list[int]
    weight: float


class _Teaching:
    """The loop's task: batches of videos, their loss, and the validation."""

    def __init__(
        self,
        params: SpotTraining,
        localizer: SpotLocalizer,
        train: Sequence[Example],
        unlabelled: Sequence[Example],
        val: Sequence[Example],
    ) -> None:
        self._params, self._localizer, self._val = params, localizer, val
        self._labelled = torch.stack([localizer.cells(one.features.values) for one in train])
        self._truths = [self._truth(one) for one in train]
        cells = [localizer.cells(one.features.values) for one in unlabelled]
        self._unlabelled = torch.stack(cells) if cells else self._labelled[:0]

    def task(self) -> Task:
        most = max(len(self._labelled), len(self._unlabelled))
        return Task(self._loss, self._batches, -(-most // self._params.fit.batch_size), self._validate)

    def _truth(self, example: Example) -> Truth:
        labels, scale = self._localizer.spec.labels, self._params.spot.scale
        return truth_of(example.features, example.truth, labels, scale)

    def _batches(self, epoch: int) -> Iterator[list[_Part]]:
        generator = np.random.default_rng((self._params.seed, epoch))
        steps, size, schedule = self.task().steps_per_epoch, self._params.fit.batch_size, self._params.spot.pretrains
        trained = sum(not pretrains for pretrains in schedule[:epoch])
        weight = math.exp(-5 * (1 - min(trained / self._params.spot.ramp_epochs, 1)) ** 2)  # Laine and Aila 2017
        labelled, unlabelled = (
            _dealt(len(videos), steps, size, generator) for videos in (self._labelled, self._unlabelled)
        )
        for some, others in zip(labelled, unlabelled, strict=True):
            yield [_Part(schedule[epoch], some, others, weight)]

    def _loss(self, part: _Part) -> torch.Tensor:
        if part.pretrains:
            return self._pretraining_loss(torch.cat([self._labelled[part.labelled], self._unlabelled[part.unlabelled]]))
        loss = self._supervised_loss(
            self._varied(self._labelled[part.labelled]), [self._truths[n] for n in part.labelled]
        )
        if part.unlabelled:
            loss = loss + part.weight * self._unsupervised_loss(self._unlabelled[part.unlabelled])
        return loss

    def _varied(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.dropout(rows + self._params.noise * torch.randn_like(rows), DROPPED)

    def _pretraining_loss(self, rows: torch.Tensor) -> torch.Tensor:
        """Masks of what a crop left, rows rebuilt, and whether halves were swapped."""
        spot, network = self._params.spot, self._localizer.network
        kept, wanted = _crops(len(rows), spot.scale)
        answers = network(rows * kept[:, :, None])
        loss = pretraining_mask_loss(answers.masks, wanted, spot)
        loss = loss + functional.mse_loss(network(self._varied(rows)).rebuilt, rows)
        if spot.changes.rebuild_cropped:
            loss = loss + functional.mse_loss(answers.rebuilt[kept], rows[kept])
        swapped = torch.rand(len(rows)) < 0.5
        ordered = torch.where(swapped[:, None, None], rows.roll(spot.scale // 2, dims=1), rows)
        return loss + functional.cross_entropy(network.told_order(ordered), swapped.long())

    def _supervised_loss(self, rows: torch.Tensor, truths: Sequence[Truth]) -> torch.Tensor:
        classes, masks = torch.stack([one.classes for one in truths]), torch.stack([one.masks for one in truths])
        return self._loss_of(rows, classes, masks, torch.ones_like(classes, dtype=torch.bool))

    def _loss_of(
        self, rows: torch.Tensor, classes: torch.Tensor, masks: torch.Tensor, asked: torch.Tensor
    ) -> torch.Tensor:
        spot = self._params.spot
        answers = self._localizer.network(rows)
        of_classes = class_loss(answers.logits, classes, asked, spot.changes.log_likelihood)
        of_masks = mask_loss(answers.masks, masks, asked, spot)
        return spot.balance * of_classes + (1 - spot.balance) * of_masks

    def _unsupervised_loss(self, rows: torch.Tensor) -> torch.Tensor:
        """What it says of videos itself, where it is sure, is what it shall say of them varied."""
        spot, network = self._params.spot, self._localizer.network
        network.eval()
        with torch.no_grad():
            told = network(rows)
        network.train()
        probabilities, held = told.logits.softmax(dim=2), told.masks.sigmoid()
        surest, classes = probabilities.max(dim=2)
        is_action = classes < len(self._localizer.spec.labels)
        asked = surest >= torch.where(is_action, spot.sure_action, spot.sure_background)
        masks = ((held >= IN_MASK) & is_action[:, :, None]).float()
        varied = self._varied(rows)
        answers = network(varied)
        apart = functional.mse_loss(answers.logits.softmax(dim=2), probabilities)
        apart = apart + functional.mse_loss(answers.masks.sigmoid(), held)
        return self._loss_of(varied, classes, masks, asked) + spot.consistency * apart

    def _validate(self) -> Validation:
        cells = torch.stack([self._localizer.cells(one.features.values) for one in self._val])
        loss = self._supervised_loss(cells, [self._truth(one) for one in self._val])
        return agreement(self._localizer, self._val, float(loss))


def _dealt(count: int, steps: int, size: int, generator: np.random.Generator) -> list[list[int]]:
    """Numbers below `count` in `steps` hands of `size`: all once before any comes again; none where there are none."""
    if not count:
        return [[] for _ in range(steps)]
    dealt = np.concatenate([generator.permutation(count) for _ in range(-(-steps * size // count))])
    return [dealt[step * size : (step + 1) * size].tolist() for step in range(steps)]


def _crops(count: int, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which cells a random crop leaves, bool, count x L, and the masks that these should answer, count x L x L."""
    kept, wanted = torch.zeros(count, scale, dtype=torch.bool), torch.zeros(count, scale, scale)
    for video in range(count):
        for _ in range(CROPS):
            share = LEAST_CROP + (MOST_CROP - LEAST_CROP) * float(torch.rand(()))
            length = max(2, round(share * scale))
            begin = int(torch.randint(0, scale - length + 1, ()))
            inside = slice(begin, begin + length)
            kept[video, inside] = True
            wanted[video, inside] = 0.0
            wanted[video, inside, inside] = 1.0
    return kept, wanted
