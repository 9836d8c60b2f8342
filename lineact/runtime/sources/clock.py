"""Media seconds that always rise, whatever the timestamps of a stream do."""

import logging
import time

from lineact.runtime.sources.counts import SourceCounts
from lineact.runtime.sources.packets import Stream

STALLED_S = 3.0  # after so long without a frame a camera's media time has gone on, whatever its next timestamp says
MOST_AHEAD_S = 5.0  # a timestamp that runs ahead of the arrival by more since the frame before is a jump
LEAST_STEP_S = 1e-3  # of frames that arrive at once and have no timestamps
MOST_CLOCK_STEP_S = 1.0  # the machine's clock was set where it moved by more against the monotonic one

log = logging.getLogger(__name__)


class FileClock:
    """Media and wall clock of files that are played one after another as one stream.

    The first file keeps its own timestamps, so that events name times that a player shows.
    """

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._offset_s = 0.0
        self._begins = False
        self._step_s = 0.0
        self._start_utc_s = 0.0
        self._first_s = 0.0

    def begin(self, stream: Stream) -> None:
        """A file begins."""
        self._begins = True
        self._start_utc_s = stream.start_utc_s or 0.0
        if self._last_s is None:
            self._step_s = 1 / stream.fps

    def at(self, stamp_s: float | None, arrived_s: float) -> tuple[float, float]:  # noqa: ARG002 - a camera's needs it
        """Media seconds and seconds since 1970 of the next frame.

        Args:
            stamp_s: of the container; None where it has none.
            arrived_s: when it arrived, by `time.monotonic()`.
        """
        following_s = 0.0 if self._last_s is None else self._last_s + self._step_s  # as long as the frame before
        if stamp_s is None:
            stamp_s = following_s - self._offset_s
        if self._begins:
            self._begins = False
            self._offset_s = 0.0 if self._last_s is None else following_s - stamp_s
            self._first_s = stamp_s
        media_s = stamp_s + self._offset_s
        if self._last_s is not None:
            media_s = media_s if media_s > self._last_s else following_s
            self._step_s = media_s - self._last_s
        self._last_s = media_s
        return media_s, self._start_utc_s + max(media_s - self._offset_s - self._first_s, 0.0)


class CameraClock:
    """Media and wall clock of a camera: 0 at its first frame, along with the arrival across cuts.

    Args:
        counts: jumps of the stream's timestamps or of this machine's clock are counted there.
    """

    def __init__(self, counts: SourceCounts) -> None:
        self._counts = counts
        self._last_s: float | None = None
        self._first_arrived_s = self._last_arrived_s = 0.0
        self._offset_s: float | None = None
        self._wall_less_monotonic_s: float | None = None

    def begin(self, stream: Stream) -> None:  # noqa: ARG002 - a file's needs it
        """A connection begins: its timestamps have nothing to do with those before."""
        self._offset_s = None

    def at(self, stamp_s: float | None, arrived_s: float) -> tuple[float, float]:
        """Media seconds and seconds since 1970 of the next frame; as `FileClock.at`."""
        media_s = self._media_s(stamp_s, arrived_s)
        self._last_s, self._last_arrived_s = media_s, arrived_s
        return media_s, self._utc_s(arrived_s)

    def _media_s(self, stamp_s: float | None, arrived_s: float) -> float:
        if self._last_s is None:
            self._first_arrived_s = arrived_s
            self._offset_s = None if stamp_s is None else -stamp_s
            return 0.0
        elapsed_s = arrived_s - self._last_arrived_s
        stalled = elapsed_s >= STALLED_S  # events were told meanwhile: no frame may be of that time
        by_arrival_s = max(self._last_s + (elapsed_s if stalled else LEAST_STEP_S), arrived_s - self._first_arrived_s)
        if stamp_s is None:
            return by_arrival_s
        if self._offset_s is not None:
            step_s = stamp_s + self._offset_s - self._last_s
            # Less than what elapsed is a delay, after which a burst makes up for it; more is a lie.
            if 0 < step_s <= elapsed_s + MOST_AHEAD_S:
                if step_s >= elapsed_s or not stalled:
                    return self._last_s + step_s
            else:
                self._counts.clock_jumps += 1
                log.warning("the stream's clock jumped by %.3f s: media time goes on by the arrival", step_s)
        self._offset_s = by_arrival_s - stamp_s
        return by_arrival_s

    def _utc_s(self, arrived_s: float) -> float:
        difference_s = time.time() - time.monotonic()
        before_s, self._wall_less_monotonic_s = self._wall_less_monotonic_s, difference_s
        if before_s is not None and abs(difference_s - before_s) > MOST_CLOCK_STEP_S:
            self._counts.clock_jumps += 1
            log.warning("this machine's clock was set by %+.1f s; events go on with it", difference_s - before_s)
        return arrived_s + difference_s
