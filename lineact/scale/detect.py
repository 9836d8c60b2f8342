"""The stage `detect` on a cluster: workers run the detector, and the cache is filled with its boxes."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.detect import (
    DetectParams,
    StoredFrames,
    detect_missing,
    open_backend,
    recordings_of,
    stored_frames,
)
from lineact.detect.backend import Backend, Detections, Recording
from lineact.errors import InputError
from lineact.files import write_whole
from lineact.scale import DaskParams
from lineact.scale.job import Key
from lineact.scale.workers import Shard, workers_for
from lineact.schema import is_harvested


@dataclass
class AskedElsewhere:
    """A backend whose answers are all in the cache.

    Attributes:
        key: that of the workers' backend, which may be of another kind of machine than this one's.
    """

    key: dict[str, object]

    def detect(self, recording: Recording, pts_s: Sequence[float]) -> Iterator[Detections]:
        """Is asked nothing.

        Raises:
            InputError: where it is: the cache was emptied meanwhile.
        """
        raise InputError(
            f"{recording.path}: expected its boxes in .lineact/cache, {len(pts_s)} frames are not there; run the same "
            "command again"
        )


def detect_on_workers(cluster: DaskParams, raw: Path, frames: pa.Table, params: DetectParams) -> AskedElsewhere:
    """Puts the boxes of all kept frames into the cache, where `lineact.detect.detect_boxes` finds them.

    Args:
        cluster: where the workers are.
        raw: the folder of recordings.
        frames: schema FRAMES.
        params: the settings.

    Returns:
        The backend to give to `detect_boxes`.

    Raises:
        LineactError: see `workers_for` and `Workers.results`.
    """
    with workers_for(cluster, "detect", partial(key_of, params)) as workers:
        key = dict(workers.key)
        missing: dict[str, list[StoredFrames]] = {}
        shards = []
        for name, recording, kept in recordings_of(raw, frames):
            pts_s = kept["pts_s"].to_pylist()
            stored = stored_frames(recording, pts_s, params.shard_frames, key)
            if is_harvested(name) or all(one.file.is_file() for one in stored):
                continue
            missing[recording.sha256] = stored
            work = partial(
                detect_on_worker,
                sha256=recording.sha256,
                all_pts_s=recording.all_pts_s,
                pieces=[one.pts_s for one in stored],
                params=params,
            )
            settings = {"pts_s": pts_s, "shard_frames": params.shard_frames}
            shards.append(Shard(name, recording.path, recording.sha256, settings, work))
        for shard, made in workers.results(shards):
            for number, one in enumerate(missing[shard.sha256]):
                write_whole(one.file, partial(shutil.copyfile, made / _file_name(number)))
    return AskedElsewhere(key)


@cache  # a worker loads the weights once
def _opened(params: DetectParams) -> Backend:
    return open_backend(params)


def key_of(params: DetectParams) -> Key:
    """What this worker's boxes depend on."""
    return _opened(params).key


def detect_on_worker(
    video: Path,
    folder: Path,
    *,
    sha256: str,
    all_pts_s: np.ndarray,
    pieces: Sequence[list[float]],
    params: DetectParams,
) -> None:
    """Writes the boxes of a recording's frames.

    Args:
        video: the recording.
        folder: gets a file for each of `pieces`.
        sha256: see `Recording`; likewise `all_pts_s`.
        pieces: times of the frames whose boxes are stored together, ascending.
        params: the settings.
    """
    shards = [StoredFrames(pts_s, folder / _file_name(number)) for number, pts_s in enumerate(pieces)]
    detect_missing(Recording(video, sha256, all_pts_s), shards, _opened(params))


def _file_name(number: int) -> str:
    return f"{number:06d}.parquet"
