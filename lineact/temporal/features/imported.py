"""Rows that were made elsewhere: an array for each video, and how its rows lie in time."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from lineact.errors import InputError
from lineact.files import sha256_of_tree
from lineact.temporal.features import ClipParams, Features, check_features
from lineact.temporal.features.extraction import Cost, Extraction, length_s
from lineact.video import read_frames, video_facts

SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True)
class ImportedExtractor:
    """Rows from a folder of arrays, each named as its video: shift/rec_00.npy or .npz for shift/rec_00.mp4.

    Attributes:
        folder: of the arrays; see `read_imported`.
    """

    folder: Path

    @property
    def key(self) -> Mapping[str, object]:
        """All that decides the rows but the video and `ClipParams`."""
        return {"imported": sha256_of_tree(self.folder)}

    def extract(self, path: Path, video: str, params: ClipParams) -> Extraction:
        """Reads a video's array; what it costs is the reading.

        Args:
            path: of the video.
            video: its name in the features.
            params: how the rows were made: `fps` of the frames that were looked at, `stack` and `step` of these.

        Raises:
            InputError: where there is none, or it does not fit the video.
        """
        cost = Cost()
        name = PurePath(video).with_suffix("")  # with its folders: two shifts may have a recording of one name
        found = [self.folder / f"{name}{suffix}" for suffix in SUFFIXES]
        there = [array for array in found if array.is_file()]
        if not there:
            raise InputError(f"{path}: expected its features as {' or '.join(map(str, found))}, found neither")
        duration_s = video_facts(path).duration_s or length_s(path, _last_frame_s(path))
        return cost.of(read_imported(there[0], video, duration_s, params))


def read_imported(path: Path, video: str, duration_s: float, params: ClipParams) -> Features:
    """Reads an array of rows.

    Args:
        path: .npy, T x D; or .npz with `values`, T x D, and, where the rows do not follow `params`, `times_s`, T: the
            middle of each row's clip in seconds from the video's first frame.
        video: its name in the features.
        duration_s: of the video.
        params: how the rows lie in time where no times are told.

    Raises:
        InputError: where it is no such file, or its rows do not fit the video.
    """
    values, times_s = _arrays(path)
    if times_s is None:
        if values.ndim == 2:
            _check_length(path, len(values), duration_s, params)
        starts = np.arange(len(values)) * params.step
        times_s = (starts + (params.stack - 1) / 2) / params.fps
        within = times_s <= duration_s  # filled-up clips may have their middle behind the end
        times_s, values = times_s[within], values[within]
    if not len(values):
        raise InputError(f"{path}: expected at least one row, found none; leave this video out")
    features = Features(video, times_s.astype(np.float64), values.astype(np.float32), duration_s)
    check_features(path, features)
    return features


def _last_frame_s(path: Path) -> float:
    """Seconds from the first frame."""
    times_s = [frame.pts_s for frame in read_frames(path)]
    return max(times_s) - times_s[0]


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    expected = f"{path}: expected an array of numbers, T x D, or .npz with values and maybe times_s"
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            values, times_s = loaded, None
        else:
            with loaded:
                values, times_s = loaded["values"], loaded.get("times_s")
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{expected}; found something else ({error})") from error
    if not all(array is None or np.issubdtype(array.dtype, np.number) for array in (values, times_s)):
        raise InputError(f"{expected}; found {values.dtype}")
    return values, times_s


def _check_length(path: Path, rows: int, duration_s: float, params: ClipParams) -> None:
    frames = round(duration_s * params.fps)
    wanted = max((frames - params.stack) // params.step + 1, 0)
    # Some extractors fill up clips that hang over the end, others leave a few frames out.
    slack = math.ceil(params.stack / params.step)
    if abs(rows - wanted) > slack:
        raise InputError(
            f"{path}: expected {wanted} rows (give or take {slack}) for a video of {duration_s:g} s with "
            f"{params.stack} frames a clip, {params.step} from clip to clip at {params.fps:g} a second, found {rows}; "
            "set the fps, stack and step that they were made with, or give times_s in an .npz"
        )
