"""Teaches a network of clips to tell what a hand does, with what and where, with the one training loop."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lineact.metrics import accuracy, confusion_matrix, macro_f1
from lineact.temporal.features.flow import as_bytes, dis_flow
from lineact.temporal.features.network import Pixels
from lineact.temporal.starts.clips import ATTRIBUTES, COLUMNS, MOTIONS, Clips
from lineact.training.loop import Task, Validation, fit
from lineact.training.settings import FitParams

WITHOUT_HAND = MOTIONS.index("none")
ALWAYS = ("motion", "held")  # the other attributes have no answer where there is no hand


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


class Taught(nn.Module):
    """A network with a linear classifier per attribute."""

    def __init__(self, network: nn.Module, width: int) -> None:
        """Around a network of this width."""
        super().__init__()
        self.network = network
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, count) for count in ATTRIBUTES.values())

    def forward(self, clips: torch.Tensor) -> list[torch.Tensor]:
        """Logits per attribute of clips, N x C x T x H x W."""
        features = self.norm(self.network(clips))
        return [head(features) for head in self.heads]


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


def attribute_accuracy(taught: Taught, lesson: Lesson) -> dict[str, float]:
    """Share of right answers per attribute on the clips that score, where there is an answer."""
    logits = _answers(taught, lesson, 32)
    wanted = _wanted(torch.from_numpy(lesson.val.attributes))
    return {
        name: float((each.argmax(1) == wanted[:, column])[wanted[:, column] >= 0].float().mean())
        for column, (name, each) in enumerate(zip(ATTRIBUTES, logits, strict=True))
    }


class _Teaching:
    def __init__(self, taught: Taught, lesson: Lesson, batch_size: int) -> None:
        self._taught, self._lesson, self._batch_size = taught, lesson, batch_size

    def task(self) -> Task:
        steps = len(self._lesson.train) // self._batch_size
        return Task(self._loss, self._batches, steps, self._validate)

    def _batches(self, epoch: int) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
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
            yield [(_input(pictures, self._lesson), _wanted(torch.from_numpy(attributes)))]

    def _loss(self, part: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        clips, wanted = part
        return _loss_of(self._taught(clips), wanted)

    def _validate(self) -> Validation:
        logits = _answers(self._taught, self._lesson, self._batch_size)
        wanted = _wanted(torch.from_numpy(self._lesson.val.attributes))
        confusion = confusion_matrix(wanted[:, 0].numpy(), logits[0].argmax(1).numpy(), len(MOTIONS))
        return Validation(float(_loss_of(logits, wanted)), accuracy(confusion) or 0.0, macro_f1(confusion) or 0.0)


def _answers(taught: Taught, lesson: Lesson, batch_size: int) -> list[torch.Tensor]:
    """Logits per attribute of the clips that score."""
    parts = []
    with torch.inference_mode():
        for rows in np.array_split(np.arange(len(lesson.val)), -(-len(lesson.val) // batch_size)):
            parts.append(taught(_input(lesson.val.pictures(rows), lesson)))
    return [torch.cat(each) for each in zip(*parts, strict=True)]


def _loss_of(logits: list[torch.Tensor], wanted: torch.Tensor) -> torch.Tensor:
    losses = [functional.cross_entropy(each, wanted[:, column]) for column, each in enumerate(logits)]
    return torch.stack(losses).sum()


def _wanted(attributes: torch.Tensor) -> torch.Tensor:
    """Attributes with -100, which cross-entropy leaves out, where there is no answer."""
    unanswered = torch.tensor([name not in ALWAYS for name in ATTRIBUTES])
    return attributes.masked_fill((attributes[:, :1] == WITHOUT_HAND) & unanswered, -100)


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
