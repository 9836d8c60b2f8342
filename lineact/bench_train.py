"""How fast classifiers train beside a plain loop, in how much memory, and how both grow with the number of crops.

The plain loop is what a user writes first: all PNGs in a list, a torch DataLoader that decodes and varies each anew in
every epoch, the same network, optimiser and batches. Each measurement has a process of its own.
"""

import concurrent.futures
import dataclasses
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lineact.classifiers.settings import ClassifierParams
from lineact.process_memory import memory_peak_mb
from lineact.schema import LABELLED_CROPS, PICTURES_PER_ROW_GROUP, SCHEMA_VERSION

LABELS = ("pick", "place", "turn", "NG")
STORED_PX = 112
DISTINCT = 512  # different pictures; a larger set repeats them, which costs the same to decode
VALIDATION = 64  # crops
ROWS_AT_ONCE = 4096
LOADERS = 2  # processes of the plain loop's DataLoader


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes:
        path: LABELLED_CROPS table.
        choice: name of the classifier.
        params: its settings.
        start: folder or hub name of its start; None for random weights.
        images: so many crops of the table are trained with, spread over all of it.
    """

    path: Path
    choice: str
    params: ClassifierParams
    start: str | None
    images: int


@dataclass(frozen=True)
class TrainRun:
    """One way to train, measured.

    Attributes:
        ready_s: seconds until the crops can be trained with, in a first training.
        again_s: likewise, in a second one on the same crops.
        images_per_s: training crops a second.
        own_mb: memory of the process and of its children that the system cannot take back, 10^6 bytes; crops that are
            mapped from a file are not in it.
        peak_mb: greatest resident memory of the process, mapped files included.
    """

    ready_s: float
    again_s: float
    images_per_s: float
    own_mb: float
    peak_mb: float


def write_generated_crops(path: Path, count: int) -> None:
    """A table of smooth random pictures, in pieces, so that any number fits into memory.

    Args:
        path: of the table.
        count: training crops; VALIDATION more validate.
    """
    import cv2

    from lineact.png import encode_png

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (DISTINCT, 7, 7, 3), dtype=np.uint8)
    pngs = [encode_png(cv2.resize(one, (STORED_PX, STORED_PX), interpolation=cv2.INTER_CUBIC)) for one in coarse]
    schema = LABELLED_CROPS.with_metadata({"lineact_schema_version": str(SCHEMA_VERSION)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema) as writer:
        actions = rng.integers(len(LABELS), size=count)  # at random: some of the crops, evenly spaced, show all
        rows = ((index, "train") for index in range(count))
        held = ((index, "val") for index in range(VALIDATION))
        for part in _parts(itertools.chain(rows, held), ROWS_AT_ONCE):
            table = pa.Table.from_pylist([_row(index, split, actions, pngs) for index, split in part], schema=schema)
            writer.write_table(table, row_group_size=PICTURES_PER_ROW_GROUP)


def measured(how: Callable[[Job], TrainRun], job: Job) -> TrainRun:
    """Measures in a process of its own, whose memory nothing else has touched."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(how, job).result()


def as_the_product(job: Job) -> TrainRun:
    """As `lineact.classifiers.train` does it: one epoch over some of the crops."""
    import torch

    from lineact.classifiers.train import train_classifier
    from lineact.training.crops import CropSet, load_splits

    torch.set_num_threads(LOADERS)
    side_px = _side_px(job)
    ready_s = _seconds(lambda: load_splits(job.path, LABELS, side_px, 0.0))
    started_s = time.perf_counter()
    train, val = load_splits(job.path, LABELS, side_px, 0.0)
    again_s = time.perf_counter() - started_s
    every = max(len(train) // job.images, 1)
    some = CropSet(train.images_rgb[::every], train.classes[::every])
    fit = dataclasses.replace(job.params.fit, epochs=1, patience=1)
    params = dataclasses.replace(job.params, fit=fit)
    folder = Path("training") / f"{os.getpid()}"
    trained = train_classifier(params, LABELS, 0, some, val, job.start, None, folder)
    assert trained.images_per_s is not None
    return TrainRun(ready_s, again_s, trained.images_per_s, _own_mb(), memory_peak_mb())


def as_a_plain_loop(job: Job) -> TrainRun:
    """PNGs in a list, decoded and varied by a DataLoader: one epoch over some of the crops."""
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader

    from lineact.classifiers.families import start_network
    from lineact.classifiers.train import prepared

    torch.set_num_threads(LOADERS)
    started_s = time.perf_counter()
    table = pq.read_table(job.path, columns=["crop_png", "action", "split"])
    rows = zip(*(table[name].to_pylist() for name in ("crop_png", "action", "split")), strict=True)
    crops = [(png, LABELS.index(action)) for png, action, split in rows if split == "train"]
    ready_s = time.perf_counter() - started_s
    some = _Pictures(crops[:: max(len(crops) // job.images, 1)], _side_px(job), job.params)
    network = prepared(start_network(job.params, LABELS, job.start).module, job.params).train()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=job.params.fit.lr)
    loader: Any = DataLoader(some, job.params.fit.batch_size, shuffle=True, num_workers=LOADERS)  # type: ignore[arg-type]
    started_s, own_mb, warm = 0.0, 0.0, 0
    for images, classes in loader:
        optimiser.zero_grad()
        functional.cross_entropy(network(images), classes).backward()
        optimiser.step()
        if not warm:  # the first step imports half of torch, and waits for the loader's processes
            started_s, own_mb, warm = time.perf_counter(), _own_mb(), len(classes)
    images_per_s = (len(some) - warm) / (time.perf_counter() - started_s)
    return TrainRun(ready_s, ready_s, images_per_s, own_mb, memory_peak_mb())


class _Pictures:
    """A torch data set of PNGs, varied by torchvision as `lineact.training.augment` varies them."""

    def __init__(self, crops: list[tuple[bytes, int]], side_px: int, params: ClassifierParams) -> None:
        from torchvision.transforms import v2

        augment, grey = params.augment, (0.5, 0.5, 0.5)
        self._crops = crops
        self._vary = v2.Compose(
            [
                v2.ToImage(),
                v2.Resize((side_px, side_px)),
                v2.RandomAffine(0, (augment.shift, augment.shift), (1 - augment.scale, 1 + augment.scale)),
                v2.ColorJitter(augment.brightness, augment.contrast, augment.saturation),
                v2.RandomApply([v2.GaussianBlur(3)], augment.blur),
                _float(),
                v2.RandomErasing(augment.erase),
                v2.Normalize(grey, grey),
            ]
        )

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        from lineact.png import decode_png

        png, label = self._crops[row]
        return self._vary(decode_png(png)), label


def _float() -> Any:
    import torch
    from torchvision.transforms import v2

    return v2.ToDtype(torch.float32, scale=True)


def _side_px(job: Job) -> int:
    from lineact.classifiers.families import start_network
    from lineact.training.classifier import ClassifierSpec

    begun = start_network(job.params, LABELS, job.start)
    return ClassifierSpec(begun.config, LABELS, job.params.family).preprocessing.side_px


def _seconds(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _own_mb() -> float:
    """Anonymous memory of this process and its children, shared pages counted once (Linux)."""
    import psutil

    this = psutil.Process()
    total_kb = 0
    for process in (this, *this.children(recursive=True)):
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        total_kb += int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss_Anon:")))
    return total_kb * 1024 / 1e6


def _parts(rows: Iterator[tuple[int, str]], size: int) -> Iterator[list[tuple[int, str]]]:
    while part := list(itertools.islice(rows, size)):
        yield part


def _row(index: int, split: str, actions: np.ndarray, pngs: list[bytes]) -> dict[str, Any]:
    return {
        "video_sha256": split,
        "pts_s": float(index),
        "box_id": f"{split}{index}",
        **dict.fromkeys(("x1", "y1", "x2", "y2"), 0.0),
        "action": LABELS[actions[index % len(actions)]],
        "split": split,
        "decided_by": "person",
        "crop_png": pngs[index % DISTINCT],
    }
