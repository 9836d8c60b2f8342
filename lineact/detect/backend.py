"""What every detection backend takes and gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lineact.errors import InputError
from lineact.picture_size import unusable_size
from lineact.read_ahead import read_ahead
from lineact.video import read_frames


@dataclass(frozen=True)
class Detections:
    """What a backend found on one image, before any filter.

    Attributes:
        boxes_xyxy_px: float32, N x 4, pixels of the source frame.
        scores: float32, N, 0 to 1.
        phrases: N words of the prompt, one per box.
    """

    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Recording:
    """A recording as a backend sees it.

    Attributes:
        path: the file.
        sha256: of its content.
        all_pts_s: float64, times of all its frames, ascending: a backend that looks at a frame's surroundings chooses
            from them.
    """

    path: Path
    sha256: str
    all_pts_s: np.ndarray


class Backend(Protocol):
    """A detector of regions.

    Attributes:
        key: everything but the images that its answers depend on: settings, revision of the weights, code version.
    """

    key: dict[str, object]

    def detect(self, recording: Recording, pts_s: Sequence[float]) -> Iterator[Detections]:
        """Regions on the frames at these times, in ascending order of time."""


class LoadableBackend(Backend, Protocol):
    """A backend that can be made ready before its first frame."""

    def load(self) -> None:
        """Makes ready now what else the first frame would wait for.

        Raises:
            InputError: where weights do not fit, or the prompt is too long for them.
        """


class ImageModel(Protocol):
    """A detector that looks at single images."""

    def detect_images(self, images_rgb: Sequence[np.ndarray]) -> list[Detections]:
        """Regions on each image (uint8, H x W x 3)."""


def refuse_unusable_sizes(images_rgb: Sequence[np.ndarray]) -> None:
    """Lets pass images (uint8, H x W x 3) on which a network sees something.

    Raises:
        InputError: where one is smaller than a patch, or vast.
    """
    for image in images_rgb:
        height_px, width_px = image.shape[:2]
        if unusable := unusable_size(width_px, height_px):
            raise InputError(f"detect: expected images of {unusable}; leave it out, or find hands on the whole picture")


def detect_in_batches(
    model: ImageModel, recording: Recording, pts_s: Sequence[float], batch_size: int
) -> Iterator[Detections]:
    """Decodes the frames at these times and hands them to the model in batches; the next one is decoded meanwhile."""
    batch: list[np.ndarray] = []
    for frame in read_ahead(read_frames(recording.path, pts_s), batch_size):
        batch.append(frame.image_rgb)
        if len(batch) == batch_size:
            yield from model.detect_images(batch)
            batch = []
    if batch:
        yield from model.detect_images(batch)
