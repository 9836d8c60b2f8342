"""Crops decoded once into a mapped file: the same pixels as decoding each by hand, in the same order."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch

from lineact.errors import InputError
from lineact.png import decode_png, encode_png
from lineact.schema import LABELLED_CROPS, read_table, table_of, write_table
from lineact.training import decoded
from lineact.training.classifier import to_unit
from lineact.training.crops import load_splits
from lineact.training.decoded import DECODED_AT_ONCE, decoded_crops
from tests.training_sets import LABELS, SIDE_PX, write_crops


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def decoded_by_hand(table: pa.Table, split: str, side_px: int) -> np.ndarray:
    images = []
    for row in table.to_pylist():
        if row["split"] == split:
            image = decode_png(row["crop_png"])
            how = cv2.INTER_AREA if image.shape[0] > side_px else cv2.INTER_LINEAR
            images.append(cv2.resize(image, (side_px, side_px), interpolation=how))
    return np.stack(images)


@pytest.mark.parametrize("side_px", [SIDE_PX, 16, 40], ids=["as stored", "smaller", "larger"])
def test_pixels_are_those_of_decoding_each_crop_by_hand(side_px):
    path = write_crops(Path("crops.parquet"), count=2 * DECODED_AT_ONCE + 7)  # splits alternate in it
    table = read_table(path, LABELLED_CROPS)
    for part, split in zip(load_splits(path, LABELS, side_px, 0.5), ("train", "val"), strict=True):
        assert np.array_equal(part.images_rgb, decoded_by_hand(table, split, side_px))
        actions = [row["action"] for row in table.to_pylist() if row["split"] == split]
        assert [LABELS[index] for index in part.classes] == actions


def test_crops_are_mapped_and_decoded_once(monkeypatch):
    path = write_crops(Path("crops.parquet"), count=30)
    first = decoded_crops(path, SIDE_PX)
    assert set(first) == {"train", "val"}
    assert isinstance(first["train"], np.memmap)
    monkeypatch.setattr(decoded, "_scaled", lambda content, side_px: None)  # noqa: ARG005
    again = decoded_crops(path, SIDE_PX)
    assert all(np.array_equal(again[split], first[split]) for split in first)
    assert to_unit(again["val"][:3], torch.device("cpu")).shape == (3, 3, SIDE_PX, SIDE_PX)  # a read-only slice
    path.write_bytes(write_crops(Path("others.parquet"), count=30, seed=1).read_bytes())
    with pytest.raises(InputError, match="expected a PNG image"):
        decoded_crops(path, SIDE_PX)  # other crops are decoded anew


@pytest.mark.parametrize("content", [b"", b"no picture", encode_png(np.zeros((9, 9, 3), np.uint8))[:40]])
def test_a_broken_crop_is_named_and_leaves_nothing_half_decoded(content):
    path = write_crops(Path("crops.parquet"), count=12)
    rows = read_table(path, LABELLED_CROPS).to_pylist()
    rows[7]["crop_png"] = content
    write_table(table_of(rows, LABELLED_CROPS), path, LABELLED_CROPS)
    with pytest.raises(InputError, match=r"crops\.parquet: crop of box box-7: expected a PNG image, found none"):
        decoded_crops(path, SIDE_PX)
    assert not list(Path(".lineact").rglob("*.npy"))


def test_an_empty_table_has_no_crops():
    write_table(LABELLED_CROPS.empty_table(), Path("crops.parquet"), LABELLED_CROPS)
    assert decoded_crops(Path("crops.parquet"), SIDE_PX) == {}
