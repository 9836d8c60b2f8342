"""What became of a source's frames."""

import time
from dataclasses import dataclass


@dataclass
class SourceCounts:
    """Counters that rise, each written by one thread.

    Attributes:
        handed_on: frames given to the recogniser.
        dropped: frames that came while it was busy, in mode "latest".
        broken: frames that did not decode whole, or have no size.
        size_changes: how often the picture's size changed.
        reconnects: how often a camera was connected anew.
        clock_jumps: how often a stream's timestamps or the machine's clock jumped.
        bad_files: files that could not be read, or not to their end.
        behind_s: how long ago the frame that was last handed on had arrived, seconds.
    """

    handed_on: int = 0
    dropped: int = 0
    broken: int = 0
    size_changes: int = 0
    reconnects: int = 0
    clock_jumps: int = 0
    bad_files: int = 0
    behind_s: float = 0.0

    def hand_on(self, arrived_s: float) -> None:
        """Counts a frame that goes to the recogniser now."""
        self.handed_on += 1
        self.behind_s = time.monotonic() - arrived_s
