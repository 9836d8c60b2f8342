"""Frames of a recording together with those before them that crops with context need."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lineact.context import Past
from lineact.video import Frame, read_frames


def read_with_past(
    path: Path, wanted_pts_s: Sequence[float], lags_s: Sequence[float]
) -> Iterator[tuple[Frame, list[np.ndarray]]]:
    """Decodes frames with those before them that a strip needs.

    Args:
        path: of the recording.
        wanted_pts_s: times of the frames.
        lags_s: see `Past`.

    Yields:
        The frame, and the pictures of all lags, its own first.

    Raises:
        InputError: as `read_frames`.
    """
    if len(lags_s) == 1:
        for frame in read_frames(path, wanted_pts_s):
            yield frame, [frame.image_rgb]
        return
    times_s = [frame.pts_s for frame in read_frames(path, wanted_pts_s)]  # as the file has them, and all are there
    past, wanted = Past[np.ndarray](lags_s), deque(times_s)
    for frame in read_frames(path):
        if not wanted:
            return
        pictures_rgb = past.add(frame.pts_s, frame.image_rgb)
        if frame.pts_s == wanted[0]:
            wanted.popleft()
            yield frame, pictures_rgb
