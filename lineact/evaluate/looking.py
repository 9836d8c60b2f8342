"""Shows held-out frames to a pair, and keeps what it makes of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lineact.boxes import iou_matrix, match_one_to_one
from lineact.evaluate import EvaluateParams
from lineact.evaluate.truth import TruthFrame, decoded_with_past

PROGRESS_EVERY = 50


class Recogniser(Protocol):
    """What is evaluated: `lineact.bundle.pair.Bundle`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the probabilities' columns."""

    @property
    def score_threshold(self) -> float:
        """Boxes below are no hands."""

    def detect(self, image_rgb: np.ndarray, min_score: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Boxes and falling scores."""

    @property
    def lags_s(self) -> tuple[float, ...]:
        """Ages of the pictures that crops are cut from, seconds; (0.0,) without context."""

    def crops(
        self, image_rgb: np.ndarray, boxes_xyxy_px: np.ndarray, earlier_rgb: Sequence[np.ndarray] = ()
    ) -> np.ndarray:
        """Crops of boxes."""

    def classify(self, crops_rgb: np.ndarray) -> np.ndarray:
        """Probabilities of the labels."""


@dataclass(frozen=True)
class FrameResult:
    """What a pair makes of one frame.

    Attributes:
        truth: the frame.
        weak_xyxy_px: boxes from `min_score` on, W x 4.
        weak_scores: W, falling.
        boxes_xyxy_px: those at or above the score threshold, P x 4.
        scores: P.
        actions: P, the surest label of each.
        confidences: P, its probability.
        truth_box_actions: T, the surest label on each true box.
        pairs: (row of boxes_xyxy_px, row of truth), one to one.
    """

    truth: TruthFrame
    weak_xyxy_px: np.ndarray
    weak_scores: np.ndarray
    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    actions: tuple[str, ...]
    confidences: np.ndarray
    truth_box_actions: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]


def run(
    params: EvaluateParams, recognisers: Mapping[str, Recogniser], frames: Sequence[TruthFrame], raw: Path
) -> dict[str, list[FrameResult]]:
    """Shows every held-out frame to every recogniser; frames are decoded once.

    Args:
        params: the settings.
        recognisers: by name, e.g. "challenger".
        frames: the truth.
        raw: folder of recordings.

    Returns:
        Results by the recogniser's name, in the order of `frames`.

    Raises:
        InputError: where a recording or a frame of the truth is not there.
    """
    results: dict[str, list[FrameResult]] = {name: [] for name in recognisers}
    lags_s = sorted({lag_s for recogniser in recognisers.values() for lag_s in recogniser.lags_s})
    for index, (truth, pictures_rgb) in enumerate(decoded_with_past(frames, raw, lags_s)):
        for name, recogniser in recognisers.items():
            image_rgb, *earlier_rgb = (pictures_rgb[lags_s.index(lag_s)] for lag_s in recogniser.lags_s)
            found = look(recogniser, truth, image_rgb, params.match_iou, params.min_score, earlier_rgb)
            results[name].append(found)
        if (index + 1) % PROGRESS_EVERY == 0 or index + 1 == len(frames):
            print(f"{index + 1} of {len(frames)} held-out frames", flush=True)
    return results


def look(
    recogniser: Recogniser,
    truth: TruthFrame,
    image_rgb: np.ndarray,
    match_iou: float,
    min_score: float,
    earlier_rgb: Sequence[np.ndarray] = (),
) -> FrameResult:
    """Recognises one frame and pairs what was found with the truth.

    Args:
        recogniser: finds and names.
        truth: of the frame.
        image_rgb: uint8, H x W x 3.
        match_iou: a box counts as found from this IoU on, one to one, 0 to 1.
        min_score: boxes from this score on are kept as weak ones, 0 to 1.
        earlier_rgb: pictures of before, as crops with context need them: see `Recogniser.lags_s`.
    """
    threshold = recogniser.score_threshold
    weak_xyxy_px, weak_scores = recogniser.detect(image_rgb, min(min_score, threshold))
    # Greedy suppression drops a box for a surer one only, so these are what detect() gives at the threshold itself.
    sure = weak_scores >= threshold
    boxes_xyxy_px, scores = weak_xyxy_px[sure], weak_scores[sure]
    everything = np.concatenate([boxes_xyxy_px, truth.boxes_xyxy_px]).astype(np.float32)
    probabilities = recogniser.classify(recogniser.crops(image_rgb, everything, earlier_rgb))
    labels = [recogniser.labels[row.argmax()] for row in probabilities]
    pairs = match_one_to_one(iou_matrix(boxes_xyxy_px, truth.boxes_xyxy_px), match_iou)
    count = len(boxes_xyxy_px)
    return FrameResult(
        truth=truth,
        weak_xyxy_px=weak_xyxy_px,
        weak_scores=weak_scores,
        boxes_xyxy_px=boxes_xyxy_px,
        scores=scores,
        actions=tuple(labels[:count]),
        confidences=probabilities[:count].max(axis=1) if count else np.zeros(0),
        truth_box_actions=tuple(labels[count:]),
        pairs=tuple(pairs),
    )


def prediction_rows(model: str, results: Sequence[FrameResult]) -> Iterator[dict[str, Any]]:
    """Rows of the table PREDICTIONS: one per predicted box, and one per missed true box.

    Args:
        model: "challenger" or "champion".
        results: from `run`.
    """
    for result in results:
        frame = {"model": model, "video_sha256": result.truth.video_sha256, "pts_s": result.truth.pts_s}
        column_of = dict(result.pairs)
        for row, box_xyxy_px in enumerate(result.boxes_xyxy_px):
            found = {
                **dict(zip(("x1", "y1", "x2", "y2"), map(float, box_xyxy_px), strict=True)),
                "score": float(result.scores[row]),
                "action": result.actions[row],
                "confidence": float(result.confidences[row]),
            }
            truth = _truth_columns(result, column_of[row]) if row in column_of else {}
            yield frame | found | truth
        for column in sorted(set(range(len(result.truth.boxes_xyxy_px))) - set(column_of.values())):
            yield frame | _truth_columns(result, column)


def _truth_columns(result: FrameResult, column: int) -> dict[str, Any]:
    names = ("truth_x1", "truth_y1", "truth_x2", "truth_y2")
    return {
        **dict(zip(names, map(float, result.truth.boxes_xyxy_px[column]), strict=True)),
        "truth_action": result.truth.actions[column],
        "truth_box_action": result.truth_box_actions[column],
    }
