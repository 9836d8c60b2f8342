"""Frames with the resting scene before and after them, in one pass over a recording and in flat memory."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lineact.detect.backend import Recording
from lineact.video import Frame, read_frames


@dataclass(frozen=True)
class View:
    """A frame, made small, and what the scene looks like at rest around its time.

    Attributes:
        image_rgb: uint8, h x w x 3.
        before_rgb: uint8, h x w x 3: median of the seconds before it.
        after_rgb: uint8, h x w x 3: median of the seconds after it.
        source_size_wh: size of the frame itself, pixels.
    """

    image_rgb: np.ndarray
    before_rgb: np.ndarray
    after_rgb: np.ndarray
    source_size_wh: tuple[int, int]


def views_at(
    recording: Recording, pts_s: Sequence[float], *, span_s: float, fps: float, width_px: int
) -> Iterator[View]:
    """Views of the frames at these times.

    Args:
        recording: the recording.
        pts_s: ascending times of its frames.
        span_s: how many seconds on either side the resting scene is the median of.
        fps: how many frames per second that median is taken over.
        width_px: width of the small images.

    Yields:
        One view per time. At most `2 * span_s * fps` small images are held, whatever the recording's length.
    """
    ticks_s = tick_times(recording.all_pts_s, fps)
    near = _within(ticks_s, np.asarray(pts_s), span_s)
    wanted = set(pts_s)
    rest = _RestingScene(span_s)
    waiting: deque[tuple[float, np.ndarray, tuple[int, int]]] = deque()
    tick_set = set(near.tolist())
    for frame in read_frames(recording.path, sorted(wanted | tick_set)):
        small, size_wh = _made_small(frame, width_px)
        time_s = frame.pts_s  # the table's times were decoded the same way: equal to the last bit
        if time_s in wanted:
            waiting.append((time_s, small, size_wh))
        if time_s in tick_set:
            while waiting and time_s > waiting[0][0] + span_s:
                yield rest.view(*waiting.popleft())
            rest.add(time_s, small, needed_from_s=(waiting[0][0] if waiting else time_s) - span_s)
    while waiting:
        yield rest.view(*waiting.popleft())


def tick_times(all_pts_s: np.ndarray, fps: float) -> np.ndarray:
    """The first frame's time in each period of `1 / fps`, float64, ascending; works for any frame rate."""
    periods = np.floor((all_pts_s - all_pts_s[0]) * fps + 1e-6).astype(np.int64)
    return all_pts_s[np.unique(periods, return_index=True)[1]]


def _within(ticks_s: np.ndarray, pts_s: np.ndarray, span_s: float) -> np.ndarray:
    """Ticks that lie within the span of at least one of the times."""
    after = np.searchsorted(pts_s, ticks_s - span_s)
    has_any = after < len(pts_s)
    return ticks_s[has_any & (pts_s[np.minimum(after, len(pts_s) - 1)] <= ticks_s + span_s)]


def _made_small(frame: Frame, width_px: int) -> tuple[np.ndarray, tuple[int, int]]:
    import cv2

    height, width = frame.image_rgb.shape[:2]
    size_wh = (width_px, max(round(width_px * height / width), 1))
    return cv2.resize(frame.image_rgb, size_wh, interpolation=cv2.INTER_AREA), (width, height)


class _RestingScene:
    """Medians of the ticks before and after a time; each window's median is computed once."""

    def __init__(self, span_s: float) -> None:
        self.span_s = span_s
        self.ticks: deque[tuple[float, np.ndarray]] = deque()
        self.medians: dict[tuple[float, float], np.ndarray] = {}

    def add(self, time_s: float, small_rgb: np.ndarray, needed_from_s: float) -> None:
        self.ticks.append((time_s, small_rgb))
        while self.ticks[0][0] < needed_from_s:
            self.ticks.popleft()

    def view(self, time_s: float, small_rgb: np.ndarray, source_size_wh: tuple[int, int]) -> View:
        before = [tick for tick in self.ticks if time_s - self.span_s <= tick[0] < time_s]
        after = [tick for tick in self.ticks if time_s < tick[0] <= time_s + self.span_s]
        # Near an end of the recording one side is too short to tell what rests: the other side answers for both.
        if len(before) * 2 < len(after):
            before = after
        elif len(after) * 2 < len(before):
            after = before
        fallback = [(time_s, small_rgb)]  # a recording of a single frame: nothing moves
        return View(small_rgb, self._median(before or fallback), self._median(after or fallback), source_size_wh)

    def _median(self, ticks: list[tuple[float, np.ndarray]]) -> np.ndarray:
        window = (ticks[0][0], ticks[-1][0])
        if window not in self.medians:
            stack = np.stack([small for _, small in ticks])  # n x h x w x 3
            middle = len(ticks) // 2
            oldest = self.ticks[0][0] if self.ticks else window[0]
            self.medians = {key: value for key, value in self.medians.items() if key[0] >= oldest}
            self.medians[window] = np.partition(stack, middle, axis=0)[middle]
        return self.medians[window]
