"""Scores a line's localiser on its held-out recordings, as ActivityNet does."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from lineact.errors import InputError
from lineact.files import write_csv
from lineact.splits import HoldoutParams
from lineact.temporal.activitynet import GroundTruth, rows_of, write_ground_truth, write_predictions
from lineact.temporal.evaluate import scores_of, t_ious_of
from lineact.temporal.localizer import AnyLocalizer
from lineact.temporal.parts import Example, parts_of, read_examples
from lineact.temporal.segments import Segments, segments_of
from lineact.temporal.timeline import draw_timeline

TIMELINES = 6  # so many recordings are drawn


@dataclass(frozen=True)
class EvaluateLocalizerParams:
    """Settings of the stage `evaluate_localizer`.

    Attributes:
        holdout: what is held out.
        t_ious: lists of thresholds of mAP, e.g. "0.1:0.1:0.7"; the first is the headline.
        min_score: segments from here on are taken as meant: in cycles, and where they are one label a frame.
        fps: frames a second of that.
        first_step: action with which a cycle starts; null for no cycle times.
    """

    holdout: HoldoutParams
    t_ious: tuple[str, ...]
    min_score: float
    fps: float
    first_step: str | None

    def __post_init__(self) -> None:
        if not self.t_ious:
            raise ValueError("t_ious must name at least one list, e.g. 0.1:0.1:0.7")
        for text in self.t_ious:
            t_ious_of(text)
        if not 0 <= self.min_score <= 1 or not self.fps > 0:
            raise ValueError(f"min_score must be 0 to 1, fps above 0, found {self.min_score}, {self.fps}")


@dataclass(frozen=True)
class Measured:
    """A localiser's answers on the held-out recordings.

    Attributes:
        truth: of the held-out parts, each as a video of its own.
        found: all segments, of any score.
        seconds: that the head took.
    """

    truth: GroundTruth
    found: Segments
    seconds: float


def measure(
    params: EvaluateLocalizerParams, localizer: AnyLocalizer, features: Path, videos: pa.Table, truth: GroundTruth
) -> Measured:
    """Localises the held-out recordings.

    Args:
        params: settings.
        localizer: the trained one.
        features: folder of the stage `features`.
        videos: schema VIDEOS.
        truth: segments of recordings.

    Raises:
        InputError: where no held-out recording has segments to measure with.
    """
    parts = parts_of(read_examples(features, videos, truth), videos, params.holdout, 0.0, 1.0)
    return measured_on(localizer, parts.holdout)


def measured_on(localizer: AnyLocalizer, examples: Sequence[Example]) -> Measured:
    """Localises videos whose segments are known.

    Raises:
        InputError: where none of them has a segment.
    """
    actions = np.array(localizer.spec.labels)
    held = [Example(one.features, one.truth.take(np.isin(one.truth.labels, actions))) for one in examples]
    if not any(len(one.truth) for one in held):
        raise InputError(
            "expected held-out recordings with segments, found none; hold out others, or add their segments"
        )
    began_s = time.perf_counter()
    found = [row for one in held for row in rows_of(localizer.segments(one.features))]
    seconds = time.perf_counter() - began_s
    lengths_s = {one.features.video: one.features.duration_s for one in held}
    true = segments_of(row for one in held for row in rows_of(one.truth))
    return Measured(GroundTruth(true, tuple(lengths_s), lengths_s), segments_of(found), seconds)


def figures_of(
    params: EvaluateLocalizerParams, measured: Measured
) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Flat numbers for `metrics.json`, and average precision by action and threshold."""
    scores = scores_of(
        measured.truth,
        measured.found,
        params.t_ious,
        min_score=params.min_score,
        fps=params.fps,
        first_step=params.first_step,
    )
    by_class, _ = scores.pop("by_class"), scores.pop("unknown_labels")
    video_s = sum(measured.truth.duration_s.values())
    counts = {
        "map": scores[f"map_{params.t_ious[0]}"],
        "recordings": len(measured.truth.videos),
        "true_segments": len(measured.truth.segments),
        "video_s": video_s,
        "head_real_time_factor": measured.seconds / video_s,
    }
    return counts | scores, by_class


def write_answers(
    out: Path, params: EvaluateLocalizerParams, measured: Measured, by_class: dict[str, dict[str, float]]
) -> None:
    """Writes truth.json and predictions.json (ActivityNet's layout), plots/by_action.csv and timelines."""
    write_ground_truth(out / "truth.json", measured.truth, "holdout")
    write_predictions(out / "predictions.json", measured.found)
    t_ious = [f"{value:g}" for value in t_ious_of(params.t_ious[0])]
    rows = [(label, *(f"{values[t_iou]:.4f}" for t_iou in t_ious)) for label, values in sorted(by_class.items())]
    write_csv(out / "plots" / "by_action.csv", ("action", *(f"ap_{t_iou}" for t_iou in t_ious)), rows)
    meant = measured.found.take(measured.found.scores >= params.min_score)
    labels = sorted(by_class)
    for video in measured.truth.videos[:TIMELINES]:
        drawn = {
            name: one.take(one.videos == video) for name, one in (("true", measured.truth.segments), ("found", meant))
        }
        name = str(PurePath(video).with_suffix("")).replace("/", "_")  # two shifts may have a recording of one name
        path = out / "plots" / f"timeline_{name}.png"
        draw_timeline(path, drawn, labels, measured.truth.duration_s[video], video)
