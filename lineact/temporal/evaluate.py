"""`python -m lineact.temporal.evaluate --ground-truth FILE --predictions FILE [--t-iou 0.1:0.1:0.7] [--strict]`.

Scores segments of ActivityNet's JSON layout: mAP by class and tIoU, average recall, and of the surest segments as one
label a frame: frame accuracy, edit score, F1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lineact.errors import ConfigError, LineactError
from lineact.files import write_json
from lineact.temporal.activitynet import GroundTruth, read_ground_truth, read_predictions
from lineact.temporal.average_precision import AveragePrecision, average_precision, average_recall
from lineact.temporal.cycles import cycle_error
from lineact.temporal.segmentation import frame_labels, segmentation_scores
from lineact.temporal.segments import Segments

T_IOUS = ("0.1:0.1:0.7", "0.3:0.1:0.7", "0.5:0.05:0.95")
RECALL_PER_VIDEO = 100
MAX_STEPS = 1000
MOST_FPS = 1000.0


def t_ious_of(text: str) -> tuple[float, ...]:
    """Thresholds of `first:step:last`, both ends among them, or of one number.

    Raises:
        ConfigError: where these are no numbers above 0 up to 1, or too many.
    """
    way_out = "expected first:step:last or one number, above 0 up to 1, e.g. 0.1:0.1:0.7"
    try:
        numbers = [float(word) for word in text.split(":")]
    except ValueError as error:
        raise ConfigError(f"tIoU {text!r}: {way_out}") from error
    first, step, last = numbers if len(numbers) == 3 else (numbers[0], 1.0, numbers[0])
    if (
        len(numbers) not in (1, 3)
        or not (0 < first <= last <= 1 and 0 < step <= 1)
        or (last - first) / step > MAX_STEPS
    ):
        raise ConfigError(f"tIoU {text!r}: {way_out}")
    return tuple(round(first + step * number, 6) for number in range(int((last - first) / step + 1e-6) + 1))


def scores_of(
    truth: GroundTruth,
    predictions: Segments,
    t_ious: Sequence[str] = T_IOUS,
    *,
    strict: bool = False,
    min_score: float = 0.5,
    fps: float = 10.0,
    first_step: str | None = None,
) -> dict[str, Any]:
    """All figures of a file of predictions.

    Args:
        truth: ground truth.
        predictions: of the same videos.
        t_ious: lists of thresholds, see `t_ious_of`.
        strict: see `average_precision`.
        min_score: segments from this score on are taken as meant, where they are one label a frame, and in cycles.
        fps: frames a second of that.
        first_step: label with which a cycle starts; None for no cycle times.

    Returns:
        Flat names to numbers, and under "by_class" average precision by class and tIoU.

    Raises:
        ConfigError: on thresholds.
        InputError: where there is no ground truth, or strict some is there twice.
    """
    scores: dict[str, Any] = {}
    by_class: dict[str, dict[str, float]] = {}
    for text in t_ious:
        found = average_precision(truth.segments, predictions, t_ious_of(text), strict=strict)
        scores[f"map_{text}"] = found.average
        for t_iou, value in zip(found.t_ious, found.mean_by_t_iou, strict=True):
            scores[f"map_{t_iou:g}"] = float(value)
        for label, values in _by_label(found).items():
            by_class.setdefault(label, {}).update(values)
        recall = average_recall(truth.segments, predictions, found.t_ious, RECALL_PER_VIDEO)
        scores[f"ar{RECALL_PER_VIDEO}_{text}"] = recall
    meant = predictions.take(predictions.scores >= min_score)
    scores |= _frame_scores(truth, meant, fps)
    if first_step is not None:
        cycles = cycle_error(truth.segments, meant, first_step)
        scores |= {
            "cycles": cycles.cycles,
            "cycles_found": cycles.found,
            "cycle_error_s": cycles.mean_absolute_s,
            "cycle_s": cycles.mean_s,
        }
    return (
        scores
        | {"unknown_labels": sorted(set(predictions.labels) - set(truth.segments.labels))}
        | {"by_class": by_class}
    )


def _by_label(found: AveragePrecision) -> dict[str, dict[str, float]]:
    return {
        label: {f"{t_iou:g}": float(value) for t_iou, value in zip(found.t_ious, values, strict=True)}
        for label, values in zip(found.labels, found.values, strict=True)
    }


def _frame_scores(truth: GroundTruth, meant: Segments, fps: float) -> dict[str, float | None]:
    """Of videos whose length the ground truth tells."""
    if not truth.duration_s:
        return {}
    true, told = (
        {video: frame_labels(one, video, length_s, fps) for video, length_s in truth.duration_s.items()}
        for one in (truth.segments, meant)
    )
    return segmentation_scores(true, told)


def _table(scores: dict[str, Any]) -> str:
    lines = [f"{name:<24} {_shown(value)}" for name, value in scores.items() if not isinstance(value, dict | list)]
    if scores["unknown_labels"]:
        lines.append(f"labels that the ground truth does not have: {', '.join(scores['unknown_labels'])}")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m lineact.temporal.evaluate", description="Scores segments in time.")
    parser.add_argument("--ground-truth", type=Path, required=True, help="ActivityNet's JSON with a database")
    parser.add_argument("--predictions", type=Path, required=True, help="ActivityNet's JSON with results")
    parser.add_argument("--subset", help="of the ground truth, e.g. validation; all where it is left out")
    parser.add_argument("--t-iou", action="append", help=f"thresholds, several times too; {', '.join(T_IOUS)}")
    parser.add_argument("--strict", action="store_true", help="unknown labels are wrong, doubled ground truth an error")
    parser.add_argument("--min-score", type=float, default=0.5, help="segments that count frame by frame (0.5)")
    parser.add_argument("--fps", type=float, default=10.0, help="frames a second there (10)")
    parser.add_argument("--first-step", help="action with which a cycle starts, for cycle times")
    parser.add_argument("--out", type=Path, help="writes all figures there, as JSON")
    asked = parser.parse_args(arguments)
    try:
        truth = read_ground_truth(asked.ground_truth, asked.subset)
        predictions = read_predictions(asked.predictions, truth.duration_s)
        if asked.subset is not None:
            predictions = predictions.take(np.isin(predictions.videos, truth.videos))
        if not 0 < asked.fps <= MOST_FPS:
            raise ConfigError(f"--fps {asked.fps:g}: expected a number above 0 up to {MOST_FPS:g}")
        scores = scores_of(
            truth,
            predictions,
            asked.t_iou or T_IOUS,
            strict=asked.strict,
            min_score=asked.min_score,
            fps=asked.fps,
            first_step=asked.first_step,
        )
        if asked.out is not None:
            write_json(asked.out, scores)
    except LineactError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(_table(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
