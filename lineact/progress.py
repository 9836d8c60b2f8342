"""Progress of long work: one printed line every few seconds."""

import time

EVERY_S = 5.0


class Progress:
    """Counts done work and says so now and then, with the rate.

    Args:
        what: begins the line, e.g. "embed: crops".
        total: how much there is.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._started_s = self._told_s = time.monotonic()

    def add(self, count: int) -> None:
        """Counts finished work."""
        self._done += count
        now_s = time.monotonic()
        if now_s - self._told_s > EVERY_S:
            self._told_s = now_s
            rate = self._done / (now_s - self._started_s)
            print(f"{self._what}: {self._done} of {self._total}, {rate:.1f} a second", flush=True)
