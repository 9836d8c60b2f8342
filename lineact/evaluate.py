"""The released pair on held-out frames: does it find the hands, does it name their actions, is it better than the last?

Two views of the classifier: end to end, on detected boxes that match a true one (misses are counted beside it), and
alone, on the true boxes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from lineact.boxes import iou_matrix, match_one_to_one
from lineact.bundle import load_bundle
from lineact.bundle.networks import Precision, Runtime
from lineact.bundle.pair import Bundle
from lineact.errors import InputError
from lineact.files import sha256_of_tree
from lineact.metrics import (
    ScoredFrame,
    accuracy,
    average_precision,
    confusion_matrix,
    macro_f1,
    paired_bootstrap,
    recall_per_class,
    score_detection,
    time_blocks,
)
from lineact.video import PTS_TOLERANCE_S, read_frames, videos_by_sha256

CHAMPIONS = Path(".lineact/champions")  # bundles by the hash of their tree
NG = "NG"
PROGRESS_EVERY = 50


@dataclass(frozen=True)
class ChampionParams:
    """The release to compare with.

    Attributes:
        version: in the registry, for messages.
        bundle_sha256: of its bundle's tree, where `CHAMPIONS` keeps it.
    """

    version: str
    bundle_sha256: str


@dataclass(frozen=True)
class EvaluateParams:
    """Settings of the stage `evaluate`.

    Attributes:
        champion: the release to compare with, or none.
        runtime: what runs the networks.
        precision: of their arithmetic.
        threads: CPU threads.
        match_iou: a box counts as found from this IoU on, one to one, 0 to 1.
        min_score: boxes from this score on enter mAP50 and the precision-recall curve, 0 to 1.
        block_s: seconds that the bootstrap resamples as one.
        resamples: number of bootstrap samples.
        level: coverage of the interval, 0 to 1.
        seed: of the resampling.
    """

    champion: ChampionParams | None
    runtime: Runtime
    precision: Precision
    threads: int
    match_iou: float
    min_score: float
    block_s: float
    resamples: int
    level: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.match_iou <= 1:
            raise ValueError(f"match_iou must be above 0 and at most 1, found {self.match_iou}")
        if not 0 <= self.min_score < 1 or not 0 < self.level < 1:
            raise ValueError("min_score must be 0 to below 1, level between 0 and 1")
        if self.threads < 1 or self.resamples < 1 or not self.block_s > 0:
            raise ValueError("threads and resamples must be at least 1, block_s above 0")


@dataclass(frozen=True)
class TruthFrame:
    """A held-out frame as a person sees it.

    Attributes:
        video_sha256: of its recording.
        pts_s: its time there.
        boxes_xyxy_px: float, T x 4; none on a frame that was checked as empty.
        actions: T; None where only the box was decided.
    """

    video_sha256: str
    pts_s: float
    boxes_xyxy_px: np.ndarray
    actions: tuple[str | None, ...]


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

    def crops(self, image_rgb: np.ndarray, boxes_xyxy_px: np.ndarray) -> np.ndarray:
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


def truth_frames(holdout: pa.Table, where: Path) -> list[TruthFrame]:
    """Groups held-out truth by frame, in order of recording and time.

    Args:
        holdout: schema HOLDOUT_BOXES.
        where: its file, for errors.

    Raises:
        InputError: where there is no truth at all.
    """
    rows: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in holdout.to_pylist():
        rows.setdefault((row["video_sha256"], row["pts_s"]), []).append(row)
    if not rows:
        raise InputError(
            f"{where}: expected decisions on held-out frames, found none; review the queue's held-out items "
            "(task box), and set holdout in the line's file if there are none"
        )
    frames = []
    for (video_sha256, pts_s), found in sorted(rows.items()):
        hands = [row for row in found if row["x1"] is not None]
        boxes = np.array([[row[name] for name in ("x1", "y1", "x2", "y2")] for row in hands], np.float64)
        frames.append(TruthFrame(video_sha256, pts_s, boxes.reshape(-1, 4), tuple(row["action"] for row in hands)))
    return frames


def open_champion(params: EvaluateParams) -> Bundle | None:
    """Loads the pinned champion.

    Raises:
        InputError: where its bundle is not there or another one lies in its place.
    """
    if params.champion is None:
        return None
    version, expected = params.champion.version, params.champion.bundle_sha256
    folder = CHAMPIONS / expected
    way_out = (
        "`python -m flows.pin line=<line>` fetches the champion from the registry; evaluate.champion: null in the "
        "line's file goes on without one"
    )
    if not folder.is_dir():
        raise InputError(f"{folder}: expected the bundle of champion version {version}, found nothing; {way_out}")
    found = sha256_of_tree(folder)
    if found != expected:
        raise InputError(
            f"{folder}: expected a bundle with this hash, found {found}; remove the folder, then {way_out}"
        )
    return load_bundle(folder, params.runtime, precision=params.precision, threads=params.threads)


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
    for index, (truth, image_rgb) in enumerate(_decoded(frames, raw)):
        for name, recogniser in recognisers.items():
            results[name].append(look(params, recogniser, truth, image_rgb))
        if (index + 1) % PROGRESS_EVERY == 0 or index + 1 == len(frames):
            print(f"{index + 1} of {len(frames)} held-out frames", flush=True)
    return results


def look(params: EvaluateParams, recogniser: Recogniser, truth: TruthFrame, image_rgb: np.ndarray) -> FrameResult:
    """Recognises one frame and pairs what was found with the truth."""
    threshold = recogniser.score_threshold
    weak_xyxy_px, weak_scores = recogniser.detect(image_rgb, min(params.min_score, threshold))
    # Greedy suppression drops a box for a surer one only, so these are what detect() gives at the threshold itself.
    sure = weak_scores >= threshold
    boxes_xyxy_px, scores = weak_xyxy_px[sure], weak_scores[sure]
    everything = np.concatenate([boxes_xyxy_px, truth.boxes_xyxy_px]).astype(np.float32)
    probabilities = recogniser.classify(recogniser.crops(image_rgb, everything))
    labels = [recogniser.labels[row.argmax()] for row in probabilities]
    pairs = match_one_to_one(iou_matrix(boxes_xyxy_px, truth.boxes_xyxy_px), params.match_iou)
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


def matched_actions(results: Sequence[FrameResult]) -> tuple[list[str], list[str]]:
    """(true, predicted) actions of matched boxes, end to end; boxes without a decided action are left out."""
    pairs = [
        (action, result.actions[row])
        for result in results
        for row, column in result.pairs
        if (action := result.truth.actions[column]) is not None
    ]
    return [actual for actual, _ in pairs], [predicted for _, predicted in pairs]


def truth_box_actions(results: Sequence[FrameResult]) -> tuple[list[str], list[str]]:
    """(true, predicted) actions on the true boxes: the classifier alone."""
    pairs = [
        (action, predicted)
        for result in results
        for action, predicted in zip(result.truth.actions, result.truth_box_actions, strict=True)
        if action is not None
    ]
    return [actual for actual, _ in pairs], [predicted for _, predicted in pairs]


def score(results: Sequence[FrameResult], labels: Sequence[str]) -> dict[str, float | int | None]:
    """All figures of one recogniser; None where a figure is undefined.

    Args:
        results: from `run`.
        labels: classes of the confusion matrices, see `all_labels`.
    """
    metrics: dict[str, float | int | None] = {
        "frames": len(results),
        "empty_frames": sum(not len(result.truth.boxes_xyxy_px) for result in results),
        "truth_hands": sum(len(result.truth.boxes_xyxy_px) for result in results),
        "matched_hands": sum(len(result.pairs) for result in results),
        "false_boxes_on_empty_frames": sum(
            len(result.boxes_xyxy_px) for result in results if not len(result.truth.boxes_xyxy_px)
        ),
    }
    metrics["missed_hands"] = sum(len(result.truth.boxes_xyxy_px) - len(result.pairs) for result in results)
    sure = [ScoredFrame(result.boxes_xyxy_px, result.scores, result.truth.boxes_xyxy_px) for result in results]
    for percent in (30, 40):
        detection = score_detection(sure, percent / 100)
        metrics[f"detection_recall_iou{percent}"] = detection.recall
        metrics[f"detection_accuracy_iou{percent}"] = detection.accuracy
        metrics[f"detection_precision_iou{percent}"] = detection.one_to_one_precision
        metrics["predicted_hands"] = detection.predicted_count
    metrics["detection_map50"] = average_precision(scored_weakly(results), 0.5)
    metrics |= _action_scores(*matched_actions(results), labels)
    alone = _action_scores(*truth_box_actions(results), labels)
    metrics |= {f"truth_box_{name}": value for name, value in alone.items()}
    decided = int(alone["actions"] or 0)
    right = sum(_right_end_to_end(results))
    metrics["action_accuracy_misses_wrong"] = right / decided if decided else None
    return metrics


def gains(
    params: EvaluateParams, challenger: Sequence[FrameResult], champion: Sequence[FrameResult]
) -> dict[str, float | int | None]:
    """Paired bootstrap intervals of challenger less champion, over the same true boxes.

    An action gain's item is a true box with a decided action: right where it was found and named right, so a miss is
    wrong. A recall gain's item is a true box: found or not, by any box of at least `match_iou`.

    Returns:
        `action_gain_low`, `_mean`, `_high`, `recall_gain_...`, and `gain_blocks`; None without such items.
    """
    metrics: dict[str, float | int | None] = {}
    both = {
        "action": (_right_end_to_end(challenger), _right_end_to_end(champion)),
        "recall": (_found(challenger, params.match_iou), _found(champion, params.match_iou)),
    }
    for name, (ours, theirs) in both.items():
        owners = [
            result.truth
            for result in challenger
            for action in result.truth.actions
            if name == "recall" or action is not None
        ]
        if not owners:
            metrics |= {f"{name}_gain_low": None, f"{name}_gain_mean": None, f"{name}_gain_high": None}
            continue
        times_s = np.array([truth.pts_s for truth in owners])
        blocks = time_blocks([truth.video_sha256 for truth in owners], times_s, params.block_s)
        interval = paired_bootstrap(
            np.array(ours, np.float64),
            np.array(theirs, np.float64),
            blocks,
            resamples=params.resamples,
            level=params.level,
            seed=params.seed,
        )
        metrics |= {
            f"{name}_gain_low": interval.low,
            f"{name}_gain_mean": interval.mean,
            f"{name}_gain_high": interval.high,
            f"{name}_gain_blocks": interval.block_count,
        }
    return metrics


def all_labels(recogniser: Recogniser, frames: Sequence[TruthFrame]) -> tuple[str, ...]:
    """The recogniser's labels, NG last as it has them, and before them those that only the truth knows."""
    known = recogniser.labels
    foreign = {action for frame in frames for action in frame.actions if action is not None} - set(known)
    return (*sorted(foreign), *known)


def scored_weakly(results: Sequence[FrameResult]) -> list[ScoredFrame]:
    """Frames with all boxes from `min_score` on, for mAP and the precision-recall curve."""
    return [ScoredFrame(result.weak_xyxy_px, result.weak_scores, result.truth.boxes_xyxy_px) for result in results]


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


def _action_scores(actual: list[str], predicted: list[str], labels: Sequence[str]) -> dict[str, float | int | None]:
    confusion = confusion_of(actual, predicted, labels)
    recalls = recall_per_class(confusion)
    ng_recall = float(recalls[labels.index(NG)]) if NG in labels else float("nan")
    support = confusion.sum(axis=1)
    return {
        "actions": int(support.sum()),
        "action_accuracy": accuracy(confusion),
        "action_macro_f1": macro_f1(confusion),
        "ng_recall": None if np.isnan(ng_recall) else ng_recall,
        "majority_accuracy": float(support.max() / support.sum()) if support.sum() else None,
    }


def confusion_of(actual: list[str], predicted: list[str], labels: Sequence[str]) -> np.ndarray:
    """Confusion matrix of names, K x K, rows are actual."""
    index = {label: row for row, label in enumerate(labels)}
    rows, columns = ([index[name] for name in names] for names in (actual, predicted))
    return confusion_matrix(np.array(rows, np.int64), np.array(columns, np.int64), len(labels))


def _right_end_to_end(results: Sequence[FrameResult]) -> list[bool]:
    """Per true box with a decided action: found and named right?"""
    right = []
    for result in results:
        row_of = {column: row for row, column in result.pairs}
        for column, action in enumerate(result.truth.actions):
            if action is not None:
                right.append(column in row_of and result.actions[row_of[column]] == action)
    return right


def _found(results: Sequence[FrameResult], min_iou: float) -> list[bool]:
    """Per true box: is there a box of at least this IoU?"""
    found: list[bool] = []
    for result in results:
        iou = iou_matrix(result.boxes_xyxy_px, result.truth.boxes_xyxy_px)  # P x T
        found += (iou.max(axis=0, initial=0) >= min_iou).tolist()
    return found


def _decoded(frames: Sequence[TruthFrame], raw: Path) -> Iterator[tuple[TruthFrame, np.ndarray]]:
    """Frames with their pictures, in the order given (sorted by recording and time)."""
    recordings = videos_by_sha256(raw)
    by_video: dict[str, list[TruthFrame]] = {}
    for frame in frames:
        by_video.setdefault(frame.video_sha256, []).append(frame)
    for video_sha256, wanted in by_video.items():
        path = recordings.get(video_sha256)
        if path is None:
            raise InputError(
                f"{raw}: expected the recording with SHA-256 {video_sha256[:12]} that held-out decisions are about, "
                "found none; put it back, or remove its decisions"
            )
        done = 0
        for decoded in read_frames(path, [frame.pts_s for frame in wanted]):
            if done < len(wanted) and abs(decoded.pts_s - wanted[done].pts_s) <= PTS_TOLERANCE_S:
                yield wanted[done], decoded.image_rgb
                done += 1
        if done < len(wanted):
            raise InputError(f"{path}: expected a frame at {wanted[done].pts_s:.6f} s, found none; run `dvc repro`")
