"""Rows of the line's own released pair: which actions hands do, and where. Nearly free at a station that runs it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lineact.temporal.features import ClipParams, Features, Rate, clips_of
from lineact.temporal.features.extraction import Cost, Extraction, length_s, too_short
from lineact.video import Frame, read_frames

PLACE = 5  # numbers of a hand for each label: how sure, where (x, y) and how large (width, height)


class Pair(Protocol):
    """What makes rows: `lineact.bundle.pair.Bundle`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the probabilities' columns."""

    def detect(self, image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes and falling scores."""

    def crops(self, image_rgb: np.ndarray, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """Crops of boxes."""

    def classify(self, crops_rgb: np.ndarray) -> np.ndarray:
        """Probabilities of the labels."""


@dataclass(frozen=True)
class StudentExtractor:
    """Rows of the released pair, as `lineact.temporal.features.extraction.Extractor` asks for them.

    Attributes:
        pair: the released one.
        identity: changes with the pair's files.
    """

    pair: Pair
    identity: str

    @property
    def key(self) -> Mapping[str, object]:
        """All that decides the rows but the video and `ClipParams`."""
        return {"student": self.identity}

    def extract(self, path: Path, video: str, params: ClipParams) -> Extraction:
        """Rows of a video; see `extract`."""
        return extract(self.pair, path, video, params)


def extract(pair: Pair, path: Path, video: str, params: ClipParams) -> Extraction:
    """Reads a video once, frame by frame; memory does not grow with its length but by the rows.

    Args:
        pair: the released one.
        path: of the video.
        video: its name in the features.
        params: see `ClipParams`.

    Raises:
        InputError: where it is no video, or shorter than one clip.
    """
    cost = Cost()
    times_s, rows, end_s = frame_rows(pair, read_frames(path), params.fps)
    duration_s = length_s(path, end_s)
    clip_times_s, values = clips_of(times_s, rows, params)
    if not len(values):
        raise too_short(path, params, len(times_s))
    return cost.of(Features(video, clip_times_s, values, duration_s))


def frame_rows(pair: Pair, frames: Iterable[Frame], fps: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows of single frames.

    Args:
        pair: the released one.
        frames: in their order.
        fps: frames a second that are looked at.

    Returns:
        times_s from the first frame (N), values (float32, N x D), and the time of the last frame, seconds.
    """
    times_s: list[float] = []
    rows: list[np.ndarray] = []
    first_s = last_s = None
    chosen = Rate(fps)
    for frame in frames:
        first_s = frame.pts_s if first_s is None else first_s
        last_s = frame.pts_s - first_s
        if chosen.takes(frame.pts_s):
            times_s.append(last_s)
            rows.append(row_of(pair, frame.image_rgb))
    width = PLACE * len(pair.labels) + 1
    values = np.stack(rows) if rows else np.zeros((0, width), np.float32)
    return np.array(times_s), values, last_s or 0.0


def row_of(pair: Pair, image_rgb: np.ndarray) -> np.ndarray:
    """A frame's row: over its hands the sums of (1, x, y, width, height) times the probability of each label, and their
    number. It does not depend on the hands' order.

    Args:
        pair: the released one.
        image_rgb: uint8, H x W x 3.

    Returns:
        float32, 5 x labels + 1; places as shares of the picture, its middle at 0.
    """
    boxes_xyxy_px, _ = pair.detect(image_rgb)
    probabilities = pair.classify(pair.crops(image_rgb, boxes_xyxy_px))  # N x labels
    height, width = image_rgb.shape[:2]
    x1, y1, x2, y2 = (boxes_xyxy_px / (width, height, width, height)).T
    places = np.stack([np.ones_like(x1), (x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5, x2 - x1, y2 - y1], axis=1)
    return np.append((probabilities.T @ places).ravel(), len(boxes_xyxy_px)).astype(np.float32)
