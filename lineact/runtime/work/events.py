"""What the work sense reports: finished cycles, and every difference from the standard work once."""

import uuid
from dataclasses import dataclass, field
from typing import Final, Literal

from lineact.runtime.events import EVENT_VERSION, Event, Origin, utc_text

CYCLE: Final = "cycle"
Kind = Literal[
    "cycle",
    "missing_step",
    "wrong_order",
    "repeated_step",
    "extra_step",
    "step_too_short",
    "step_too_long",
    "cycle_too_long",
    "idle",
]
DEVIATIONS: tuple[Kind, ...] = (
    "missing_step",
    "wrong_order",
    "repeated_step",
    "extra_step",
    "step_too_short",
    "step_too_long",
    "cycle_too_long",
    "idle",
)


@dataclass(frozen=True)
class CycleTimes:
    """A finished cycle in figures.

    Attributes:
        cycle_s: from its first step's start to its last step's end, seconds.
        interval_s: from the start of the cycle before to its own, seconds; None after one that was not seen whole.
        wait_s: from the end of the cycle before to its own start, seconds; None likewise.
        idle_s: within it, without any step, seconds.
        deviations: of steps and order; times are not among them.
        whole: False where its begin or its end was not seen: then its times say nothing.
    """

    cycle_s: float
    interval_s: float | None
    wait_s: float | None
    idle_s: float
    deviations: int
    whole: bool


@dataclass(frozen=True)
class WorkEvent:
    """A finished cycle or a deviation.

    Attributes:
        origin: line, camera, bundle: as of actions.
        kind: what it is.
        action: the step it is about; "" where it is about none.
        words: the same in a sentence.
        start_s: media seconds: of the step, the cycle or the idle time.
        end_s: media seconds, excluded; where that still goes on, until when it has been seen.
        start_utc_s: seconds since 1970.
        cycle: counts the cycles of this process, from 1; of idle time the next one.
        product: number of the product that was told; "" where nobody tells one.
        times: of a finished cycle; else None.
        event_id: unique.
    """

    origin: Origin
    kind: Kind
    action: str
    words: str
    start_s: float
    end_s: float
    start_utc_s: float
    cycle: int
    product: str
    times: CycleTimes | None = None
    event_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def as_json(self) -> dict[str, object]:
        """The form in which it is written and sent, like an action's; `kind` tells them apart."""
        said: dict[str, object] = {
            "version": EVENT_VERSION,
            "event_id": self.event_id,
            "kind": self.kind,
            **self.origin._asdict(),
            "action": self.action,
            "words": self.words,
            "start_s": round(self.start_s, 6),
            "end_s": round(self.end_s, 6),
            "start_utc": utc_text(self.start_utc_s),
            "end_utc": utc_text(self.start_utc_s + self.end_s - self.start_s),
            "cycle": self.cycle,
            "product": self.product,
        }
        if self.times:
            said |= {
                name: round(value, 6) if isinstance(value, float) else value for name, value in vars(self.times).items()
            }
        return said


Reported = Event | WorkEvent
