"""How long calls take: one clock for the stages and the comparison of classifiers."""

import time
from collections.abc import Callable, Sequence

import numpy as np

BURST = 10  # calls before it is the next one's turn


def call_time_ms(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    started_s = time.perf_counter()
    call()
    return (time.perf_counter() - started_s) * 1000


def times_in_turn_ms(calls: Sequence[Callable[[], object]], count: int, warmup: int) -> np.ndarray:
    """Times several calls in turn, so that what else the machine does meets all of them.

    Each turn is a burst: single calls would measure how they push one another out of the CPU's caches, which no
    station does.

    Args:
        calls: what is called.
        count: of each, the calls that count.
        warmup: of each, those before them.

    Returns:
        Milliseconds, float64, calls x count.
    """
    found_ms: list[list[float]] = [[] for _ in calls]
    total = warmup + count
    for start in range(0, total, BURST):
        for call, times_ms in zip(calls, found_ms, strict=True):
            times_ms += [call_time_ms(call) for _ in range(start, min(start + BURST, total))]
    return np.array(found_ms)[:, warmup:]
