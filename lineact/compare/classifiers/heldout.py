"""Test crops of a line: what neither trained nor validated, as one table whatever the line's kind.

Lines of labelled crops bring the table. On video lines the crops are cut at the boxes that a person drew or confirmed
on held-out frames, on simulated lines at the simulator's own boxes.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lineact.context import crop_strip
from lineact.evaluate.truth import TruthFrame, decoded_with_past, truth_frames
from lineact.files import cache_folder, sha256_of_file
from lineact.leaks import frames_of, refuse_near_frames
from lineact.metrics import time_blocks
from lineact.png import encode_png
from lineact.progress import Progress
from lineact.schema import HOLDOUT_BOXES, LABELLED_CROPS, TRUTH_BOXES, VIDEOS, read_table, table_of, write_table
from lineact.splits import Holdout, HoldoutParams
from lineact.training.crops import CROP_FACTS, HELD_OUT, classes_of, read_holdout
from lineact.training.decoded import decoded_crops

CODE_VERSION = 1  # raise it where a change of the code changes the crops
SIMULATED_FPS = 4.0  # of the simulator's truth, so many frames a second are test frames
BLOCK_S = 5.0  # crops so near in time are one block of the intervals
FILE = "holdout_crops.parquet"


@dataclass(frozen=True)
class CutParams:
    """How crops are cut, as the training crops were.

    Attributes:
        context: a crop's side as a multiple of the box's longer side.
        crop_px: side of a stored crop.
        lags_s: ages of its pictures, seconds, see `lineact.context`.
    """

    context: float
    crop_px: int
    lags_s: tuple[float, ...]


@dataclass(frozen=True)
class HeldOutCrops:
    """A line's test crops without their pictures.

    Attributes:
        path: LABELLED_CROPS table with the split `holdout`.
        sha256: of the file.
        classes: int64, N.
        blocks: int64, N: stretches of BLOCK_S seconds of a recording.
        how: where they come from, in words.
    """

    path: Path
    sha256: str
    classes: np.ndarray
    blocks: np.ndarray
    how: str

    def images_rgb(self, side_px: int) -> np.ndarray:
        """uint8, N x side_px x side_px x 3, mapped from a file."""
        return decoded_crops(self.path, side_px)[HELD_OUT]


def cut_by_person(raw: Path, holdout: Path, params: CutParams) -> Path:
    """The table of a video line's test crops: every box with an action on its held-out frames.

    Args:
        raw: recordings.
        holdout: HOLDOUT_BOXES table.
        params: how to cut.

    Raises:
        InputError: where there is no truth, or a recording of it is not there.
    """
    frames = truth_frames(read_table(holdout, HOLDOUT_BOXES), holdout)
    key = {"by": "person", "truth": sha256_of_file(holdout)}
    return _cut_once(raw, frames, params, key, "person")


def cut_by_simulator(raw: Path, truth: Path, videos: Path, holdout: HoldoutParams, params: CutParams) -> Path:
    """The table of a simulated line's test crops: every hand of SIMULATED_FPS frames a second of its held-out part.

    Args:
        raw: recordings.
        truth: TRUTH_BOXES table.
        videos: VIDEOS table.
        holdout: what is held out.
        params: how to cut.

    Raises:
        InputError: where nothing is held out, or a recording is not there.
    """
    key = {
        "by": "simulator",
        "truth": sha256_of_file(truth),
        "videos": sha256_of_file(videos),
        "holdout": asdict(holdout),
        "fps": SIMULATED_FPS,
    }
    table = read_table(truth, TRUTH_BOXES)
    of_test = table.filter(pa.array(Holdout(holdout, read_table(videos, VIDEOS)).mask(table, "holdout")))
    frames = truth_frames(_thinned(of_test), truth)
    return _cut_once(raw, frames, params, key, "simulator")


def held_out_crops(path: Path, labels: tuple[str, ...], crops: Path, gap_s: float, how: str) -> HeldOutCrops:
    """Reads a table of test crops, and makes sure that none of them is near one that trained or validated.

    Args:
        path: LABELLED_CROPS table with the split `holdout`.
        labels: class names.
        crops: the line's training and validation crops.
        gap_s: seconds that must lie between these and the test crops of one recording.
        how: where they come from, in words.

    Raises:
        InputError: where there are none, an action is unknown, or the split leaks.
    """
    table = read_holdout(path, labels)
    trained = read_table(crops, LABELLED_CROPS, CROP_FACTS)
    refuse_near_frames(frames_of(table), frames_of(trained), (f"{path}: held-out crops", f"{crops}"), gap_s, "s")
    return HeldOutCrops(
        path=path,
        sha256=sha256_of_file(path),
        classes=classes_of(table, labels),
        blocks=time_blocks(table["video_sha256"].to_pylist(), table["pts_s"].to_numpy(), BLOCK_S),
        how=how,
    )


def _thinned(truth: pa.Table) -> pa.Table:
    """Of each slot of 1 / SIMULATED_FPS seconds of a recording its first frame with a hand, as schema HOLDOUT_BOXES."""
    slots: dict[tuple[str, int], float] = {}
    rows = sorted(truth.to_pylist(), key=lambda row: (row["video_sha256"], row["pts_s"]))
    for row in rows:
        slots.setdefault((row["video_sha256"], int(row["pts_s"] * SIMULATED_FPS + 1e-6)), row["pts_s"])
    taken = {(sha256, pts_s) for (sha256, _), pts_s in slots.items()}
    kept = [row | {"decided_by": "simulator"} for row in rows if (row["video_sha256"], row["pts_s"]) in taken]
    return table_of([{name: row[name] for name in HOLDOUT_BOXES.names} for row in kept], HOLDOUT_BOXES)


def _cut_once(raw: Path, frames: list[TruthFrame], params: CutParams, key: dict[str, Any], decided_by: str) -> Path:
    path = cache_folder("holdout_crops", {"code": CODE_VERSION, "cut": asdict(params), **key}) / FILE
    if not path.is_file():
        rows = list(_rows(raw, frames, params, decided_by))
        write_table(table_of(rows, LABELLED_CROPS), path, LABELLED_CROPS)
    return path


def _rows(raw: Path, frames: list[TruthFrame], params: CutParams, decided_by: str) -> Iterator[dict[str, Any]]:
    named = [frame for frame in frames if any(action is not None for action in frame.actions)]
    progress = Progress("held-out frames", len(named))
    for frame, pictures_rgb in decoded_with_past(named, raw, params.lags_s):
        for number, (box_xyxy_px, action) in enumerate(zip(frame.boxes_xyxy_px, frame.actions, strict=True)):
            if action is not None:
                yield {
                    "video_sha256": frame.video_sha256,
                    "pts_s": frame.pts_s,
                    "box_id": f"{frame.video_sha256[:12]}@{frame.pts_s:.6f}#{number}",
                    **dict(zip(("x1", "y1", "x2", "y2"), map(float, box_xyxy_px), strict=True)),
                    "action": action,
                    "split": HELD_OUT,
                    "decided_by": decided_by,
                    "crop_png": encode_png(crop_strip(pictures_rgb, box_xyxy_px, params.context, params.crop_px)),
                }
        progress.add(1)
