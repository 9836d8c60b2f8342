"""Crops decoded once, into an array on disk that is mapped into memory: 100,000 crops of 112 pixels are 3.8 GB.

The system keeps in memory what is used of it, and gives it up where memory is short. Every training on the same crops
maps the same file.
"""

import concurrent.futures
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from lineact.context import crops_in
from lineact.errors import InputError
from lineact.files import cache_folder, sha256_of_file, write_whole
from lineact.progress import Progress

CODE_VERSION = 1  # raise it where a change of the code changes the pixels
DECODED_AT_ONCE = 256  # crops: so many PNGs are in memory, whatever the table's size
DECODERS = 2  # OpenCV decodes outside Python's lock


def decoded_crops(path: Path, side_px: int) -> dict[str, np.ndarray]:
    """All crops of a table by split, each in the order of its rows there.

    Args:
        path: a LABELLED_CROPS table.
        side_px: crops are scaled to this side.

    Returns:
        uint8, N x (crops * side_px) x side_px x 3, RGB, of each split that the table has, crops being 1 but of
        strips: read-only maps of a file in the cache.

    Raises:
        InputError: where a crop cannot be decoded.
        FullDiskError: where the disk has no room for them.
    """
    key = {"code": CODE_VERSION, "crops": sha256_of_file(path), "side_px": side_px}
    file = cache_folder("decoded_crops", key) / "images_rgb.npy"
    splits, counts = np.unique(pq.read_table(path, columns=["split"])["split"].to_pylist(), return_counts=True)
    if not len(splits):  # an empty file cannot be mapped
        return {}
    if not file.is_file():
        write_whole(file, partial(_decode_into, path=path, side_px=side_px))
    parts = np.split(np.load(file, mmap_mode="r"), np.cumsum(counts)[:-1])
    return dict(zip(splits.tolist(), parts, strict=True))


def _decode_into(temporary: Path, *, path: Path, side_px: int) -> None:
    """Writes the crops split after split, in one pass over the table."""
    with pq.ParquetFile(path) as table, concurrent.futures.ThreadPoolExecutor(DECODERS) as pool:
        splits = np.array(table.read(["split"])["split"].to_pylist())
        place = np.empty(len(splits), np.int64)
        place[np.argsort(splits, kind="stable")] = np.arange(len(splits))
        rows_px = _rows_of_first(table, side_px)
        images_rgb = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(splits), rows_px, side_px, 3))
        progress, done = Progress(f"{path}: decoding, crops", len(splits)), 0
        for batch in table.iter_batches(DECODED_AT_ONCE, columns=["box_id", "crop_png"]):
            decoded = pool.map(partial(_scaled, side_px=side_px), batch["crop_png"].to_pylist())
            for row, (box_id, image_rgb) in enumerate(zip(batch["box_id"].to_pylist(), decoded, strict=True), done):
                if image_rgb is None:
                    raise InputError(
                        f"{path}: crop of box {box_id}: expected a PNG image, found none; run `dvc repro dataset`"
                    )
                if image_rgb.shape[0] != rows_px:
                    raise InputError(
                        f"{path}: crop of box {box_id}: expected {rows_px // side_px} crops as in the first row, found "
                        f"{crops_in(image_rgb)}; run `dvc repro dataset`"
                    )
                images_rgb[place[row]] = image_rgb
            done += len(batch)
            progress.add(len(batch))
        images_rgb.flush()


def _rows_of_first(table: pq.ParquetFile, side_px: int) -> int:
    """Rows of pixels of the table's crops at a side: so many sides as a strip has crops."""
    first = _scaled(next(table.iter_batches(1, columns=["crop_png"]))["crop_png"][0].as_py(), side_px)
    return side_px if first is None else len(first)


def _scaled(content: bytes, side_px: int) -> np.ndarray | None:
    import cv2

    image_bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if image_bgr is None:
        return None
    return scale_image(image_bgr, side_px)[..., ::-1]


def scale_image(image: np.ndarray, side_px: int) -> np.ndarray:
    """uint8, S x S x 3, scaled to a side; of a strip each crop alone."""
    import cv2

    interpolation = cv2.INTER_AREA if image.shape[1] > side_px else cv2.INTER_LINEAR
    crops = np.split(image, crops_in(image))
    return np.concatenate([cv2.resize(crop, (side_px, side_px), interpolation=interpolation) for crop in crops])
