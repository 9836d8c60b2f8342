"""Frame by frame: segments as one label a frame, and the scores of segmentations: accuracy, edit score, F1@k.

Source of edit score and F1@k: the evaluation code of MS-TCN (Abu Farha and Gall, 2019). Background makes no segment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lineact.errors import InputError
from lineact.temporal.segments import Segments

BACKGROUND = ""  # the label of frames in which nothing happens


@dataclass(frozen=True)
class Runs:
    """Stretches of equal labels of one video, background left out.

    Attributes:
        labels: str, S.
        starts: int64, S, first frame.
        ends: int64, S, frame after the last.
    """

    labels: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def frame_labels(segments: Segments, video: str, duration_s: float, fps: float) -> np.ndarray:
    """The label of each frame; where segments overlap, the one with the highest score, of equal ones the first.

    Args:
        segments: of any videos.
        video: whose frames.
        duration_s: its length.
        fps: frames a second; frame k is the moment (k + 0.5) / fps.

    Returns:
        str, one per frame.
    """
    of_video = segments.take(segments.videos == video)
    moments_s = (np.arange(max(1, round(duration_s * fps))) + 0.5) / fps
    width = max([1, *map(len, of_video.labels)])
    labels = np.full(len(moments_s), BACKGROUND, f"<U{width}")
    for row in np.argsort(-of_video.scores, kind="stable")[::-1]:  # the surest last, over the others
        labels[(moments_s >= of_video.start_s[row]) & (moments_s < of_video.end_s[row])] = of_video.labels[row]
    return labels


def runs_of(labels: np.ndarray) -> Runs:
    """Stretches of equal labels."""
    bounds = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1], True]) if len(labels) else np.zeros(1, np.int64)
    starts, ends = bounds[:-1], bounds[1:]
    kept = labels[starts] != BACKGROUND
    return Runs(labels[starts][kept], starts[kept], ends[kept])


def segmentation_scores(
    truth: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], overlaps: Sequence[float] = (0.10, 0.25, 0.50)
) -> dict[str, float | None]:
    """Scores over all videos, 0 to 1.

    Args:
        truth: video to the label of each frame.
        found: likewise, of the same videos and lengths.
        overlaps: IoU from which a stretch counts as found.

    Returns:
        frame_accuracy (all frames), edit (mean over videos), f1_10 and so on (over all stretches; None where there is
        no stretch at all).

    Raises:
        InputError: where videos or their lengths differ.
    """
    if truth.keys() != found.keys() or not truth:
        raise InputError(f"expected labels of the videos {sorted(truth)}, found those of {sorted(found)}")
    for video, labels in truth.items():
        if len(labels) != len(found[video]):
            raise InputError(f"{video}: expected labels of {len(labels)} frames, found {len(found[video])}")
    right = sum(int((labels == found[video]).sum()) for video, labels in truth.items())
    frames = sum(map(len, truth.values()))
    runs = {video: (runs_of(labels), runs_of(found[video])) for video, labels in truth.items()}
    scores: dict[str, float | None] = {
        "frame_accuracy": right / frames if frames else None,
        "edit": float(np.mean([edit_score(*pair) for pair in runs.values()])),
    }
    for overlap in overlaps:
        counts = np.sum([hits_and_sizes(*pair, overlap) for pair in runs.values()], axis=0)
        hits, truth_count, found_count = map(int, counts)
        total = truth_count + found_count
        scores[f"f1_{round(100 * overlap)}"] = 2 * hits / total if total else None
    return scores


def edit_score(truth: Runs, found: Runs) -> float:
    """1 less the share of insertions, deletions and changes that make one order of labels the other, 0 to 1."""
    longest = max(len(truth.labels), len(found.labels))
    return 1.0 if not longest else 1.0 - _edits(truth.labels, found.labels) / longest


def hits_and_sizes(truth: Runs, found: Runs, overlap: float) -> tuple[int, int, int]:
    """(found stretches that are right, stretches of the truth, found stretches).

    In order of time, each takes the stretch of its label that it overlaps most; where that is taken already, or
    overlaps less than asked, it is wrong.
    """
    taken = np.zeros(len(truth.labels), bool)
    for label, start, end in zip(found.labels, found.starts, found.ends, strict=True):
        same = np.flatnonzero(truth.labels == label)
        if not len(same):
            continue
        shared = np.maximum(np.minimum(end, truth.ends[same]) - np.maximum(start, truth.starts[same]), 0)
        iou = shared / (end - start + truth.ends[same] - truth.starts[same] - shared)
        best = iou.argmax()
        if iou[best] >= overlap:
            taken[same[best]] = True
    return int(taken.sum()), len(truth.labels), len(found.labels)


def _edits(one: np.ndarray, other: np.ndarray) -> int:
    """Levenshtein's distance."""
    row = np.arange(len(other) + 1)
    steps = np.arange(len(other) + 1)
    for number, label in enumerate(one, 1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (other != label))
        # What an insertion costs runs on along the row: the least of all before it, each with its distance.
        row = np.minimum.accumulate(np.r_[number, changed] - steps) + steps
    return int(row[-1])
