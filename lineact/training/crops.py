"""Labelled crops in memory, split and checked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.errors import InputError
from lineact.schema import LABELLED_CROPS, read_table
from lineact.training.decoded import decoded_crops, scale_image


@dataclass(frozen=True)
class CropSet:
    """Crops of one split, decoded once.

    Attributes:
        images_rgb: uint8, N x side x side x 3; of a table's crops read-only, mapped from a file.
        classes: int64, N.
        decoded: side -> the same crops as a file has them; None where they are in memory alone.
    """

    images_rgb: np.ndarray
    classes: np.ndarray
    decoded: Callable[[int], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def at_side(self, side_px: int) -> "CropSet":
        """The same crops, scaled to another side."""
        if self.images_rgb.shape[1] == side_px:
            return self
        if self.decoded is not None:
            return CropSet(self.decoded(side_px), self.classes, self.decoded)
        scaled = [scale_image(image_rgb, side_px) for image_rgb in self.images_rgb]
        return CropSet(np.stack(scaled) if scaled else np.empty((0, side_px, side_px, 3), np.uint8), self.classes)


def load_splits(path: Path, labels: tuple[str, ...], side_px: int, split_gap_s: float) -> tuple[CropSet, CropSet]:
    """Reads the training and the validation crops of a line.

    Args:
        path: a LABELLED_CROPS table.
        labels: class names; a crop's class is its action's place in here.
        side_px: crops are scaled to this side.
        split_gap_s: seconds that must lie between training and validation crops of one video.

    Returns:
        (train, val).

    Raises:
        InputError: where crops are missing, unreadable, of unknown actions, or the split leaks.
    """
    table = read_table(path, LABELLED_CROPS, without=("crop_png",))
    unknown = sorted(set(table["action"].to_pylist()) - set(labels))
    if unknown:
        raise InputError(
            f"{path}: expected the actions {', '.join(labels)}, found {', '.join(unknown)}; "
            "run `dvc repro` after changing the line's actions"
        )
    refuse_leaks(table, path, split_gap_s)
    train, val = (_part(table, path, split, labels, side_px) for split in ("train", "val"))
    refuse_unusable(train, val, labels, str(path))
    return train, val


def refuse_unusable(train: CropSet, val: CropSet, labels: tuple[str, ...], where: str) -> None:
    """Refuses crops from which nothing can be learned.

    Args:
        train: training crops.
        val: validation crops.
        labels: class names.
        where: what to call the crops in errors.

    Raises:
        InputError: where a split is empty, or only one class is trained.
    """
    for name, crops in (("training", train), ("validation", val)):
        if not len(crops):
            raise InputError(f"{where}: expected {name} crops, found none; review more recordings or set another split")
    present = np.unique(train.classes)
    if len(present) < 2:
        raise InputError(
            f"{where}: expected training crops of at least two classes, found only those of one, "
            f"{labels[present[0]]}; review more of the queue, or set another split"
        )


def refuse_leaks(table: pa.Table, path: Path, split_gap_s: float) -> None:
    """Refuses a table whose validation crops are near in time to training crops of the same video.

    Raises:
        InputError: naming the video and the two times.
    """
    times: dict[str, dict[str, list[float]]] = {}
    columns = (table[name].to_pylist() for name in ("video_sha256", "split", "pts_s"))
    for video, split, pts_s in zip(*columns, strict=True):
        times.setdefault(video, {}).setdefault(split, []).append(pts_s)
    for video, of_split in times.items():
        if len(of_split) < 2:
            continue
        train_s, val_s = np.sort(of_split["train"]), np.asarray(of_split["val"])
        after = np.searchsorted(train_s, val_s)
        left, right = train_s[np.maximum(after - 1, 0)], train_s[np.minimum(after, len(train_s) - 1)]
        nearest_s = np.minimum(np.abs(val_s - left), np.abs(val_s - right))
        worst = int(nearest_s.argmin())
        if nearest_s[worst] < split_gap_s or nearest_s[worst] == 0:
            raise InputError(
                f"{path}: the split leaks: video {video[:12]} has a validation crop at {val_s[worst]:.3f} s, "
                f"{nearest_s[worst]:.3f} s from a training crop; expected at least {split_gap_s} s; "
                "split by recording or by time block with a guard gap"
            )


def epoch_order(count: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Row numbers of each batch of an epoch, shuffled by (seed, epoch) alone.

    Args:
        count: number of crops.
        batch_size: crops per batch; the last one may be smaller.
        seed: of the training.
        epoch: from 0.

    Yields:
        int64 arrays.
    """
    order = np.random.default_rng((seed, epoch)).permutation(count)
    for start in range(0, count, batch_size):
        yield order[start : start + batch_size]


def class_weights(classes: np.ndarray, class_count: int, power: float) -> np.ndarray:
    """Weights of the loss against imbalance: (mean count / count) ** power, scaled to mean 1 over the crops.

    Args:
        classes: int64, N.
        class_count: K.
        power: 0 (none) to 1 (every class weighs the same in total).

    Returns:
        float32, K; 0 for a class without crops.
    """
    counts = np.bincount(classes, minlength=class_count).astype(np.float64)
    present = counts > 0
    weights = np.where(present, np.power(counts.mean() / np.where(present, counts, 1.0), power), 0.0)
    return (weights / (weights[classes].mean())).astype(np.float32)


def _part(table: pa.Table, path: Path, split: str, labels: tuple[str, ...], side_px: int) -> CropSet:
    rows = zip(table["split"].to_pylist(), table["action"].to_pylist(), strict=True)
    classes = np.array([labels.index(action) for of_split, action in rows if of_split == split], np.int64)
    decoded = partial(_decoded, path, split)
    return CropSet(decoded(side_px), classes, decoded)


def _decoded(path: Path, split: str, side_px: int) -> np.ndarray:
    return decoded_crops(path, side_px).get(split, np.empty((0, side_px, side_px, 3), np.uint8))
