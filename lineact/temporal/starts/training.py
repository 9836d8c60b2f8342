"""Teaches a network of clips to tell what a hand does, with what and where, with the one training loop."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lineact.metrics import accuracy, confusion_matrix, macro_f1
from lineact.temporal.features.flow import as_bytes, dis_flow
from lineact.temporal.features.network import Pixels
from lineact.temporal.starts.clips import ATTRIBUTES, COLUMNS, MOTIONS, ROWS, Clips
from lineact.training.loop import Task, Validation, fit
from lineact.training.settings import FitParams

LESSON_VERSION = 2  # raise where the same clips would teach something else
WITHOUT_HAND = MOTIONS.index("none")
NOWHERE = ROWS * COLUMNS
KINDS = ("motion", "held", "pose")  # what is told of a hand at its place


@dataclass(frozen=True)
class Lesson:
    """What a start learns from.

    Attributes:
        train: clips that teach.
        val: clips that score.
        pixels: how clips become the network's input.
        of_flow: whether it sees the optical flow in place of the pictures.
    """

    train: Clips
    val: Clips
    pixels: Pixels
    of_flow: bool


class Wanted(NamedTuple):
    """Right answers.

    Attributes:
        places: int64, N, 0 to NOWHERE.
        kinds: int64, N, of each of KINDS; -100, which cross-entropy leaves out, where there is no hand.
    """

    places: torch.Tensor
    kinds: list[torch.Tensor]


class Answers(NamedTuple):
    """What is told of clips.

    Attributes:
        places: logits, N x ROWS * COLUMNS + 1: where the hand is, the places row by row; the last is nowhere.
        kinds: logits of each of KINDS, N x answers, at the place that was asked about.
    """

    places: torch.Tensor
    kinds: list[torch.Tensor]


class Taught(nn.Module):
    """A network that tells where the hand is, and what it does there.

    A hand is a small part of the picture: of the mean over all places, which is what an extractor takes, hardly
    anything is learnt in a short training. So the teaching is done place by place.
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        """Around a network of this width, with a method `maps`."""
        super().__init__()
        self.network = network
        self.norm = nn.LayerNorm(width)
        self.place = nn.Linear(width, 1)
        self.nowhere = nn.Parameter(torch.zeros(1))
        self.kinds = nn.ModuleList(nn.Linear(width, ATTRIBUTES[name]) for name in KINDS)

    def forward(self, clips: torch.Tensor, places: torch.Tensor | None = None) -> Answers:
        """Answers for clips.

        Args:
            clips: N x C x T x H x W.
            places: int64, N: where the hand is, so what is done is read there; None: where it seems to be.
        """
        maps = self.network.maps(clips).mean(dim=2)  # type: ignore[operator]  # N x width x h x w
        if maps.shape[2] < ROWS or maps.shape[3] < COLUMNS:
            maps = functional.interpolate(maps, (ROWS, COLUMNS))
        normed = self.norm(maps.flatten(2).transpose(1, 2))  # N x points x width
        seen = self.place(normed)[:, :, 0]  # N x points
        held = places_of_points(*maps.shape[2:])  # places x points
        in_places = torch.logsumexp(seen[:, None].masked_fill(~held, -torch.inf), dim=2)  # N x places
        asked = seen if places is None else seen.masked_fill(~held[places.clamp(max=NOWHERE - 1)], -torch.inf)
        there = (asked.softmax(dim=1)[:, :, None] * normed).sum(dim=1)  # N x width
        told = torch.cat([in_places, self.nowhere.expand(len(seen), 1)], dim=1)
        return Answers(told, [kind(there) for kind in self.kinds])


def places_of_points(height: int, width: int) -> torch.Tensor:
    """Which points of a map, row by row, lie in which place: bool, ROWS * COLUMNS x height * width.

    Args:
        height: at least ROWS.
        width: at least COLUMNS.
    """
    rows, columns = torch.arange(height) * ROWS // height, torch.arange(width) * COLUMNS // width
    places = (rows[:, None] * COLUMNS + columns).flatten()
    return places == torch.arange(NOWHERE)[:, None]


def train_start(network: nn.Module, width: int, lesson: Lesson, params: FitParams, folder: Path) -> Taught:
    """Trains a network in place; a killed training goes on from its last epoch in `folder`.

    Args:
        network: N x C x T x H x W to N x width.
        width: of its features.
        lesson: see `Lesson`.
        params: the loop's.
        folder: of the training's state.

    Returns:
        The network with what reads its rows, in evaluation mode.
    """
    taught = Taught(network, width)
    task = _Teaching(taught, lesson, params.batch_size)
    fit(taught, task.task(), params, seed=0, folder=folder, keep={})
    return taught.eval()


def told_right(taught: Taught, lesson: Lesson) -> dict[str, float]:
    """Share of right answers on the clips that score: where the hand is, and of clips with a hand what it does."""
    answers, wanted = _answers(taught, lesson, 32), _wanted(lesson.val.attributes)
    shares = {"place": _share(answers.places, wanted.places)}
    return shares | {
        name: _share(logits, kinds) for name, logits, kinds in zip(KINDS, answers.kinds, wanted.kinds, strict=True)
    }


def _share(logits: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((logits.argmax(1) == wanted)[wanted >= 0].float().mean())


class _Teaching:
    def __init__(self, taught: Taught, lesson: Lesson, batch_size: int) -> None:
        self._taught, self._lesson, self._batch_size = taught, lesson, batch_size

    def task(self) -> Task:
        steps = len(self._lesson.train) // self._batch_size
        return Task(self._loss, self._batches, steps, self._validate)

    def _batches(self, epoch: int) -> Iterator[list[tuple[torch.Tensor, Wanted]]]:
        generator = np.random.default_rng((1, epoch))
        order = generator.permutation(len(self._lesson.train))
        size = self._batch_size
        for start in range(0, len(order) - size + 1, size):  # BatchNorm: no small batch at the end
            rows = order[start : start + size]
            pictures = self._lesson.train.pictures(rows)
            attributes = self._lesson.train.attributes[rows].copy()
            mirrored = generator.random(size) < 0.5
            pictures[mirrored] = pictures[mirrored, :, :, ::-1]
            column = list(ATTRIBUTES).index("column")
            attributes[mirrored, column] = COLUMNS - 1 - attributes[mirrored, column]
            yield [(_input(pictures, self._lesson), _wanted(attributes))]

    def _loss(self, part: tuple[torch.Tensor, Wanted]) -> torch.Tensor:
        clips, wanted = part
        return _loss_of(self._taught(clips, wanted.places), wanted)

    def _validate(self) -> Validation:
        answers, wanted = _answers(self._taught, self._lesson, self._batch_size), _wanted(self._lesson.val.attributes)
        confusion = confusion_matrix(wanted.places.numpy(), answers.places.argmax(1).numpy(), NOWHERE + 1)
        return Validation(float(_loss_of(answers, wanted)), accuracy(confusion) or 0.0, macro_f1(confusion) or 0.0)


def _answers(taught: Taught, lesson: Lesson, batch_size: int) -> Answers:
    """Of the clips that score."""
    parts = []
    with torch.inference_mode():
        for rows in np.array_split(np.arange(len(lesson.val)), -(-len(lesson.val) // batch_size)):
            parts.append(taught(_input(lesson.val.pictures(rows), lesson)))
    kinds = [torch.cat(each) for each in zip(*(part.kinds for part in parts), strict=True)]
    return Answers(torch.cat([part.places for part in parts]), kinds)


def _loss_of(answers: Answers, wanted: Wanted) -> torch.Tensor:
    losses = [functional.cross_entropy(answers.places, wanted.places)]
    losses += [functional.cross_entropy(*pair) for pair in zip(answers.kinds, wanted.kinds, strict=True)]
    return torch.stack(losses).sum()


def _wanted(attributes: np.ndarray) -> Wanted:
    """Of attributes, int64, N x ATTRIBUTES."""
    columns = dict(zip(ATTRIBUTES, torch.from_numpy(attributes).T, strict=True))
    absent = columns["motion"] == WITHOUT_HAND
    places = (columns["row"] * COLUMNS + columns["column"]).masked_fill(absent, NOWHERE)
    return Wanted(places, [columns[name].masked_fill(absent, -100) for name in KINDS])


def _input(pictures: np.ndarray, lesson: Lesson) -> torch.Tensor:
    """Pictures, uint8, n x T x H x W x 3, as the network takes them."""
    return lesson.pixels.to_tensor(_flow_of(pictures) if lesson.of_flow else pictures, "cpu")


def _flow_of(pictures: np.ndarray) -> np.ndarray:
    """Flow from the picture before (none for the first), uint8, n x T x H x W x 2."""
    flow = dis_flow()
    return np.stack(
        [
            np.stack([as_bytes(flow(clip[max(index - 1, 0)], clip[index])) for index in range(len(clip))])
            for clip in pictures
        ]
    )
