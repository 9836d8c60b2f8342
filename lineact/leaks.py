"""Two parts of a data set must not come close to each other: else what is learnt by heart looks like what is known."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lineact.errors import InputError

TOLERANCE = 1e-6


class Frame(NamedTuple):
    """Something that was cut from a recording.

    Attributes:
        recording: which one.
        at: when: seconds, or the file's number.
        name: what to call it in an error.
    """

    recording: str
    at: float
    name: str


def frames_of(table: pa.Table) -> list[Frame]:
    """The rows of a table of crops (schema LABELLED_CROPS), named by their boxes."""
    columns = (table[name].to_pylist() for name in ("video_sha256", "pts_s", "box_id"))
    return [Frame(*row) for row in zip(*columns, strict=True)]


def refuse_near_frames(
    frames_a: Sequence[Frame], frames_b: Sequence[Frame], parts: tuple[str, str], gap: float, unit: str
) -> None:
    """Refuses two parts that come closer in one recording than the gap.

    Args:
        frames_a: of the one part.
        frames_b: of the other part.
        parts: what to call them.
        gap: the least distance; parts that share a moment leak whatever it is.
        unit: of distances, e.g. "s".

    Raises:
        InputError: names the nearest pair of all recordings.
    """
    of_b: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames_b:
        of_b[frame.recording].append(frame)
    sorted_b = {recording: sorted(frames, key=lambda frame: frame.at) for recording, frames in of_b.items()}
    times_b = {recording: np.array([frame.at for frame in frames]) for recording, frames in sorted_b.items()}
    pairs = []
    for frame in frames_a:
        if frame.recording in times_b:
            times = times_b[frame.recording]
            right = min(int(np.searchsorted(times, frame.at)), len(times) - 1)
            nearest = min((max(right - 1, 0), right), key=lambda index: abs(times[index] - frame.at))
            pairs.append((float(abs(times[nearest] - frame.at)), frame, sorted_b[frame.recording][nearest]))
    if not pairs:
        return
    distance, frame_a, frame_b = min(pairs)
    if distance < gap - TOLERANCE or distance == 0:
        raise InputError(
            f"{parts[0]} and {parts[1]} leak: {frame_a.name} (at {frame_a.at:g}) and {frame_b.name} (at "
            f"{frame_b.at:g}) are of one recording, {distance:g} {unit} apart; expected at least {gap:g}: split by "
            "recording, or by blocks with a gap between"
        )


def refuse_same_crops(table_a: pa.Table, table_b: pa.Table, parts: tuple[str, str]) -> None:
    """Refuses two tables of crops (schema LABELLED_CROPS) that hold the same crop, byte for byte.

    Raises:
        InputError: names a pair.
    """
    columns = ("crop_png", "box_id")
    of_a = dict(zip(*(table_a[name].to_pylist() for name in columns), strict=True))
    for crop_png, box_id in zip(*(table_b[name].to_pylist() for name in columns), strict=True):
        if crop_png in of_a:
            pair = f"{of_a[crop_png]} and {box_id}"
            raise InputError(f"{parts[0]} and {parts[1]} leak: {pair} are the same crop; leave one of them out")
