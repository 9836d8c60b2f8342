"""Labelled crops in memory, split and checked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.errors import InputError
from lineact.leaks import frames_of, refuse_near_frames
from lineact.schema import LABELLED_CROPS, read_table
from lineact.training.decoded import decoded_crops, scale_image

CROP_FACTS = tuple(name for name in LABELLED_CROPS.names if name != "crop_png")
HELD_OUT = "holdout"  # the split of crops that neither train nor validate


@dataclass(frozen=True)
class CropSet:
    """Crops of one split, decoded once.

    Attributes:
        images_rgb: uint8, N x side x side x 3, of strips (`lineact.context`) N x (crops * side) x side x 3; of a
            table's crops read-only, mapped from a file.
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
        if self.images_rgb.shape[2] == side_px:
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
    table = _read(path, labels)
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


def load_holdout(path: Path, labels: tuple[str, ...], side_px: int) -> CropSet:
    """Reads the crops that measure a line, likewise.

    Args:
        path: the table.
        labels: class names; a crop's class is its action's place in here.
        side_px: crops are scaled to this side.

    Raises:
        InputError: where crops are missing, unreadable, of unknown actions, or of another split.
    """
    return _part(read_holdout(path, labels), path, HELD_OUT, labels, side_px)


def read_holdout(path: Path, labels: tuple[str, ...]) -> pa.Table:
    """A LABELLED_CROPS table of the crops that measure a line, without their pictures.

    Args:
        path: the table.
        labels: class names.

    Raises:
        InputError: where there is none, or crops are of unknown actions or of another split.
    """
    table = _read(path, labels)
    if set(table["split"].to_pylist()) != {HELD_OUT}:
        raise InputError(f"{path}: expected held-out crops, found {sorted(set(table['split'].to_pylist()))}")
    return table


def classes_of(table: pa.Table, labels: tuple[str, ...]) -> np.ndarray:
    """The place of each crop's action among the labels: int64, N."""
    return np.array([labels.index(action) for action in table["action"].to_pylist()], np.int64)


def refuse_leaks(table: pa.Table, path: Path, split_gap_s: float) -> None:
    """Refuses a table whose validation crops are near in time to training crops of the same video.

    Raises:
        InputError: naming the nearest pair.
    """
    train, val = (frames_of(_of_split(table, split)) for split in ("train", "val"))
    refuse_near_frames(train, val, (f"{path}: training", "validation"), split_gap_s, "s")


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


def _read(path: Path, labels: tuple[str, ...]) -> pa.Table:
    table = read_table(path, LABELLED_CROPS, CROP_FACTS)
    unknown = sorted(set(table["action"].to_pylist()) - set(labels))
    if unknown:
        raise InputError(
            f"{path}: expected the actions {', '.join(labels)}, found {', '.join(unknown)}; "
            "run `dvc repro` after changing the line's actions"
        )
    return table


def _of_split(table: pa.Table, split: str) -> pa.Table:
    import pyarrow.compute as pc

    return table.filter(pc.equal(table["split"], split))


def _part(table: pa.Table, path: Path, split: str, labels: tuple[str, ...], side_px: int) -> CropSet:
    decoded = partial(_decoded, path, split)
    return CropSet(decoded(side_px), classes_of(_of_split(table, split), labels), decoded)


def _decoded(path: Path, split: str, side_px: int) -> np.ndarray:
    return decoded_crops(path, side_px).get(split, np.empty((0, side_px, side_px, 3), np.uint8))
