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
class RecogniseSettings:
    """How frames are recognised.

    Attributes:
        threads: CPU threads of each network; detecting and classifying overlap, so one each fills two cores.
        skip_still_frames: whether the detector is spared where nothing moved since it last looked.
        still_below: nothing moved where no block of 8 x 8 pixels of the detector's input changed its brightness by
            this, grey levels.
        skip_same_crops: whether the classifier is spared where a hand's crop is as it last was.
        same_below: a crop is the same where no block of 8 x 8 of its pixels changed by this, grey levels.
        look_again_s: both run at least this often, whatever changed, seconds.
        follow_within: a hand is the one whose last box's centre is nearest and at most so many box sides away.
        lost_after_s: a hand not seen for so long is another one when it comes back, seconds.
        smooth_s: probabilities follow a sudden change to 63 % within this, seconds; 0 for no smoothing.
    """

    threads: int = 1
    skip_still_frames: bool = True
    still_below: float = 2.0
    skip_same_crops: bool = True
    same_below: float = 4.0
    look_again_s: float = 1.0
    follow_within: float = 1.0
    lost_after_s: float = 0.5
    smooth_s: float = 0.2

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads: expected at least 1, found {self.threads}")
        for name in ("still_below", "same_below", "look_again_s", "follow_within", "lost_after_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, found {getattr(self, name)}")
        if self.smooth_s < 0:
            raise ValueError(f"smooth_s: expected at least 0, found {self.smooth_s}")


@dataclass(frozen=True)
class RuntimeSettings:
    """All settings of one station.

    Attributes:
        recognise: see `RecogniseSettings`.
        events: see `EventSettings`.
    """

    recognise: RecogniseSettings = field(default_factory=RecogniseSettings)
    events: EventSettings = field(default_factory=EventSettings)
