"""All recordings of a line: one process for each, each kept as soon as it is whole, so that a killed run goes on."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa

from lineact.errors import ConfigError
from lineact.files import cache_folder, sha256_of_file, write_whole
from lineact.schema import TRUTH_BOXES, read_table, table_of, write_table
from lineact.simulation import SimulateParams

CODE_VERSION = 2  # raise where pictures, scripts or truth change


@dataclass(frozen=True)
class _Job:
    params: SimulateParams
    number: int
    folder: Path

    @property
    def video(self) -> Path:
        return self.folder / f"rec_{self.number:02d}.mp4"

    @property
    def truth(self) -> Path:
        return self.video.with_suffix(".parquet")


def render_line(params: SimulateParams, raw: Path) -> pa.Table:
    """Renders the recordings into a folder.

    Args:
        params: settings.
        raw: where the videos go, rec_00.mp4 and so on.

    Returns:
        TRUTH_BOXES of all recordings, in their order.

    Raises:
        ConfigError: where the station is unknown or shows other actions than the line's.
    """
    _check_station(params)
    jobs = [_Job(params, number, _folder_of(params, number)) for number in range(params.recordings)]
    missing = [job for job in jobs if not (job.truth.is_file() and job.video.is_file())]
    print(f"simulate: {len(jobs) - len(missing)} of {len(jobs)} recordings are there already", flush=True)
    workers = min(len(os.sched_getaffinity(0)), len(missing))
    if missing:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for job, rows in zip(missing, pool.map(_render, missing), strict=True):
                print(f"simulate: {job.video.name} rendered, {rows} hands", flush=True)
    for job in jobs:
        write_whole(raw / job.video.name, partial(shutil.copyfile, job.video))
    return pa.concat_tables([read_table(job.truth, TRUTH_BOXES) for job in jobs])


def _folder_of(params: SimulateParams, number: int) -> Path:
    looks = {name: value for name, value in asdict(params).items() if name not in ("recordings", "actions")}
    return cache_folder("simulate", {"code": CODE_VERSION, "number": number} | looks)


def _check_station(params: SimulateParams) -> None:
    from lineact.simulation.stations import NG, STATIONS

    if params.station not in STATIONS:
        known = ", ".join(sorted(STATIONS))
        raise ConfigError(f"simulate.station: expected one of {known}, found {params.station!r}")
    shown = {step.label for step in STATIONS[params.station].steps} - {NG}
    if shown != set(params.actions):
        raise ConfigError(
            f"actions: station {params.station!r} shows {', '.join(sorted(shown))}, "
            f"found {', '.join(params.actions)}; name these in conf/line/<line>.yaml, in any order"
        )


def _render(job: _Job) -> int:
    import cv2

    from lineact.simulation.render import View, write_recording
    from lineact.simulation.stations import STATIONS

    cv2.setNumThreads(1)
    params = job.params
    view = View((params.width_px, params.height_px), params.fps, params.seconds, params.crf, params.noise)
    boxes = []

    def write(temporary: Path) -> None:
        boxes.extend(write_recording(temporary, STATIONS[params.station], view, (params.seed, job.number)))

    write_whole(job.video, write)
    digest = sha256_of_file(job.video)
    rows = [
        dict(zip(("x1", "y1", "x2", "y2"), box.box_xyxy_px, strict=True))
        | {"video_sha256": digest, "pts_s": box.index / params.fps, "hand": box.hand, "action": box.action}
        for box in boxes
    ]
    write_table(table_of(rows, TRUTH_BOXES), job.truth, TRUTH_BOXES)
    return len(rows)
