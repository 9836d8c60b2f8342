"""Call times of untrained candidates, exported as they would be released: they do not depend on the weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineact.bundle.classifier import CropClassifier
from lineact.bundle.networks import Setup
from lineact.call_time import call_time_ms
from lineact.choose_student.starts import Candidate
from lineact.errors import InputError
from lineact.export.graphs import ClassifierGraph, write_onnx, write_openvino
from lineact.foundation.vit import load_vit
from lineact.png import decode_png
from lineact.schema import LABELLED_CROPS, read_table

CROPS = 16  # different pictures, in turn
BURST = 10  # calls of a candidate before it is the next one's turn


@dataclass(frozen=True)
class Timed:
    """A candidate with its call times.

    Attributes:
        candidate: which.
        calls_ms: float64, one per call.
    """

    candidate: Candidate
    calls_ms: np.ndarray

    @property
    def p50_ms(self) -> float:
        """Median of a call, milliseconds; far below p95 where other work disturbed the measurement."""
        return float(np.median(self.calls_ms))

    @property
    def p95_ms(self) -> float:
        """95th percentile of a call, milliseconds."""
        return float(np.percentile(self.calls_ms, 95))


def read_crops(path: Path) -> list[np.ndarray]:
    """A few of the line's crops, as calls get them: uint8, 1 x S x S x 3.

    Args:
        path: LABELLED_CROPS table.

    Raises:
        InputError: where there are none.
    """
    contents = read_table(path, LABELLED_CROPS)["crop_png"][:CROPS].to_pylist()
    if not contents:
        raise InputError(f"{path}: expected crops to time candidates on, found none; review some of the queue")
    return [decode_png(content)[None] for content in contents]


def export_untrained(candidate: Candidate, label_count: int, setup: Setup, folder: Path) -> CropClassifier:
    """Exports a candidate with a new head and loads it.

    Args:
        candidate: its start is read.
        label_count: outputs of the head.
        setup: what runs it.
        folder: gets the exported files.
    """
    model, preprocessing = load_vit(str(candidate.folder), class_count=label_count)
    graph = ClassifierGraph(model, preprocessing.mean, preprocessing.std)
    side_px = preprocessing.side_px
    folder.mkdir(parents=True, exist_ok=True)
    write_onnx(graph, folder / "classifier.onnx", (side_px, side_px), any_batch=True)
    if setup.runtime == "openvino":
        write_openvino(folder / "classifier.onnx")
    return CropClassifier(folder, setup, side_px, label_count)


def time_in_turn(
    classifiers: Sequence[CropClassifier], crops_rgb: Sequence[np.ndarray], calls: int, warmup: int
) -> np.ndarray:
    """Times classifiers on single crops in turn, so that they meet the same disturbances.

    Each turn is a burst of calls: single ones would measure how the candidates push one another out of the CPU's
    caches, which no station does.

    Args:
        classifiers: which.
        crops_rgb: see `read_crops`; used in turn.
        calls: of each classifier that count.
        warmup: of each classifier before them.

    Returns:
        Milliseconds, float64, classifiers x calls.
    """
    found_ms: list[list[float]] = [[] for _ in classifiers]
    total = warmup + calls
    for start in range(0, total, BURST):
        for classifier, calls_ms in zip(classifiers, found_ms, strict=True):
            for number in range(start, min(start + BURST, total)):
                calls_ms.append(call_time_ms(classifier, crops_rgb[number % len(crops_rgb)]))
    return np.array(found_ms)[:, warmup:]
