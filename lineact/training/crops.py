"""Labelled crops in memory, split and checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.errors import InputError
from lineact.schema import LABELLED_CROPS, read_table
from lineact.training.decoded import decoded_crops


@dataclass(frozen=True)
class CropSet:
    """Crops of one split, decoded once.

    Attributes:
        images_rgb: uint8, N x side x side x 3; read-only, mapped from a file.
        classes: int64, N.
    """

    images_rgb: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)


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
    images_rgb, nothing = decoded_crops(path, side_px), np.zeros((0, side_px, side_px, 3), np.uint8)
    train, val = (
        CropSet(images_rgb.get(split, nothing), _classes_of(table, split, labels)) for split in ("train", "val")
    )
    for name, crops in (("training", train), ("validation", val)):
        if not len(crops):
            raise InputError(f"{path}: expected {name} crops, found none; review more recordings or set another split")
    if len(np.unique(train.classes)) < 2:
        raise InputError(f"{path}: expected training crops of at least two classes, found only those of one")
    return train, val


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


def _classes_of(table: pa.Table, split: str, labels: tuple[str, ...]) -> np.ndarray:
    rows = zip(table["split"].to_pylist(), table["action"].to_pylist(), strict=True)
    return np.array([labels.index(action) for of_split, action in rows if of_split == split], np.int64)
