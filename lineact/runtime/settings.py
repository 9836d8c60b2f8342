"""Settings of the runtime, with defaults that fit a station; a TOML file may change them.

A section of the file is a field of `RuntimeSettings`, e.g.

    [events]
    min_duration_s = 0.4
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EventSettings:
    """When an action counts as an event.

    Attributes:
        min_duration_s: an event begins where a hand shows an action for so long with no other one in between, seconds.
        max_gap_s: it goes on over gaps up to so long in which the hand is not seen or shows something shorter than
            `min_duration_s`, seconds. A frame stands for no longer than this, either.
    """

    min_duration_s: float = 0.3
    max_gap_s: float = 0.5

    def __post_init__(self) -> None:
        if self.min_duration_s < 0 or self.max_gap_s <= 0:
            raise ValueError("expected min_duration_s of at least 0 and max_gap_s above 0")


@dataclass(frozen=True)
class RuntimeSettings:
    """All settings of one station.

    Attributes:
        events: see `EventSettings`.
    """

    events: EventSettings = field(default_factory=EventSettings)
