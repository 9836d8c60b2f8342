"""Which variants of the released networks may run on this machine: right enough, and worth it.

A variant is a runtime, a precision and a number of threads. It is held against the same pair in f32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from lineact.bundle.networks import Setup
from lineact.bundle.pair import Bundle
from lineact.bundle.processing import read_png, rgb_of
from lineact.files import write_csv
from lineact.metrics import ScoredFrame, score_detection
from lineact.schema import LABELLED_CROPS, read_table

MATCH_IOU = 0.4  # from this IoU on a hand counts as found


@dataclass(frozen=True)
class VariantLimits:
    """What a variant must keep to.

    Attributes:
        crops: validation crops on which actions are scored, at most.
        frames: validation images on which detection is scored, at most.
        max_loss: greatest loss of accuracy of the actions, and of recall and accuracy of the detection, against f32.
        max_call_p99_ms: the classifier's call with two crops, milliseconds.
        max_frame_p95_ms: a whole frame, from decoding to actions, milliseconds.
    """

    crops: int
    frames: int
    max_loss: float
    max_call_p99_ms: float
    max_frame_p95_ms: float

    def __post_init__(self) -> None:
        if min(self.crops, self.frames) < 1 or self.max_loss < 0:
            raise ValueError("crops and frames must be at least 1, max_loss at least 0")
        if min(self.max_call_p99_ms, self.max_frame_p95_ms) <= 0:
            raise ValueError("max_call_p99_ms and max_frame_p95_ms must be above 0")


class Labelled(NamedTuple):
    """What variants are scored on.

    Attributes:
        crops: LABELLED_CROPS table; its validation rows count.
        detection: YOLO detection set; its validation images count.
    """

    crops: Path
    detection: Path


class Accuracy(NamedTuple):
    """How right a variant is, shares 0 to 1.

    Attributes:
        actions: of the validation crops with the right action.
        recall: of the true boxes on the validation images, those that are found.
        boxes: of the found boxes, those that are right.
    """

    actions: float
    recall: float
    boxes: float


class Judged(NamedTuple):
    """A variant's figures and what is said of it.

    Attributes:
        setup: the variant.
        accuracy: see `Accuracy`.
        call_p99_ms: of the classifier with two crops.
        frame_p50_ms: of a whole frame.
        frame_p95_ms: likewise.
        reasons: why it was rejected; empty where it was accepted.
    """

    setup: Setup
    accuracy: Accuracy
    call_p99_ms: float
    frame_p50_ms: float
    frame_p95_ms: float
    reasons: tuple[str, ...] = ()


def accuracy_of(pair: Bundle, labelled: Labelled, limits: VariantLimits) -> Accuracy:
    """Scores a loaded variant on the line's validation data."""
    table = read_table(labelled.crops, LABELLED_CROPS)
    table = table.filter(pc.equal(table["split"], "val"))
    rows = _evenly(len(table), limits.crops)
    right = 0
    for crop in table.take(rows).select(["crop_png", "action"]).to_pylist():
        crop_rgb = rgb_of(crop["crop_png"], str(labelled.crops))
        right += pair.labels[int(pair.logits(crop_rgb[None]).argmax())] == crop["action"]
    labels = sorted((labelled.detection / "labels/val").glob("*.txt"))
    frames = [_scored(pair, labelled.detection, labels[row]) for row in _evenly(len(labels), limits.frames)]
    score = score_detection(frames, MATCH_IOU)
    return Accuracy(right / max(len(rows), 1), score.recall or 0.0, score.accuracy or 0.0)


def judge(judged: Sequence[Judged], limits: VariantLimits) -> list[Judged]:
    """Says of each variant whether it is accepted, and why not.

    Args:
        judged: figures; each is held against the one in f32 of the same runtime and threads, or the first in f32.
        limits: see `VariantLimits`.
    """
    return [one._replace(reasons=(*one.reasons, *_objections(one, _reference(one, judged), limits))) for one in judged]


def _reference(one: Judged, judged: Sequence[Judged]) -> Judged | None:
    plain = [other for other in judged if other.setup.precision == "f32"]
    same = [
        other for other in plain if (other.setup.runtime, other.setup.threads) == (one.setup.runtime, one.setup.threads)
    ]
    return next(iter(same or plain), None)


def _objections(one: Judged, reference: Judged | None, limits: VariantLimits) -> list[str]:
    found = []
    if reference is not None and reference is not one:
        for name, before, after in zip(Accuracy._fields, reference.accuracy, one.accuracy, strict=True):
            if not before - after <= limits.max_loss:
                found.append(f"{name} {after:.3f} beside {before:.3f} in f32, may lose {limits.max_loss:g}")
        if one.setup.precision != "f32" and one.frame_p50_ms >= reference.frame_p50_ms:
            found.append(f"no faster: a frame takes {one.frame_p50_ms:.2f} ms, {reference.frame_p50_ms:.2f} in f32")
    if not one.call_p99_ms <= limits.max_call_p99_ms:
        found.append(f"a call's p99 is {one.call_p99_ms:.2f} ms, needed at most {limits.max_call_p99_ms:g}")
    if not one.frame_p95_ms <= limits.max_frame_p95_ms:
        found.append(f"a frame's p95 is {one.frame_p95_ms:.2f} ms, needed at most {limits.max_frame_p95_ms:g}")
    return found


def write_variants(path: Path, judged: Sequence[Judged], missing: Sequence[tuple[str, str]]) -> None:
    """Writes one CSV row per variant, those that this machine has not at the end.

    Args:
        path: of the table.
        judged: the measured ones.
        missing: names and reasons of the others.
    """
    header = ["variant", "accepted", "why_not", *Accuracy._fields, "call_p99_ms", "frame_p50_ms", "frame_p95_ms"]
    rows: list[list[str]] = [
        [one.setup.name, "no" if one.reasons else "yes", "; ".join(one.reasons)]
        + [f"{share:.4f}" for share in one.accuracy]
        + [f"{one.call_p99_ms:.3f}", f"{one.frame_p50_ms:.3f}", f"{one.frame_p95_ms:.3f}"]
        for one in judged
    ]
    for name, reason in missing:
        rows.append([name, "no", reason, *[""] * (len(header) - 3)])
    write_csv(path, header, rows)


def _scored(pair: Bundle, detection: Path, labels: Path) -> ScoredFrame:
    """A validation image: boxes found, and those in its YOLO file (class, centre and size, shares of the image)."""
    image = next((detection / "images/val").glob(f"{labels.stem}.*"))
    image_rgb = read_png(image)
    height, width = image_rgb.shape[:2]
    truth = np.array([line.split()[1:5] for line in labels.read_text().splitlines()], np.float64).reshape(-1, 4)
    centres, sizes = truth[:, :2] * (width, height), truth[:, 2:] * (width, height)
    boxes_xyxy_px, scores = pair.detect(image_rgb)
    return ScoredFrame(boxes_xyxy_px, scores, np.hstack([centres - sizes / 2, centres + sizes / 2]))


def _evenly(there: int, count: int) -> list[int]:
    """So many row numbers, evenly spread; all where there are fewer."""
    return sorted(set(np.linspace(0, there - 1, min(count, there)).round().astype(int).tolist()))
