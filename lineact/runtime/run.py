"""One camera from its source to its outputs."""

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from lineact.runtime.events import Debouncer, Event
from lineact.runtime.results import FrameResult
from lineact.runtime.sources import Source

TELL_EVERY_S = 10.0

log = logging.getLogger(__name__)


class EventOutput(Protocol):
    """Takes events, one after the other."""

    def write(self, event: Event) -> None:
        """Takes an event for good."""

    def close(self) -> None:
        """Nothing comes any more."""


class ResultOutput(Protocol):
    """Looks at every recognised frame."""

    def see(self, result: FrameResult) -> None:
        """Looks at a frame; must not hold up the next one."""

    def close(self) -> None:
        """Nothing comes any more."""


def run(
    results: Iterable[FrameResult],
    debouncer: Debouncer,
    events_to: Sequence[EventOutput],
    results_to: Sequence[ResultOutput],
    source: Source,
) -> int:
    """Reports until the source ends; then, and where the source fails, also the events that still go on.

    Args:
        results: of the source's frames.
        debouncer: turns them into events.
        events_to: where events go, in this order: the first one holds the truth.
        results_to: who looks at every frame.
        source: for its counts, which are told now and then.

    Returns:
        The number of events.
    """
    reported = 0
    end_s = last_s = 0.0

    def report(events: Sequence[Event]) -> None:
        nonlocal reported
        for event in events:
            for output in events_to:
                output.write(event)
            reported += 1

    told_s, told_frames = time.monotonic(), 0
    arrived = iter(results)
    while True:
        try:
            result = next(arrived, None)
        except Exception:
            report(debouncer.close(end_s))
            raise
        if result is None:
            report(debouncer.close(end_s))
            return reported
        report(debouncer.push(result))
        for output in results_to:
            output.see(result)
        pts_s = result.frame.pts_s
        end_s, last_s = 2 * pts_s - last_s, pts_s  # a frame lasts as long as the one before
        now_s = time.monotonic()
        if now_s - told_s > TELL_EVERY_S:
            _tell(source, (source.counts.handed_on - told_frames) / (now_s - told_s), reported)
            told_s, told_frames = now_s, source.counts.handed_on


def _tell(source: Source, rate: float, reported: int) -> None:
    counts = source.counts
    log.info(
        "%s: %.1f frames/s, %.2f s behind, %d events; frames dropped %d, broken %d; reconnects %d",
        source.address, rate, counts.behind_s, reported, counts.dropped, counts.broken, counts.reconnects,
    )  # fmt: skip
