"""Which frames of a recording are worth labelling: what moves, is sharp and is not a repetition."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lineact.video import Frame

if TYPE_CHECKING:
    from lineact.ingest import IngestParams

THUMB_WIDTH_PX = 160  # movement and likeness are measured at this width: noise averages out, a hand stays visible
SHARPNESS_MEMORY = 300  # frames that a frame's sharpness is compared with


@dataclass(frozen=True)
class Scored:
    """A frame's measurements, and its thumbnail while they are needed.

    Attributes:
        index: decoding order.
        pts_s: presentation time, seconds.
        size_wh: pixels.
        sharpness: variance of the Laplacian of the grey frame.
        motion: share of pixels that changed since the frame before, 0 to 1; 0 for the first.
        thumb_grey: uint8, h x `THUMB_WIDTH_PX`.
    """

    index: int
    pts_s: float
    size_wh: tuple[int, int]
    sharpness: float
    motion: float
    thumb_grey: np.ndarray


def score_frames(frames: Iterable[Frame], changed_by: float) -> Iterator[Scored]:
    """Measures sharpness and motion of frames in presentation order."""
    import cv2

    before: np.ndarray | None = None
    for frame in frames:
        height, width = frame.image_rgb.shape[:2]
        grey = cv2.cvtColor(frame.image_rgb, cv2.COLOR_RGB2GRAY)
        thumb_size_wh = (THUMB_WIDTH_PX, max(round(THUMB_WIDTH_PX * height / width), 1))
        thumb = cv2.resize(grey, thumb_size_wh, interpolation=cv2.INTER_AREA)
        comparable = before is not None and before.shape == thumb.shape
        motion = changed_share(before, thumb, changed_by) if before is not None and comparable else 0.0
        sharpness = float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0]) ** 2
        yield Scored(frame.index, frame.pts_s, (width, height), sharpness, motion, thumb)
        before = thumb


def changed_share(before_grey: np.ndarray, after_grey: np.ndarray, changed_by: float) -> float:
    """Share of pixels whose grey value moved, beyond the common shift of brightness.

    Args:
        before_grey: uint8, h x w.
        after_grey: uint8, h x w.
        changed_by: grey levels.

    Returns:
        0 to 1.
    """
    difference = after_grey.astype(np.int16) - before_grey
    return float(np.mean(np.abs(difference - np.median(difference)) > changed_by))


def sift(scored: Iterable[Scored], params: "IngestParams") -> Iterator[dict]:
    """Decides for each frame whether it is kept for labelling, and why not.

    The rules in order: still, sampled_out, blurred, duplicate. Of still frames one in `still_every_s` is kept whatever
    the later rules say: it is what a picture without hands looks like.

    Args:
        scored: in presentation order.
        params: the settings.

    Yields:
        Rows of schema FRAMES without `video_sha256`. At most `still_after_s` of thumbnails are held.
    """
    sieve = _Sieve(params)
    for frame, still in mark_still(scored, params):
        reason, duplicate_of = sieve.judge(frame, still=still)
        yield {
            "pts_s": frame.pts_s,
            "index": frame.index,
            "width_px": frame.size_wh[0],
            "height_px": frame.size_wh[1],
            "sharpness": frame.sharpness,
            "motion": frame.motion,
            "duplicate_of": duplicate_of,
            "kept": reason == "kept",
            "reason": reason,
        }


def mark_still(scored: Iterable[Scored], params: "IngestParams") -> Iterator[tuple[Scored, bool]]:
    """Pairs each frame with whether nothing moves within `still_after_s` before or after it, in the same order."""
    waiting: deque[Scored] = deque()  # still so far; a move may yet come
    moved_at_s = -np.inf
    for frame in scored:
        while waiting and frame.pts_s - waiting[0].pts_s > params.still_after_s:
            yield waiting.popleft(), True
        if frame.motion >= params.min_motion:
            moved_at_s = frame.pts_s
            yield from ((earlier, False) for earlier in waiting)
            waiting.clear()
        if frame.pts_s - moved_at_s <= params.still_after_s:
            yield frame, False
        else:
            waiting.append(frame)
    yield from ((frame, True) for frame in waiting)


class _Sieve:
    """The rules that depend on what was kept before."""

    def __init__(self, params: "IngestParams") -> None:
        self.params = params
        self.kept_at_s = -np.inf
        self.still_kept_at_s = -np.inf
        self.sharpness: deque[float] = deque(maxlen=SHARPNESS_MEMORY)
        self.kept: deque[Scored] = deque(maxlen=params.duplicate_memory)

    def judge(self, frame: Scored, *, still: bool) -> tuple[str, int | None]:
        self.sharpness.append(frame.sharpness)
        if still and frame.pts_s - self.still_kept_at_s < self.params.still_every_s:
            return "still", None
        if still:
            self.still_kept_at_s = frame.pts_s
            return self._keep(frame)
        # A hair less than the period: timestamps are rounded to the container's clock.
        if frame.pts_s - self.kept_at_s < 1 / self.params.label_fps - 1e-3:
            return "sampled_out", None
        if frame.sharpness < self.params.min_sharpness_share * float(np.median(self.sharpness)):
            return "blurred", None
        for earlier in reversed(self.kept):
            same_shape = earlier.thumb_grey.shape == frame.thumb_grey.shape
            if same_shape and self._repeats(earlier, frame):
                return "duplicate", earlier.index
        return self._keep(frame)

    def _repeats(self, earlier: Scored, frame: Scored) -> bool:
        share = changed_share(earlier.thumb_grey, frame.thumb_grey, self.params.changed_by)
        return share <= self.params.duplicate_share

    def _keep(self, frame: Scored) -> tuple[str, None]:
        self.kept_at_s = frame.pts_s
        self.kept.append(frame)
        return "kept", None
