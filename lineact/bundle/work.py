"""The standard work of a station: its steps in order, their expected times, what counts as idle."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from lineact.errors import ConfigError

IRRELEVANT = "NG"  # a movement that is no action, and so no step


@dataclass(frozen=True)
class WorkStep:
    """A step of the standard work.

    Attributes:
        action: one of the line's actions.
        min_s: a step that took less is reported as too short, seconds.
        max_s: one that takes longer is reported as too long, seconds; None for no limit.
        optional: whether a cycle may do without it.
    """

    action: str
    min_s: float = 0.0
    max_s: float | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if not self.action or self.action == IRRELEVANT:
            raise ValueError(f"action: expected one of the line's actions, found {self.action!r}")
        if self.min_s < 0 or (self.max_s is not None and self.max_s <= self.min_s):
            raise ValueError(f"{self.action}: expected 0 <= min_s < max_s, found {self.min_s} and {self.max_s}")


@dataclass(frozen=True)
class WorkSettings:
    """What a cycle is to be, and from where on a difference is reported.

    Attributes:
        steps: in their order. An action may come several times, each time with the same times.
        orders: further orders that are as good, each with the actions of all steps.
        cycle_by: what separates cycles: "steps", where the steps themselves begin again; "product", where the product
            that is told from outside changes.
        takt_s: a cycle that takes longer is reported, seconds from its first step's start; None for no limit.
        idle_s: so long a time without any step is reported as idle, seconds.
        join_s: a step that goes on after a pause of at most this, with no other step in between, is one step, seconds.
    """

    steps: tuple[WorkStep, ...]
    orders: tuple[tuple[str, ...], ...] = ()
    cycle_by: Literal["steps", "product"] = "steps"
    takt_s: float | None = None
    idle_s: float = 10.0
    join_s: float = 1.0

    def __post_init__(self) -> None:
        actions = [step.action for step in self.steps]
        if all(step.optional for step in self.steps):
            raise ValueError("steps: expected at least one that is not optional")
        for order in self.orders:
            if Counter(order) != Counter(actions):
                raise ValueError(f"orders: expected {', '.join(actions)}, each as often, found {', '.join(order)}")
        for action in set(actions):
            if len({(step.min_s, step.max_s) for step in self.steps if step.action == action}) > 1:
                raise ValueError(f"steps: expected the same min_s and max_s wherever {action} comes")
        if self.idle_s <= 0 or self.join_s < 0 or (self.takt_s is not None and self.takt_s <= 0):
            raise ValueError("expected takt_s and idle_s above 0 and join_s of at least 0")

    def refuse_unknown(self, actions: Collection[str], where: str) -> None:
        """Checks that the steps are actions that are recognised.

        Raises:
            ConfigError: naming those that are not.
        """
        unknown = sorted({step.action for step in self.steps} - set(actions))
        if unknown:
            known = ", ".join(sorted(set(actions) - {IRRELEVANT}))
            raise ConfigError(f"{where}: expected steps among the line's actions {known}, found {', '.join(unknown)}")
