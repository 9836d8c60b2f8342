"""Steps: an action that one hand or both do, with short pauses, once in a cycle."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lineact.runtime.events import Begun, Event

TOGETHER_SHARE = 0.5  # a step that begins before this share of the one before is done is at once with it, in no order


class Part(NamedTuple):
    """What one hand adds to a step: an event, or one that still goes on.

    Attributes:
        hand: with the start it names the part.
        action: its label.
        start_s: media seconds.
        start_utc_s: seconds since 1970.
        product: see `Event`.
        until_s: seen until then, media seconds.
        over: whether it has ended.
    """

    hand: int
    action: str
    start_s: float
    start_utc_s: float
    product: str
    until_s: float
    over: bool

    @property
    def key(self) -> tuple[int, float]:
        """Names it."""
        return self.hand, self.start_s


def part_of(event: Event | Begun) -> Part:
    """The part that an event is or becomes."""
    over = isinstance(event, Event)
    until_s = event.end_s if isinstance(event, Event) else event.until_s
    return Part(event.hand, event.action, event.start_s, event.start_utc_s, event.product, until_s, over)


@dataclass(eq=False)
class Step:
    """A step of a cycle.

    Attributes:
        action: its label.
        start_s: of its first part, media seconds.
        start_utc_s: seconds since 1970.
        product: of its first part.
        parts: by their keys.
        over: whether nothing can be added any more.
        told: kinds of deviations that were reported of it.
    """

    action: str
    start_s: float
    start_utc_s: float
    product: str
    parts: dict[tuple[int, float], Part] = field(default_factory=dict)
    over: bool = False
    told: set[str] = field(default_factory=set)

    @property
    def until_s(self) -> float:
        """Seen until then, media seconds."""
        return max(part.until_s for part in self.parts.values())

    @property
    def runs(self) -> bool:
        """Whether a hand is at it."""
        return not all(part.over for part in self.parts.values())

    @property
    def duration_s(self) -> float:
        """So far."""
        return self.until_s - self.start_s


def step_of(part: Part) -> Step:
    """A step that begins with a part."""
    return Step(part.action, part.start_s, part.start_utc_s, part.product, {part.key: part})


def joined(part: Part, steps: Sequence[Step], join_s: float) -> Step | None:
    """The step that a part goes on with: the same action by the other hand at once, or after a short pause."""
    same = [step for step in steps if step.action == part.action and not step.over]
    if not same or same[-1].product != part.product:
        return None
    step = same[-1]
    if step.runs or part.start_s <= step.until_s:
        return step
    between = any(step.until_s <= other.start_s <= part.start_s for other in steps if other is not step)
    return None if between or part.start_s - step.until_s > join_s else step


def in_turn(steps: Sequence[Step], actions: Sequence[str]) -> list[Step]:
    """Steps by their start; of two done at once the one that the standard has first.

    Args:
        steps: by their start.
        actions: of the standard.
    """
    found = list(steps)
    place = {action: number for number, action in reversed(list(enumerate(actions)))}
    swapped = True
    while swapped:  # each turn takes one step nearer to the standard, so this ends
        swapped = False
        for row in range(len(found) - 1):
            one, other = found[row], found[row + 1]
            wrong = place.get(one.action, -1) > place.get(other.action, len(place))
            if wrong and _together(one, other):
                found[row], found[row + 1] = other, one
                swapped = True
    return found


def _together(one: Step, other: Step) -> bool:
    first, second = sorted((one, other), key=lambda step: step.start_s)
    return second.start_s < first.start_s + TOGETHER_SHARE * first.duration_s


def free_s(steps: Sequence[Step]) -> float:
    """Time within steps during which none of them goes on, seconds."""
    free, busy_until_s = 0.0, None
    for step in sorted(steps, key=lambda step: step.start_s):
        if busy_until_s is not None:
            free += max(step.start_s - busy_until_s, 0.0)
        busy_until_s = max(step.until_s, busy_until_s or step.until_s)
    return free
