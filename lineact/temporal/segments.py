"""Actions in time, as columns: what is compared, scored and written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

MEANT_SCORE = 0.3  # predictions from here on are taken as meant, where nothing else is asked for
END_TOLERANCE_S = 0.05  # a segment may end so much after its video, by the rounding of frame times


@dataclass(frozen=True)
class Segments:
    """Actions in time; columns of the same length N.

    Attributes:
        videos: str, names of the videos.
        start_s: float64, seconds from the video's start.
        end_s: float64, likewise, above start_s; half-open.
        labels: str, names of the actions.
        scores: float64, of predictions; ground truth has 1.
    """

    videos: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.videos)

    def take(self, rows: np.ndarray) -> "Segments":
        """Those of a mask or of row numbers."""
        return Segments(self.videos[rows], self.start_s[rows], self.end_s[rows], self.labels[rows], self.scores[rows])


Row = tuple[str, float, float, str, float]  # video, start_s, end_s, label, score


def segments_of(rows: Iterable[Row]) -> Segments:
    """Columns of rows."""
    found = list(rows)
    videos, starts, ends, labels, scores = zip(*found, strict=True) if found else ((), (), (), (), ())
    return Segments(
        np.array(videos, np.str_),
        np.array(starts, np.float64),
        np.array(ends, np.float64),
        np.array(labels, np.str_),
        np.array(scores, np.float64),
    )


def faults_of(segments: Segments, duration_s: Mapping[str, float]) -> list[str]:
    """What is wrong with segments, in words that name each.

    Args:
        segments: any.
        duration_s: length of the videos, where it is known.
    """
    lengths = np.array([duration_s.get(video, np.inf) for video in segments.videos])
    numbers = np.isfinite(segments.start_s) & np.isfinite(segments.end_s) & np.isfinite(segments.scores)
    with np.errstate(invalid="ignore"):
        reasons = (
            (~numbers, "expected numbers"),
            (numbers & (segments.end_s <= segments.start_s), "expected an end after the start"),
            (numbers & (segments.start_s < 0), "expected a start at or after 0"),
            (segments.end_s > lengths + END_TOLERANCE_S, "expected an end within the video"),
        )
    return [
        f"{segments.videos[row]}: {reason}"
        + (f" ({lengths[row]:g} s)" if "within" in reason else "")
        + f", found {segments.labels[row]} [{segments.start_s[row]:g}, {segments.end_s[row]:g}]"
        + ("" if np.isfinite(segments.scores[row]) else f" with score {segments.scores[row]}")
        for wrong, reason in reasons
        for row in np.flatnonzero(wrong)
    ]


def t_iou(start_s: np.ndarray, end_s: np.ndarray, other_start_s: np.ndarray, other_end_s: np.ndarray) -> np.ndarray:
    """Intersection over union of intervals of positive length, 0 to 1; arguments broadcast."""
    intersection_s = np.maximum(np.minimum(end_s, other_end_s) - np.maximum(start_s, other_start_s), 0.0)
    return intersection_s / ((end_s - start_s) + (other_end_s - other_start_s) - intersection_s)
