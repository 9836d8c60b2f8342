"""Which of many moments to take, so that they are not all alike."""

import bisect
from collections.abc import Sequence


def spread(times_s: Sequence[tuple[str, float]], gap_s: float, count: int) -> list[int]:
    """Takes moments in the given order, leaving out those nearer than `gap_s` to one taken before.

    Args:
        times_s: (recording, seconds), the best first.
        gap_s: least distance within a recording.
        count: at most so many.

    Returns:
        Indices, in the given order.
    """
    taken: dict[str, list[float]] = {}
    chosen: list[int] = []
    for index, (sha256, pts_s) in enumerate(times_s):
        if len(chosen) == count:
            break
        times = taken.setdefault(sha256, [])
        place = bisect.bisect(times, pts_s)
        near = [times[other] for other in (place - 1, place) if 0 <= other < len(times)]
        if all(abs(pts_s - other_s) >= gap_s for other_s in near):
            times.insert(place, pts_s)
            chosen.append(index)
    return chosen


def evenly(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` of `count` things in order, evenly spaced from the middle of the first stretch."""
    wanted = min(count, wanted)
    return [int((place + 0.5) * count / wanted) for place in range(wanted)]
