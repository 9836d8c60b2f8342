"""A localiser beside a running video: each segment is told soon after its end, once."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineact.temporal.activitynet import rows_of
from lineact.temporal.features import ClipParams, Features
from lineact.temporal.localizer import AnyLocalizer
from lineact.temporal.segments import MEANT_SCORE, Row

SAME_SHARE = 0.3  # of the shorter one: a segment that lies on a told one of its action by so much is that one


@dataclass(frozen=True)
class FollowParams:
    """How a running video is followed.

    Attributes:
        window_s: the localiser looks back so far; longer than the longest action.
        wait_s: a segment is told so long after its end, in which the localiser sees that it has ended.
        min_score: surer segments alone.
    """

    window_s: float = 60.0
    wait_s: float = 1.0
    min_score: float = MEANT_SCORE

    def __post_init__(self) -> None:
        if not self.window_s > self.wait_s or self.wait_s < 0:
            raise ValueError(f"wait_s must be 0 to below window_s, found {self.wait_s} and {self.window_s}")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score must be 0 to 1, found {self.min_score}")


class Clips:
    """Rows of clips from rows of frames as these come; what `clips_of` makes of all of them at once."""

    def __init__(self, params: ClipParams) -> None:
        self._params = params
        self._frames: deque[tuple[float, np.ndarray]] = deque(maxlen=params.stack)
        self._until_next = params.stack

    def push(self, time_s: float, row: np.ndarray) -> tuple[float, np.ndarray] | None:
        """Takes a frame's row (float32, D); gives a clip's middle in seconds and its row where one is whole."""
        self._frames.append((time_s, row))
        self._until_next -= 1
        if self._until_next:
            return None
        self._until_next = self._params.step
        rows = np.stack([one for _, one in self._frames])
        return (self._frames[0][0] + time_s) / 2, rows.mean(axis=0, dtype=np.float64).astype(np.float32)


class Follower:
    """Takes a video's rows frame by frame and tells its segments."""

    def __init__(self, localizer: AnyLocalizer, video: str, params: FollowParams) -> None:
        self._localizer, self._video, self._params = localizer, video, params
        self._clips = Clips(localizer.spec.clips)
        self._rows: deque[tuple[float, np.ndarray]] = deque()
        self._told: list[Row] = []

    def push(self, time_s: float, row: np.ndarray) -> list[Row]:
        """Takes a frame.

        Args:
            time_s: of the frame, seconds from the video's first one.
            row: float32, D.

        Returns:
            Segments that ended `wait_s` ago, by their start.
        """
        clip = self._clips.push(time_s, row)
        if clip is None:
            return []
        self._rows.append(clip)
        while self._rows[0][0] < time_s - self._params.window_s:
            self._rows.popleft()
        return self._ended(time_s, time_s - self._params.wait_s)

    def close(self, end_s: float) -> list[Row]:
        """The segments left at the video's end, seconds."""
        return self._ended(end_s, end_s) if self._rows else []

    def _ended(self, now_s: float, before_s: float) -> list[Row]:
        times_s, values = (np.array(column) for column in zip(*self._rows, strict=True))
        from_s = max(0.0, now_s - self._params.window_s)
        window = Features(self._video, times_s - from_s, values.astype(np.float32), now_s - from_s)
        self._told = [one for one in self._told if one[2] > from_s]
        fresh: list[Row] = []
        for video, start_s, end_s, label, score in rows_of(self._localizer.segments(window)):  # surest first
            one = (video, start_s + from_s, end_s + from_s, label, score)
            cut = from_s > 0 and start_s <= window.step_s  # its beginning was seen by an earlier window alone
            if score < self._params.min_score or one[2] > before_s or cut or lies_on(one, self._told):
                continue
            fresh.append(one)
            self._told.append(one)
        return sorted(fresh, key=lambda one: one[1])


def lies_on(one: Row, told: Sequence[Row]) -> bool:
    """Whether a segment is one of those told before."""
    _, start_s, end_s, label, _ = one
    for _, other_start_s, other_end_s, other_label, _ in told:
        common_s = min(end_s, other_end_s) - max(start_s, other_start_s)
        if label == other_label and common_s >= SAME_SHARE * min(end_s - start_s, other_end_s - other_start_s):
            return True
    return False
