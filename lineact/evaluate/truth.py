"""What persons decided on held-out frames, and the pictures it is about."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lineact.errors import InputError
from lineact.looking_back import read_with_past
from lineact.video import PTS_TOLERANCE_S, videos_by_sha256


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


def decoded(frames: Sequence[TruthFrame], raw: Path) -> Iterator[tuple[TruthFrame, np.ndarray]]:
    """Frames with their pictures (uint8, H x W x 3), in the order given (sorted by recording and time).

    Raises:
        InputError: where a recording or a frame of the truth is not there.
    """
    for frame, pictures_rgb in decoded_with_past(frames, raw, (0.0,)):
        yield frame, pictures_rgb[0]


def decoded_with_past(
    frames: Sequence[TruthFrame], raw: Path, lags_s: Sequence[float]
) -> Iterator[tuple[TruthFrame, list[np.ndarray]]]:
    """Likewise, with the pictures that a crop with context needs.

    Args:
        frames: sorted by recording and time.
        raw: the folder of recordings.
        lags_s: how old the pictures of a frame are, from 0 on; see `lineact.context.Past`.

    Yields:
        The frame, and its pictures by age.

    Raises:
        InputError: where a recording or a frame of the truth is not there.
    """
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
        for decoded, pictures_rgb in read_with_past(path, [frame.pts_s for frame in wanted], lags_s):
            if done < len(wanted) and abs(decoded.pts_s - wanted[done].pts_s) <= PTS_TOLERANCE_S:
                yield wanted[done], pictures_rgb
                done += 1
        if done < len(wanted):
            raise InputError(f"{path}: expected a frame at {wanted[done].pts_s:.6f} s, found none; run `dvc repro`")
