"""Call times of untrained candidates, exported as they would be released: they do not depend on the weights."""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lineact.bundle.classifier import CropClassifier
from lineact.bundle.networks import Setup
from lineact.call_time import times_in_turn_ms
from lineact.choose_student.starts import Candidate
from lineact.classifiers.context import ContextClassifier
from lineact.errors import InputError
from lineact.export.graphs import ClassifierGraph, write_onnx, write_openvino
from lineact.foundation.vit import load_vit
from lineact.png import decode_png
from lineact.schema import LABELLED_CROPS, read_table

CROPS = 16  # different pictures, in turn


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
    """A few of the line's crops, as calls get them: uint8, 1 x S x S x 3, of strips 1 x (crops * S) x S x 3.

    Args:
        path: LABELLED_CROPS table.

    Raises:
        InputError: where there are none.
    """
    contents = read_table(path, LABELLED_CROPS)["crop_png"][:CROPS].to_pylist()
    if not contents:
        raise InputError(f"{path}: expected crops to time candidates on, found none; review some of the queue")
    return [decode_png(content)[None] for content in contents]


def open_untrained(candidate: Candidate, label_count: int, setup: Setup, crops: int = 1) -> CropClassifier:
    """Exports a candidate with a new head and loads it.

    Args:
        candidate: its start is read.
        label_count: outputs of the head.
        setup: what runs it.
        crops: of a strip, 1 for plain crops.
    """
    vit, preprocessing = load_vit(str(candidate.folder), class_count=label_count)
    model = vit if crops == 1 else ContextClassifier(vit, crops, label_count)
    graph = ClassifierGraph(model, preprocessing.mean, preprocessing.std)
    side_px = preprocessing.side_px
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classifier.onnx"
        write_onnx(graph, path, (crops * side_px, side_px), any_batch=True)
        if setup.runtime == "openvino":
            write_openvino(path)
        return CropClassifier(path.parent, setup, side_px, label_count)


def time_calls(
    classifiers: Sequence[CropClassifier], crops_rgb: Sequence[np.ndarray], calls: int, warmup: int
) -> np.ndarray:
    """Times classifiers on single crops.

    Args:
        classifiers: which.
        crops_rgb: see `read_crops`; used in turn.
        calls: of each classifier that count.
        warmup: of each classifier before them.

    Returns:
        Milliseconds with scaling and softmax, float64, classifiers x calls.
    """
    shown = itertools.cycle(crops_rgb)
    named = [partial(_classify_next, classifier, shown) for classifier in classifiers]
    return times_in_turn_ms(named, calls, warmup)


def _classify_next(classifier: CropClassifier, shown: Iterator[np.ndarray]) -> np.ndarray:
    return classifier.classify(next(shown))
