"""Intervals over seeds and test crops at once: both are drawn again (Efron; crossed bootstrap of Owen 2007).

A training differs by its seed, and a line's test crops are a sample, too, of which neighbours in time are nearly the
same picture. So whole trainings and whole blocks of time are drawn with replacement, independently of one another.
Several lines weigh the same; each has its own blocks and its own trainings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000
LEVEL = 0.95


@dataclass(frozen=True)
class Answers:
    """Whether each training of a choice answers right on each test crop of one line.

    Attributes:
        right: bool, S x N: S seeds, N crops.
        blocks: int, N, of time, from `lineact.metrics.time_blocks`.
    """

    right: np.ndarray
    blocks: np.ndarray

    def __post_init__(self) -> None:
        if self.right.ndim != 2 or not self.right.size or self.right.shape[1:] != self.blocks.shape:
            raise ValueError(
                f"expected answers of at least one seed on at least one crop and a block of each crop, found shapes "
                f"{self.right.shape} and {self.blocks.shape}"
            )


@dataclass(frozen=True)
class Estimate:
    """A figure with its percentile interval.

    Attributes:
        low: lower end.
        value: on all seeds and crops.
        high: upper end.
    """

    low: float
    value: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def accuracy_over(lines: Sequence[Answers]) -> Estimate:
    """Mean accuracy over lines, 0 to 1."""
    (drawn,), (whole,) = _accuracies([lines])
    return _estimate(whole, drawn)


def difference_over(lines: Sequence[Answers], others: Sequence[Answers]) -> Estimate:
    """Mean accuracy of one choice less that of another, on the same crops, seeds paired by their place.

    Raises:
        ValueError: where the two were not asked alike.
    """
    (drawn, other_drawn), (whole, other_whole) = _accuracies([lines, others])
    return _estimate(whole - other_whole, drawn - other_drawn)


def fewer_errors_over(lines: Sequence[Answers], others: Sequence[Answers]) -> Estimate | None:
    """Share of another choice's errors that one does not make: 1 - (1 - accuracy) / (1 - other accuracy).

    1 where it makes none, negative where it makes more. None where the other makes none: no share of nothing. Drawn
    samples in which the other makes none are left out of the interval.

    Raises:
        ValueError: where the two were not asked alike.
    """
    (drawn, other_drawn), (whole, other_whole) = _accuracies([lines, others])
    if other_whole == 1:
        return None
    errs = other_drawn < 1
    return _estimate(1 - (1 - whole) / (1 - other_whole), 1 - (1 - drawn[errs]) / (1 - other_drawn[errs]))


def _accuracies(choices: Sequence[Sequence[Answers]]) -> tuple[list[np.ndarray], list[float]]:
    """Mean accuracy over lines of each choice: in RESAMPLES samples, the same for all choices, and on everything."""
    drawn = [np.zeros(RESAMPLES) for _ in choices]
    whole = [0.0 for _ in choices]
    generator = np.random.default_rng(0)
    for of_line in zip(*choices, strict=True):
        first = of_line[0]
        for other in of_line[1:]:
            if other.right.shape != first.right.shape or not np.array_equal(other.blocks, first.blocks):
                raise ValueError(
                    f"expected the same seeds and crops of both choices, found {first.right.shape} and "
                    f"{other.right.shape} answers"
                )
        seeds = _times_drawn(generator, first.right.shape[0])  # R x S
        numbers = np.unique(first.blocks, return_inverse=True)[1]
        counts = np.bincount(numbers)  # B
        blocks = _times_drawn(generator, len(counts))  # R x B
        asked = seeds.sum(axis=1) * (blocks @ counts)  # R
        for index, one in enumerate(of_line):
            right = np.stack([np.bincount(numbers, row, len(counts)) for row in one.right])  # S x B
            drawn[index] += np.einsum("rs,sb,rb->r", seeds, right, blocks, optimize=True) / asked / len(choices[0])
            whole[index] += float(one.right.mean()) / len(choices[0])
    return drawn, whole


def _times_drawn(generator: np.random.Generator, count: int) -> np.ndarray:
    """How often each of some things is drawn in `count` draws with replacement: R x count."""
    return generator.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(low), value, float(high))
