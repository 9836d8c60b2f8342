"""Frames with truth: the held-out ones, and those that validate the line's detector."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineact.bundle.processing import read_png
from lineact.evaluate.truth import decoded, truth_frames
from lineact.files import sha256_of_file
from lineact.schema import HOLDOUT_BOXES, read_table
from lineact.train_detector import check_detection_set, labelled_boxes


@dataclass(frozen=True)
class Pictures:
    """Frames with truth, decoded when they are asked for.

    Attributes:
        names: N, what tells each frame's pixels from all others.
        truth_xyxy_px: N, each float64, T x 4.
        images: takes ascending indices and gives these frames (uint8, H x W x 3) in this order.
    """

    names: tuple[str, ...]
    truth_xyxy_px: tuple[np.ndarray, ...]
    images: Callable[[Sequence[int]], Iterator[np.ndarray]]


def held_out_pictures(holdout: Path, raw: Path) -> Pictures:
    """The frames that measure the line.

    Args:
        holdout: table HOLDOUT_BOXES.
        raw: folder of recordings.

    Raises:
        InputError: where there is no truth; while decoding, where a recording or a frame of it is not there.
    """
    frames = truth_frames(read_table(holdout, HOLDOUT_BOXES), holdout)

    def images(indices: Sequence[int]) -> Iterator[np.ndarray]:
        return (image_rgb for _, image_rgb in decoded([frames[index] for index in indices], raw))

    names = tuple(f"{frame.video_sha256}@{frame.pts_s:.6f}" for frame in frames)
    return Pictures(names, tuple(frame.boxes_xyxy_px for frame in frames), images)


def validation_pictures(detection: Path) -> Pictures:
    """The frames that validate the line's detector while it trains: checked by a person, of no held-out recording.

    Args:
        detection: YOLO folder: data.yaml, images/{train,val}, labels/{train,val}.

    Raises:
        InputError: on images or labels that cannot be used.
    """
    paths = check_detection_set(detection)["val"]
    truth = tuple(labelled_boxes(path, _size_wh(read_png(path))) for path in paths)

    def images(indices: Sequence[int]) -> Iterator[np.ndarray]:
        return (read_png(paths[index]) for index in indices)

    return Pictures(tuple(sha256_of_file(path) for path in paths), truth, images)


def _size_wh(image_rgb: np.ndarray) -> tuple[int, int]:
    return image_rgb.shape[1], image_rgb.shape[0]
