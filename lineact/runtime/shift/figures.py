"""A recording in figures: how often, how long, and how much of the time nothing was done."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lineact.bundle.work import IRRELEVANT
from lineact.runtime.shift.reading import Act, Recording
from lineact.runtime.work.events import CYCLE


class Count(NamedTuple):
    """An action over the shift.

    Attributes:
        action: its label.
        times: how often it was done.
        median_s: of its durations, seconds.
        p90_s: nine of ten took no longer, seconds.
        total_s: seconds.
    """

    action: str
    times: int
    median_s: float
    p90_s: float
    total_s: float


class Figures(NamedTuple):
    """A recording in figures.

    Attributes:
        from_s: of its first action or finding, seconds of the recording's clock.
        to_s: end of its last one.
        counts: of each action, the commonest first; irrelevant movements last.
        cycles_s: durations of the cycles that were seen whole, seconds, in their order.
        partial: cycles that were not.
        work_s: time in which a hand did an action, seconds.
        irrelevant_s: time in which hands did nothing but irrelevant movements, seconds.
        idle: spans of at least `idle_s` without an action: start and end.
    """

    from_s: float
    to_s: float
    counts: tuple[Count, ...]
    cycles_s: np.ndarray
    partial: int
    work_s: float
    irrelevant_s: float
    idle: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.to_s - self.from_s

    @property
    def idle_s(self) -> float:
        """All idle time."""
        return sum(end_s - start_s for start_s, end_s in self.idle)


def figures_of(recording: Recording, idle_s: float) -> Figures:
    """Reckons the figures.

    Args:
        recording: with at least one action.
        idle_s: so long a time without an action is idle.
    """
    acts = recording.acts
    spans = [(act.start_s, act.end_s) for act in acts] + [(one.start_s, one.end_s) for one in recording.findings]
    from_s, to_s = min(start_s for start_s, _ in spans), max(end_s for _, end_s in spans)
    work = _union([act for act in acts if act.action != IRRELEVANT])
    edges_s = [from_s, *(edge for span in work for edge in span), to_s]
    free = list(zip(edges_s[::2], edges_s[1::2], strict=True))
    cycles = [one for one in recording.findings if one.kind == CYCLE]
    work_s = sum(end_s - start_s for start_s, end_s in work)
    return Figures(
        from_s=from_s,
        to_s=to_s,
        counts=_counts(acts),
        cycles_s=np.array([one.cycle_s for one in cycles if one.cycle_s is not None], np.float64),
        partial=sum(one.cycle_s is None for one in cycles),
        work_s=work_s,
        irrelevant_s=sum(end_s - start_s for start_s, end_s in _union(acts)) - work_s,
        idle=tuple((start_s, end_s) for start_s, end_s in free if end_s - start_s >= idle_s),
    )


def _counts(acts: Sequence[Act]) -> tuple[Count, ...]:
    durations: dict[str, list[float]] = {}
    for act in acts:
        durations.setdefault(act.action, []).append(act.end_s - act.start_s)
    counts = [
        Count(action, len(found), float(np.median(found)), float(np.percentile(found, 90)), sum(found))
        for action, found in durations.items()
    ]
    return tuple(sorted(counts, key=lambda one: (one.action == IRRELEVANT, -one.times, one.action)))


def _union(acts: Sequence[Act]) -> list[tuple[float, float]]:
    """Spans in which at least one goes on, in order, apart from each other."""
    spans: list[tuple[float, float]] = []
    for act in sorted(acts, key=lambda act: act.start_s):
        if spans and act.start_s <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], act.end_s))
        else:
            spans.append((act.start_s, act.end_s))
    return spans
