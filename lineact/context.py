"""Short context: what a place of the picture looked like just before, so that order in time can be told.

A crop with context is a strip: the crop now on top, and below it the same square of the picture at growing lags, newest
first. Only the past is used, so nothing waits. The square is that of the hand now: where the hand moved into it, the
older crops show the place before the hand was there.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from lineact.boxes import crop_square

KEPT_PER_LAG = 4  # frames kept between two lags: a crop is at most that part of a lag older than it should be
SAME_TIME_S = 1e-6
Picture = TypeVar("Picture")


@dataclass(frozen=True)
class ContextParams:
    """How far back a crop looks.

    Attributes:
        context_s: age of the oldest crop, seconds; 0 for the crop alone.
        context_crops: crops of a strip, the one of now included.
    """

    context_s: float
    context_crops: int

    def __post_init__(self) -> None:
        if self.context_s < 0 or self.context_crops < 2:
            raise ValueError(
                f"context_s must not be negative and context_crops at least 2, found {self.context_s:g} and "
                f"{self.context_crops}"
            )

    @property
    def lags_s(self) -> tuple[float, ...]:
        """Ages of a strip's crops, seconds, from 0 on."""
        if self.context_s == 0:
            return (0.0,)
        return tuple(self.context_s * step / (self.context_crops - 1) for step in range(self.context_crops))


class Past(Generic[Picture]):
    """The pictures of one recording or camera that a strip may still need, in whatever form they are kept.

    Args:
        lags_s: ages of a strip's crops, growing from 0.
    """

    def __init__(self, lags_s: Sequence[float]) -> None:
        self._lags_s = tuple(lags_s)
        self._apart_s = self._lags_s[1] / KEPT_PER_LAG if len(self._lags_s) > 1 else 0.0
        self._kept: deque[tuple[float, Picture]] = deque()

    def add(self, pts_s: float, picture: Picture) -> list[Picture]:
        """Takes the next frame.

        Args:
            pts_s: its time, later than those before.
            picture: it is kept, not copied.

        Returns:
            For each lag the newest kept picture that is at least so old, the given one first. Before there is one so
            old, the oldest.
        """
        while len(self._kept) > 1 and self._kept[1][0] <= pts_s - self._lags_s[-1] + SAME_TIME_S:
            self._kept.popleft()
        pictures = [picture]
        for lag_s in self._lags_s[1:]:
            old_enough = [kept for kept_s, kept in self._kept if kept_s <= pts_s - lag_s + SAME_TIME_S]
            oldest = self._kept[0][1] if self._kept else picture
            pictures.append(old_enough[-1] if old_enough else oldest)
        if len(self._lags_s) > 1 and (not self._kept or pts_s - self._kept[-1][0] >= self._apart_s - SAME_TIME_S):
            self._kept.append((pts_s, picture))
        return pictures


def crop_strip(pictures_rgb: Sequence[np.ndarray], box_xyxy_px: np.ndarray, context: float, side_px: int) -> np.ndarray:
    """Cuts the square around a box out of each picture, see `crop_square`.

    Returns:
        uint8, (crops * side_px) x side_px x 3.
    """
    return np.concatenate([crop_square(picture, box_xyxy_px, context, side_px) for picture in pictures_rgb])


def crops_in(strip: np.ndarray) -> int:
    """How many crops a strip (H x W x 3) holds; 1 of a plain crop."""
    return strip.shape[0] // strip.shape[1]
