"""A video as rows of numbers in time: what the heads see of it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lineact.errors import InputError
from lineact.files import write_whole

TOLERANCE_S = 1e-3  # 0.3 is less than three times 0.1


@dataclass(frozen=True)
class ClipParams:
    """How a video is cut into clips, each of which becomes a row.

    Attributes:
        fps: frames a second that are looked at; others are decoded and left out.
        stack: such frames in a clip.
        step: such frames from one clip to the next.
    """

    fps: float
    stack: int
    step: int

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"fps must be above 0, found {self.fps}")
        if self.stack < 1 or self.step < 1:
            raise ValueError(f"stack and step must be at least 1, found {self.stack} and {self.step}")


@dataclass(frozen=True)
class Features:
    """A video's rows.

    Attributes:
        video: its name.
        times_s: float64, T: the middle of each row's clip, seconds from the video's first frame.
        values: float32, T x D.
        duration_s: of the video.
        made_by: what made the rows, see `lineact.temporal.features.extraction.maker_of`; empty where nobody told.
    """

    video: str
    times_s: np.ndarray
    values: np.ndarray
    duration_s: float
    made_by: str = ""

    @property
    def step_s(self) -> float:
        """Seconds from row to row, as a rule: a recording may have gaps; of one row the whole video."""
        return float(np.median(np.diff(self.times_s))) if len(self.times_s) > 1 else self.duration_s

    def seconds_at(self, places: np.ndarray) -> np.ndarray:
        """Moments, seconds, of places in rows: k is the middle of row k, and what lies between is interpolated."""
        last = len(self.times_s) - 1
        beyond = np.minimum(places, 0) + np.maximum(places - last, 0)
        return np.interp(places, np.arange(last + 1), self.times_s) + beyond * self.step_s

    def places_at(self, seconds: np.ndarray) -> np.ndarray:
        """Places in rows of moments: the inverse of `seconds_at`."""
        beyond_s = np.minimum(seconds - self.times_s[0], 0) + np.maximum(seconds - self.times_s[-1], 0)
        return np.interp(seconds, self.times_s, np.arange(len(self.times_s))) + beyond_s / self.step_s


def clips_of(times_s: np.ndarray, values: np.ndarray, params: ClipParams) -> tuple[np.ndarray, np.ndarray]:
    """Rows of clips from rows of frames: means over `stack` frames, every `step` of them.

    Args:
        times_s: float64, N, of the frames.
        values: float32, N x D.
        params: for `stack` and `step`.

    Returns:
        times_s, T, and values, T x D; T is 0 where there are fewer frames than a clip has.
    """
    starts = np.arange(0, len(times_s) - params.stack + 1, params.step)
    summed = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    means = (summed[starts + params.stack] - summed[starts]) / params.stack
    return (times_s[starts] + times_s[starts + params.stack - 1]) / 2, means.astype(np.float32)


class Rate:
    """Chooses frames: the first at or after each 1 / fps seconds."""

    def __init__(self, fps: float) -> None:
        self._step_s = 1 / fps
        self._due_s: float | None = None

    def takes(self, pts_s: float) -> bool:
        """Whether the frame of this time, later than all before, is looked at."""
        due_s = pts_s if self._due_s is None else self._due_s
        if pts_s < due_s - TOLERANCE_S:
            return False
        # After a gap in the recording nothing is caught up on.
        self._due_s = (due_s if pts_s < due_s + self._step_s else pts_s) + self._step_s
        return True


def write_features(path: Path, features: Features) -> None:
    """Writes a video's rows as .npz."""
    write_whole(path, partial(_write, features=features))


def _write(path: Path, *, features: Features) -> None:
    with path.open("wb") as stream:
        np.savez(
            stream,
            times_s=features.times_s,
            values=features.values,
            duration_s=np.float64(features.duration_s),
            video=np.array(features.video),
            made_by=np.array(features.made_by),
        )


def read_features(path: Path) -> Features:
    """Reads what `write_features` wrote, or what was made elsewhere in that form.

    Raises:
        InputError: where it is no such file, or its rows do not fit its video.
    """
    expected = "expected .npz with video (a name), times_s (T), values (T x D) and duration_s"
    try:
        with np.load(path, allow_pickle=False) as stored:
            times_s, values = stored["times_s"].astype(np.float64), stored["values"].astype(np.float32)
            made_by = str(stored["made_by"]) if "made_by" in stored else ""
            features = Features(str(stored["video"]), times_s, values, float(stored["duration_s"]), made_by)
    except FileNotFoundError as error:
        raise InputError(f"{path}: {expected}; found no file") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: {expected}; found something else ({error})") from error
    check_features(path, features)
    return features


def check_features(path: Path, features: Features) -> None:
    """Refuses rows that cannot be a video's.

    Args:
        path: of their file.
        features: what was read.

    Raises:
        InputError: where rows and times do not fit each other or the video.
    """
    if fault := _fault_of(features):
        raise InputError(f"{path}: {fault}; make the features of this video again")


def _fault_of(features: Features) -> str | None:
    times_s, values = features.times_s, features.values
    if times_s.ndim != 1 or values.ndim != 2 or len(times_s) != len(values):
        return f"expected a time for each row, found times_s {times_s.shape} and values {values.shape}"
    if not (np.isfinite(times_s).all() and np.isfinite(values).all() and features.duration_s > 0):
        return "expected finite numbers and a duration above 0, found others"
    if len(times_s) and not (times_s[0] >= 0 and times_s[-1] <= features.duration_s + features.step_s):
        return (
            f"expected rows within the video's {features.duration_s:g} s, found them from {times_s[0]:g} to "
            f"{times_s[-1]:g} s"
        )
    steps_s = np.diff(times_s)
    if len(steps_s) and (steps_s <= 0).any():
        return "expected times that rise, found others"
    return None
