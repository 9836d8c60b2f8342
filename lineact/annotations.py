"""Real annotations as truth: a file in ActivityNet's layout with hand boxes per frame.

The file describes one video: `video` (its name), `database.<id>.annotations` (a `label` and a half-open `segment` of
seconds each), `hand_boxes_xyxy` (frame index to a list of [x1, y1, x2, y2]; an empty list is a frame checked as empty)
and `negative_frames` (indices of frames without a hand).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from lineact.boxes import area
from lineact.decisions import NG, HandBox
from lineact.errors import InputError


@dataclass(frozen=True)
class Segment:
    """An action in time, half-open.

    Attributes:
        start_s: seconds.
        end_s: seconds.
        action: its label.
    """

    start_s: float
    end_s: float
    action: str


@dataclass(frozen=True)
class Annotations:
    """What is annotated in one video.

    Attributes:
        video: its name.
        segments: by start.
        boxes_of_frame: frame index to boxes x1, y1, x2, y2 in pixels; none where the frame has no hand.
    """

    video: str
    segments: tuple[Segment, ...]
    boxes_of_frame: dict[int, tuple[tuple[float, float, float, float], ...]]


def read_annotations(path: Path, actions: Sequence[str]) -> Annotations:
    """Reads and checks a file.

    Args:
        path: the file.
        actions: the line's actions; every label must be one of them.

    Raises:
        InputError: names the key, what was expected and what was found.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected annotations, found no file") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found something else ({error})") from error
    try:
        entries = list(content["database"].values())
        segments = tuple(sorted((_segment(one) for entry in entries for one in entry["annotations"]), key=_start))
        boxes = {int(index): tuple(map(_box, found)) for index, found in content["hand_boxes_xyxy"].items()}
        negative: dict[int, tuple[()]] = {int(index): () for index in content.get("negative_frames", [])}
        video = str(content["video"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: expected database.<id>.annotations (label, segment), hand_boxes_xyxy (frame index to boxes) and "
            f"video; found a file that breaks this at {error!r}"
        ) from error
    if len(entries) != 1:
        raise InputError(f"{path}: expected one video in `database`, found {len(entries)}; split the file")
    if unknown := sorted({segment.action for segment in segments} - set(actions)):
        raise InputError(
            f"{path}: label {', '.join(map(repr, unknown))} is not one of the line's actions {', '.join(actions)}; "
            "set `actions` in the line's file"
        )
    if both := sorted(index for index in negative if boxes.get(index)):
        raise InputError(f"{path}: frames {both} are negative_frames and have boxes; keep one of the two")
    return Annotations(video, segments, negative | boxes)


class AnnotatedTruth:
    """Annotations bound to an ingested recording. Crops are labelled by the time they lie in, frames by their boxes."""

    def __init__(self, annotations: Annotations, videos: pa.Table, frames: pa.Table) -> None:
        """Finds the recording and the times of the annotated frames.

        Args:
            annotations: see `read_annotations`.
            videos: schema VIDEOS.
            frames: schema FRAMES.

        Raises:
            InputError: where the line has no such recording, or it lacks an annotated frame.
        """
        names = dict(zip(videos["name"].to_pylist(), videos["video_sha256"].to_pylist(), strict=True))
        matching = [sha256 for name, sha256 in names.items() if PurePath(name).stem == PurePath(annotations.video).stem]
        if len(matching) != 1:
            raise InputError(
                f"annotations are of {annotations.video!r}: expected one such recording, found {len(matching)} among "
                f"{', '.join(sorted(names))}"
            )
        self.video_sha256 = matching[0]
        self._segments = annotations.segments
        of_video = frames.filter(pa.compute.equal(frames["video_sha256"], self.video_sha256))
        pts_s = dict(zip(of_video["index"].to_pylist(), of_video["pts_s"].to_pylist(), strict=True))
        if missing := sorted(set(annotations.boxes_of_frame) - set(pts_s)):
            raise InputError(
                f"annotations of {annotations.video!r}: frames {missing[:5]} are not in the recording, which has "
                f"{len(pts_s)}; is it another cut of it?"
            )
        self._hands = {
            pts_s[index]: [HandBox(box, self._action_at(pts_s[index])) for box in boxes]
            for index, boxes in annotations.boxes_of_frame.items()
        }

    @property
    def frames(self) -> list[tuple[str, float]]:
        """Recording and time of every annotated frame."""
        return [(self.video_sha256, pts_s) for pts_s in sorted(self._hands)]

    def hands_on(self, video_sha256: str, pts_s: float) -> list[HandBox] | None:
        """The annotated hands of a frame; None where it is not annotated."""
        return self._hands.get(pts_s) if video_sha256 == self.video_sha256 else None

    def action_of(self, video_sha256: str, pts_s: float, box_xyxy_px: np.ndarray) -> str | None:  # noqa: ARG002
        """The action going on at this time; a segment says nothing of the place."""
        return self._action_at(pts_s) if video_sha256 == self.video_sha256 else None

    def _action_at(self, pts_s: float) -> str:
        inside = [segment.action for segment in self._segments if segment.start_s <= pts_s < segment.end_s]
        return inside[0] if inside else NG


def _start(segment: Segment) -> float:
    return segment.start_s


def _segment(value: dict[str, Any]) -> Segment:
    start_s, end_s = map(float, value["segment"])
    if end_s <= start_s:
        raise ValueError(f"segment {value['segment']}")
    return Segment(start_s, end_s, str(value["label"]))


def _box(value: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = map(float, value)
    if not area(np.array([x1, y1, x2, y2])) > 0:
        raise ValueError(f"box {value}")
    return x1, y1, x2, y2
