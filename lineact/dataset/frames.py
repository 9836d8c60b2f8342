"""Frames and boxes of today, found by what decisions call them; columns, not an object per frame."""

from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.decisions import PlacedBox
from lineact.lookup import Lookup

FrameId = tuple[str, float]  # recording, seconds
ROWS_AT_ONCE = 10_000
SIDES = ("x1", "y1", "x2", "y2")


class Frames:
    """The frames of a table, by `frame_key`."""

    def __init__(self, frames: pa.Table) -> None:
        """Takes a table keyed by frame."""
        self._frames = frames.select(["video_sha256", "pts_s"])
        self._rows = Lookup(frame_keys(frames))

    def get(self, key: str) -> FrameId | None:
        """Recording and seconds of a frame; None where the table has none of this key."""
        row = self._rows.get(key)
        return None if row is None else _frame_in(self._frames, row)


class PlacedBoxes:
    """The boxes that no rule dropped, by id and by frame (see `frame_key`)."""

    def __init__(self, boxes: pa.Table) -> None:
        """Takes a table with the columns of schema BOXES that tell frame, id, place and what was dropped."""
        dropped = boxes["dropped_by"].is_valid()
        stay = boxes.filter(pc.invert(dropped)) if pc.any(dropped).as_py() else boxes
        self._boxes = stay.select(["video_sha256", "pts_s", "box_id"])
        self._row_of = Lookup(stay["box_id"])
        self._rows_on = Lookup(frame_keys(stay))
        self._boxes_xyxy_px = np.stack([stay[side].to_numpy() for side in SIDES], axis=1)

    def __contains__(self, box_id: str) -> bool:
        """Whether there is such a box."""
        return box_id in self._row_of

    def frame_of(self, box_id: str) -> FrameId:
        """The frame that a box lies on.

        Raises:
            KeyError: where there is no such box.
        """
        return _frame_in(self._boxes, self._row_of[box_id])

    def on(self, frame: str) -> list[PlacedBox]:
        """The boxes of one frame."""
        rows = self._rows_on.rows(frame)
        return [(self._boxes["box_id"][row].as_py(), tuple(self._boxes_xyxy_px[row].tolist())) for row in rows]


def boxes_on_frames(boxes: pa.Table) -> dict[FrameId, list[PlacedBox]]:
    """Every frame to the boxes on it (schema BOXES) that no rule dropped."""
    frames: dict[FrameId, list[PlacedBox]] = {}
    for row in boxes.to_pylist():
        if row["dropped_by"] is None:
            box = (row["x1"], row["y1"], row["x2"], row["y2"])
            frames.setdefault((row["video_sha256"], row["pts_s"]), []).append((row["box_id"], box))
    return frames


def _frame_in(table: pa.Table, row: int) -> FrameId:
    return table["video_sha256"][row].as_py(), table["pts_s"][row].as_py()


def frame_keys(table: pa.Table) -> pa.ChunkedArray:
    """`frame_key` of each row of a table keyed by frame."""
    keys = []
    for batch in table.select(["video_sha256", "pts_s"]).to_batches(max_chunksize=ROWS_AT_ONCE):
        recordings = pc.utf8_slice_codeunits(batch["video_sha256"], 0, 12)
        times = pa.array([f"{pts_s:.6f}" for pts_s in batch["pts_s"].to_pylist()], pa.string())
        keys.append(pc.binary_join_element_wise(recordings, times, "@"))
    return pa.chunked_array(keys, pa.string())


def rows_on(table: pa.Table, frames: Collection[FrameId]) -> np.ndarray:
    """Which rows of a table keyed by frame lie on one of these; bool, one per row."""
    found = np.zeros(table.num_rows, bool)
    for sha256, times_s in _by_recording(frames).items():
        of_recording = pc.equal(table["video_sha256"], sha256).to_numpy()
        found |= of_recording & np.isin(table["pts_s"].to_numpy(), times_s)
    return found


def _by_recording(frames: Iterable[FrameId]) -> dict[str, list[float]]:
    times_s: dict[str, list[float]] = {}
    for sha256, pts_s in frames:
        times_s.setdefault(sha256, []).append(pts_s)
    return times_s
