"""One camera from its source to its outputs."""

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from lineact.runtime.events import Debouncer, Event
from lineact.runtime.results import FrameResult
from lineact.runtime.sources import Source
from lineact.runtime.sources.clock import STALLED_S
from lineact.runtime.work.events import Reported
from lineact.runtime.work.sense import WorkSense

TELL_EVERY_S = 10.0
PAUSE_S = 0.5  # where no frame comes, the time is looked at so often
BLIND_S = 2.0  # after so long without a frame nobody knows what was done meanwhile
IN_TIME_S = 1.0  # a result is not behind where its frame arrived at most so long ago

log = logging.getLogger(__name__)


class EventOutput(Protocol):
    """Takes events, one after the other: actions, and what the work sense says of them."""

    def write(self, event: Reported) -> None:
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
    results: Iterable[FrameResult | None],
    debouncer: Debouncer,
    events_to: Sequence[EventOutput],
    results_to: Sequence[ResultOutput],
    source: Source,
    work: WorkSense,
) -> int:
    """Reports until the source ends; then, and where the source or who looks fails, also the events that still go on.

    An event that goes on where a camera falls silent is told once media time has certainly passed its end.

    Args:
        results: of the source's frames; None wherever none came for `PAUSE_S`.
        debouncer: turns them into events.
        events_to: where events go, in this order: the first one holds the truth.
        results_to: who looks at every frame.
        source: for its counts, which are told now and then.
        work: follows the steps.

    Returns:
        The number of events.
    """
    reporting = _Reporting(debouncer, events_to, work)
    told_s, told_frames = time.monotonic(), 0
    arrived = iter(results)
    while True:
        try:
            result = next(arrived)
        except StopIteration:
            reporting.close()
            return reporting.reported
        except Exception:
            reporting.close()
            raise
        if result is None:
            if source.is_paced:
                reporting.wait()
            continue
        reporting.see(result)
        try:
            for output in results_to:
                output.see(result)
        except Exception:
            reporting.close()
            raise
        now_s = time.monotonic()
        if now_s - told_s > TELL_EVERY_S:
            _tell(source, (source.counts.handed_on - told_frames) / (now_s - told_s), reporting.reported)
            told_s, told_frames = now_s, source.counts.handed_on


class _Reporting:
    """What is to be told of the frames so far, and of time that passes without any.

    Attributes:
        reported: events so far.
    """

    def __init__(self, debouncer: Debouncer, events_to: Sequence[EventOutput], work: WorkSense) -> None:
        self._debouncer = debouncer
        self._events_to = events_to
        self._work = work
        self._last: FrameResult | None = None
        self._step_s = 0.0  # between the last two frames
        self._seen_s = 0.0  # when the last one was seen, by `time.monotonic()`
        self._in_time = False  # whether it was not behind
        self._passed_s: float | None = None  # media seconds that were passed without a frame
        self.reported = 0

    def see(self, result: FrameResult) -> None:
        """Reports what a frame tells."""
        frame = result.frame
        events = self._debouncer.push(result)
        self._seen_s = time.monotonic()
        self._in_time = self._seen_s - frame.arrived_s < IN_TIME_S
        missed_s = frame.pts_s - self._last.frame.pts_s if self._last else 0.0
        self._step_s, self._last, self._passed_s = missed_s, result, None
        self._report(events)
        if missed_s > BLIND_S:
            self._report(self._work.look_away(frame.pts_s))
        self._see_work(events)

    def wait(self) -> None:
        """No frame came for a while. A camera's next one is not of a time before, as `CameraClock` has it."""
        silent_s = time.monotonic() - self._seen_s
        if self._last is None or silent_s <= STALLED_S or not self._in_time:
            return
        at_s = self._last.frame.pts_s + silent_s
        events = self._debouncer.pass_time(at_s)
        self._report(events)
        self._see_work(events)
        if self._passed_s is None:
            self._report(self._work.look_away(at_s))
        self._passed_s = at_s

    def close(self) -> None:
        """Reports what still goes on; the last frame lasts as long as the one before, at least until now."""
        end_s = self._last.frame.pts_s + self._step_s if self._last else 0.0
        events = self._debouncer.close(max(end_s, self._passed_s or 0.0))
        self._report(events)
        self._report(self._work.close(events, end_s))

    def _see_work(self, events: Sequence[Event]) -> None:
        assert self._last is not None
        frame, debouncer = self._last.frame, self._debouncer
        settled_s = debouncer.settled_s(frame.pts_s)
        self._report(self._work.see(events, debouncer.begun(), settled_s, frame.utc_s - frame.pts_s))

    def _report(self, events: Sequence[Reported]) -> None:
        for event in events:
            for output in self._events_to:
                output.write(event)
            self.reported += 1


def _tell(source: Source, rate: float, reported: int) -> None:
    counts = source.counts
    log.info(
        "%s: %.1f frames/s, %.2f s behind, %d events; frames dropped %d, broken %d; reconnects %d",
        source.address, rate, counts.behind_s, reported, counts.dropped, counts.broken, counts.reconnects,
    )  # fmt: skip
