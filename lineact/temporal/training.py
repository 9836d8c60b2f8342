"""Trains a localiser on videos whose segments are known, with the one training loop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lineact.errors import InputError
from lineact.metrics import accuracy, confusion_matrix, macro_f1
from lineact.temporal.features import ClipParams
from lineact.temporal.features.opening import ExtractorParams
from lineact.temporal.heads import DecodeParams, PyramidParams
from lineact.temporal.heads.losses import pyramid_loss
from lineact.temporal.heads.pyramid import Pyramid, padded
from lineact.temporal.heads.targets import Targets, points_of, targets_of
from lineact.temporal.localizer import AnyLocalizer, Localizer
from lineact.temporal.parts import Example
from lineact.temporal.segmentation import BACKGROUND, frame_labels
from lineact.temporal.segments import MEANT_SCORE, faults_of
from lineact.temporal.spec import learnt_spec
from lineact.training.loop import Task, Validation, fit
from lineact.training.settings import FitParams
from lineact.training.state import EpochRecord, load_weights

KEPT = "localizer"


@dataclass(frozen=True)
class LocalizerTraining:
    """How a localiser is trained.

    Attributes:
        head: the network.
        decode: what becomes of its answers.
        fit: the loop; a batch is of videos.
        noise: standard deviation of what is added to each number in training, in standard deviations of it.
        seed: of weights, order and noise.
    """

    head: PyramidParams
    decode: DecodeParams
    fit: FitParams
    noise: float
    seed: int


def train_localizer(
    params: LocalizerTraining,
    labels: tuple[str, ...],
    extractor: ExtractorParams,
    clips: ClipParams,
    train: Sequence[Example],
    val: Sequence[Example],
    folder: Path,
) -> tuple[Localizer, list[EpochRecord]]:
    """Trains; a killed training goes on from its last epoch in `folder`.

    Args:
        params: the settings.
        labels: actions to find.
        extractor: what made the features.
        clips: how they were cut.
        train: videos that teach.
        val: videos that choose the epoch.
        folder: of the training's state.

    Returns:
        The localiser of the best epoch, and a record per epoch; its accuracy and F1 are of rows with one label each.

    Raises:
        InputError: where there is nothing to learn, or segments that cannot be.
    """
    check_examples(labels, train, val)
    spec = learnt_spec(labels, extractor, clips, params.head, params.decode, [one.features for one in train])
    torch.manual_seed(params.seed)
    localizer = Localizer(spec, Pyramid(params.head, spec.inputs, len(labels)))
    task = _Localizing(params, localizer, train, val)
    history = fit(
        localizer.network, task.task(), params.fit, seed=params.seed, folder=folder, keep={KEPT: params.fit.epochs}
    )
    load_weights(folder / f"{KEPT}.safetensors", localizer.network)
    localizer.network.eval()
    return localizer, history


def check_examples(labels: tuple[str, ...], train: Sequence[Example], val: Sequence[Example]) -> None:
    """Refuses videos that cannot teach.

    Raises:
        InputError: where there are none, segments cannot be, or an action has none.
    """
    if not train or not val:
        raise InputError(f"expected videos to train and to validate with, found {len(train)} and {len(val)}")
    faults = [
        fault
        for one in (*train, *val)  # each by its own length: both may be parts of one recording
        for fault in faults_of(one.truth, {one.features.video: one.features.duration_s})
    ]
    if faults:
        raise InputError(f"{'; '.join(faults[:5])}; mend these segments")
    taught = {str(label) for one in train for label in one.truth.labels}
    if missing := sorted(set(labels) - taught):
        raise InputError(f"expected segments of every action to train with, found none of {', '.join(missing)}")


class _Localizing:
    """The loop's task: batches of videos, their loss, and the validation."""

    def __init__(
        self, params: LocalizerTraining, localizer: Localizer, train: Sequence[Example], val: Sequence[Example]
    ) -> None:
        self._params, self._localizer, self._train, self._val = params, localizer, train, val
        self._rows = [localizer.spec.rows(one.features.values) for one in train]

    def task(self) -> Task:
        steps = -(-len(self._train) // self._params.fit.batch_size)
        return Task(self._loss, self._batches, steps, self._validate)

    def _batches(self, epoch: int) -> Iterator[list[list[int]]]:
        order = np.random.default_rng((self._params.seed, epoch)).permutation(len(self._train)).tolist()
        size = self._params.fit.batch_size
        for start in range(0, len(order), size):
            yield [order[start : start + size]]

    def _loss(self, chosen: list[int]) -> torch.Tensor:
        videos = [self._rows[number] for number in chosen]
        noisy = [video + self._params.noise * torch.randn_like(video) for video in videos]
        return self._loss_of(noisy, [self._train[number] for number in chosen])

    def _loss_of(self, videos: list[torch.Tensor], examples: list[Example]) -> torch.Tensor:
        network = self._localizer.network
        batch, mask = padded(videos, network.granularity)
        targets = [self._targets(one, batch.shape[1]) for one in examples]
        return pyramid_loss(network(batch, mask), targets, self._params.head.label_smoothing)

    def _targets(self, example: Example, rows: int) -> Targets:
        features, labels = example.features, self._localizer.spec.labels
        known = example.truth.take(
            (example.truth.videos == features.video) & np.isin(example.truth.labels, np.array(labels))
        )
        ends_s = np.stack([known.start_s, known.end_s], axis=1)
        intervals = torch.from_numpy(features.places_at(ends_s)).float()
        classes = torch.tensor([labels.index(str(label)) for label in known.labels], dtype=torch.int64)
        points = points_of(rows, self._params.head.levels)
        return targets_of(points, intervals, classes, len(labels), self._params.head.centre_radius)

    def _validate(self) -> Validation:
        losses = [self._loss_of([self._localizer.spec.rows(one.features.values)], [one]) for one in self._val]
        return agreement(self._localizer, self._val, float(torch.stack(losses).mean()))


def agreement(localizer: AnyLocalizer, val: Sequence[Example], loss: float) -> Validation:
    """How well the segments that are meant agree with the true ones, row by row.

    Args:
        localizer: in evaluation mode.
        val: videos.
        loss: of them, passed on.
    """
    names = np.array([BACKGROUND, *localizer.spec.labels])
    true: list[np.ndarray] = []
    told: list[np.ndarray] = []
    for one in val:
        found = localizer.segments(one.features)
        found = found.take(found.scores >= MEANT_SCORE)
        fps = 1 / one.features.step_s
        for segments, into in ((one.truth, true), (found, told)):
            labels = frame_labels(segments, one.features.video, one.features.duration_s, fps)
            into.append((labels[:, None] == names).argmax(axis=1))
    confusion = confusion_matrix(np.concatenate(true), np.concatenate(told), len(names))
    return Validation(loss, accuracy(confusion) or 0.0, macro_f1(confusion) or 0.0)
