"""The figures of one pair."""

from collections.abc import Sequence

import numpy as np

from lineact.evaluate.looking import FrameResult, Recogniser
from lineact.evaluate.truth import TruthFrame
from lineact.metrics import (
    ScoredFrame,
    accuracy,
    average_precision,
    coco_map,
    confusion_matrix,
    macro_f1,
    recall_per_class,
    score_detection,
)

NG = "NG"


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
    weak = scored_weakly(results)
    metrics |= {"detection_map50": average_precision(weak, 0.5), "detection_map50_95": coco_map(weak)}
    metrics |= _action_scores(*matched_actions(results), labels)
    alone = _action_scores(*truth_box_actions(results), labels)
    metrics |= {f"truth_box_{name}": value for name, value in alone.items()}
    decided = int(alone["actions"] or 0)
    right = sum(right_end_to_end(results))
    metrics["action_accuracy_misses_wrong"] = right / decided if decided else None
    return metrics


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


def right_end_to_end(results: Sequence[FrameResult]) -> list[bool]:
    """Per true box with a decided action: found and named right?"""
    right = []
    for result in results:
        row_of = {column: row for row, column in result.pairs}
        for column, action in enumerate(result.truth.actions):
            if action is not None:
                right.append(column in row_of and result.actions[row_of[column]] == action)
    return right


def all_labels(recogniser: Recogniser, frames: Sequence[TruthFrame]) -> tuple[str, ...]:
    """The recogniser's labels, NG last as it has them, and before them those that only the truth knows."""
    known = recogniser.labels
    foreign = {action for frame in frames for action in frame.actions if action is not None} - set(known)
    return (*sorted(foreign), *known)


def scored_weakly(results: Sequence[FrameResult]) -> list[ScoredFrame]:
    """Frames with all boxes from `min_score` on, for mAP and the precision-recall curve."""
    return [ScoredFrame(result.weak_xyxy_px, result.weak_scores, result.truth.boxes_xyxy_px) for result in results]


def confusion_of(actual: list[str], predicted: list[str], labels: Sequence[str]) -> np.ndarray:
    """Confusion matrix of names, K x K, rows are actual."""
    index = {label: row for row, label in enumerate(labels)}
    rows, columns = ([index[name] for name in names] for names in (actual, predicted))
    return confusion_matrix(np.array(rows, np.int64), np.array(columns, np.int64), len(labels))


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
