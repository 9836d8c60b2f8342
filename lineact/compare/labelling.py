"""The line's labelling detector behind all its rules, as it is set: a point of the comparison without thresholds."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.compare.surfaces import KeptBoxes
from lineact.detect import DetectParams, detect_recording, open_backend
from lineact.detect.backend import Detections, Recording
from lineact.detect.filters import clipped, drop_by_rules
from lineact.errors import InputError
from lineact.evaluate.truth import TruthFrame
from lineact.video import videos_by_sha256


def boxes_as_set(params: DetectParams, frames: pa.Table, truth: Sequence[TruthFrame], raw: Path) -> list[KeptBoxes]:
    """What the line's settings make of frames that are mostly not among those it labels.

    The rule over time (`flicker`) is not asked: held-out frames are no neighbours.

    Args:
        params: of the stage `detect`.
        frames: schema FRAMES, of the line's recordings.
        truth: the frames, by recording and time.
        raw: folder of recordings.

    Returns:
        Per frame, its boxes; one pair of thresholds keeps all of them.

    Raises:
        InputError: where a recording is not there, or weights are missing.
    """
    backend, paths = open_backend(params), videos_by_sha256(raw)
    kept: list[KeptBoxes] = []
    for sha256, of_video in groupby(truth, key=lambda frame: frame.video_sha256):
        facts = frames.filter(pa.compute.equal(frames["video_sha256"], sha256))
        if sha256 not in paths or not facts.num_rows:
            raise InputError(
                f"{raw}: expected the recording {sha256[:12]} of the held-out truth; run `dvc repro ingest`"
            )
        wanted = list(of_video)
        size_wh = (facts["width_px"][0].as_py(), facts["height_px"][0].as_py())
        recording = Recording(paths[sha256], sha256, facts["pts_s"].to_numpy())
        found = detect_recording(recording, [frame.pts_s for frame in wanted], params.shard_frames, backend)
        kept += [
            _as_point(clipped(one, size_wh), size_wh, params, frame.boxes_xyxy_px)
            for frame, one in zip(wanted, found, strict=True)
        ]
    return kept


def _as_point(
    found: Detections, size_wh: tuple[int, int], params: DetectParams, truth_xyxy_px: np.ndarray
) -> KeptBoxes:
    stays = np.array([rule is None for rule in drop_by_rules(found, size_wh, params.filters)], bool)
    return KeptBoxes(found.boxes_xyxy_px, stays[None, None], truth_xyxy_px)
