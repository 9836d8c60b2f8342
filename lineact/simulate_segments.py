"""When each action of a simulated line's recordings was: what a person writes down of real ones."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lineact.evaluate_events import Interval, true_events
from lineact.temporal.activitynet import GroundTruth
from lineact.temporal.segments import Row, segments_of


@dataclass(frozen=True)
class SimulateSegmentsParams:
    """Settings of the stage `simulate_segments`.

    Attributes:
        min_duration_s: shorter ones are left out, as where a hand is hidden for all but a moment.
    """

    min_duration_s: float

    def __post_init__(self) -> None:
        if self.min_duration_s < 0:
            raise ValueError(f"min_duration_s must not be negative, found {self.min_duration_s}")


def true_segments(params: SimulateSegmentsParams, videos: pa.Table, truth_boxes: pa.Table) -> GroundTruth:
    """Segments of all recordings, an action done by both hands at once being one.

    Args:
        params: settings.
        videos: schema VIDEOS.
        truth_boxes: schema TRUTH_BOXES.
    """
    rows: list[Row] = []
    durations_s: dict[str, float] = {}
    for video in videos.to_pylist():
        name, first_s, duration_s = video["name"], video["start_s"], video["duration_s"]
        of_video = truth_boxes.filter(pc.equal(truth_boxes["video_sha256"], video["video_sha256"]))
        found = merged(true_events(of_video, video["fps"], first_s, params.min_duration_s))
        rows += [(name, one.start_s - first_s, min(one.end_s - first_s, duration_s), one.action, 1.0) for one in found]
        durations_s[name] = duration_s
    return GroundTruth(segments_of(rows), tuple(durations_s), durations_s)


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Intervals of which none touches another of its action, by start."""
    found: list[Interval] = []
    for one in sorted(intervals):  # by action, then start
        if found and found[-1].action == one.action and one.start_s <= found[-1].end_s:
            found[-1] = found[-1]._replace(end_s=max(found[-1].end_s, one.end_s))
        else:
            found.append(one)
    return sorted(found, key=lambda one: one.start_s)
