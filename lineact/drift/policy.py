"""How often a line is looked at, how many false alarms are borne, and what an alarm does."""

from dataclasses import dataclass
from typing import Literal

HOURS_A_YEAR = 8766.0


@dataclass(frozen=True)
class Rate:
    """How many false alarms are borne.

    Attributes:
        alarms_per_year: of a line, all groups together, above 0.
        every_h: hours from one look to the next.
    """

    alarms_per_year: float
    every_h: float

    def __post_init__(self) -> None:
        if not (self.alarms_per_year > 0 and self.every_h > 0):
            raise ValueError(f"expected more than 0, found {self.alarms_per_year} a year, every {self.every_h} hours")
        if self.level >= 0.5:
            raise ValueError(
                f"expected fewer false alarms than looks, found {self.alarms_per_year:g} a year and a look every "
                f"{self.every_h:g} h"
            )

    @property
    def level(self) -> float:
        """Of one look, 0 to 1."""
        return self.alarms_per_year * self.every_h / HOURS_A_YEAR


@dataclass(frozen=True)
class DriftParams:
    """What a line does about drift.

    Attributes:
        on_alarm: "tell"; "review": the crops that the release was least sure of are asked next; "retrain": and the line
            is trained.
        per_year: false alarms that are borne.
        every_h: hours from one look to the next.
        videos: folder of what the station keeps, which `make serve` looks at by itself; "": nobody does.
    """

    on_alarm: Literal["tell", "review", "retrain"]
    per_year: float
    every_h: float
    videos: str

    def __post_init__(self) -> None:
        _ = self.rate  # refuses what makes no sense

    @property
    def rate(self) -> Rate:
        """Of false alarms."""
        return Rate(self.per_year, self.every_h)
