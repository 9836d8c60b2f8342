"""The work sense of one camera: from actions, while they go on, to cycles and deviations."""

import logging
from collections import Counter
from collections.abc import Sequence

from lineact.bundle.work import IRRELEVANT, WorkSettings
from lineact.runtime.events import TOLERANCE_S, Begun, Event, Origin
from lineact.runtime.work.alignment import Alignment, Cut, Order, align, endings_of, first_cycle, orders_of
from lineact.runtime.work.events import CYCLE, CycleTimes, Kind, WorkEvent
from lineact.runtime.work.steps import Part, Step, free_s, in_turn, joined, part_of, step_of

FEW = 3  # steps of a kind that a sentence names
MOST_WAITING = 200  # steps of a cycle whose product never ends: nobody tells products, or the broker is away

log = logging.getLogger(__name__)


class WorkSense:
    """Follows the steps.

    A step that differs is reported as soon as no other reading of the steps is as good; see `first_cycle`.

    Args:
        settings: the standard work; None where there is none, and so nothing to report.
        origin: what the events have in common.
    """

    def __init__(self, settings: WorkSettings | None, origin: Origin) -> None:
        self._origin = origin
        self._expected: dict[str, WorkSettings | None] = {}
        self._follow(settings)
        self._steps: list[Step] = []  # of no cycle yet, by their start
        self._known: dict[tuple[int, float], Step | None] = {}  # parts that have begun; None of no step
        self._held: list[Part] = []  # over before an earlier one is settled
        self._told: list[WorkEvent] = []
        self._cycle = 1
        self._before: tuple[float, float] | None = None  # start and end of the cycle before, where it was seen whole
        self._begin_seen = False  # whether the cycle that goes on was seen from its first step on
        self._takt_told = False
        self._nameless_told = False
        self._free_since_s: float | None = None
        self._idle_told = False
        self._utc_less_media_s = 0.0

    def _follow(self, settings: WorkSettings | None) -> None:
        self._standard = settings
        if settings is not None:
            self._settings = settings
            self._orders = orders_of(settings)
            self._limits = {step.action: step for step in settings.steps}
            self._actions = [step.action for step in settings.steps]

    def expect(self, bundle: str, settings: WorkSettings | None) -> None:
        """This bundle comes, with its standard work; before its first frame. From any thread."""
        self._expected[bundle] = settings

    def change(self, bundle: str) -> None:
        """Another bundle recognises from now on. With another standard the cycle that goes on is told as unfinished."""
        settings = self._expected.pop(bundle, self._standard)
        if settings != self._standard:
            self._end(certainly=False)
            self._begin_seen, self._before = False, None
            self._follow(settings)
        self._origin = self._origin._replace(bundle=bundle)

    def see(
        self, ended: Sequence[Event], begun: Sequence[Begun], settled_s: float, utc_less_media_s: float
    ) -> list[WorkEvent]:
        """Takes what became known with a frame and returns what is to be reported.

        Args:
            ended: events that ended.
            begun: all that go on.
            settled_s: media seconds before which nothing begins any more that was not told of.
            utc_less_media_s: seconds since 1970 of a frame, less its media seconds.
        """
        self._utc_less_media_s = utc_less_media_s
        if self._standard is None:
            return self._taken()
        if self._free_since_s is None and not self._steps:
            self._free_since_s = settled_s
        parts = [*self._held, *map(part_of, ended), *map(part_of, begun)]
        self._held = []
        changed = False
        for part in sorted(parts, key=lambda part: (part.start_s, part.hand)):
            if part.key in self._known:
                changed |= self._go_on(part)
            elif part.start_s <= settled_s:
                self._pass(part.start_s)
                changed |= self._begin(part)
            elif part.over:
                self._held.append(part)
        self._pass(settled_s, changed)
        return self._taken()

    def look_away(self, at_s: float) -> list[WorkEvent]:
        """Nobody saw what was done up to now: the cycle that went on is told without what may have been done.

        Args:
            at_s: media seconds from which on is seen again.
        """
        self._end(certainly=False)
        self._begin_seen, self._before = False, None
        self._free_since_s, self._idle_told = at_s, False
        return self._taken()

    def close(self, ended: Sequence[Event], at_s: float) -> list[WorkEvent]:
        """The source ended: reports what is certain of the cycle that goes on; what may have come is not missing.

        Args:
            ended: events that the end ended.
            at_s: media seconds of the end.
        """
        told = self.see(ended, (), at_s, self._utc_less_media_s)
        self._end(certainly=True)
        return [*told, *self._taken()]

    def _end(self, certainly: bool) -> None:
        """No step goes on. Where the last one of the standard was done, that may be taken for a cycle's end."""
        for step in self._steps:
            self._finish(step)
        self._find_cycles(certainly=True)
        if self._steps:
            self._close(len(self._steps), ended=certainly and self._has_last())

    def _taken(self) -> list[WorkEvent]:
        told, self._told = self._told, []
        return told

    def _go_on(self, part: Part) -> bool:
        step = self._known[part.key]
        if step is not None and not step.over:
            step.parts[part.key] = part
        if part.over:
            del self._known[part.key]
        return part.over

    def _begin(self, part: Part) -> bool:
        """A part begins; returns whether that changes the steps."""
        if part.action == IRRELEVANT:
            if not part.over:
                self._known[part.key] = None
            return False
        step = joined(part, self._steps, self._settings.join_s)
        if step is not None:
            step.parts[part.key] = part
        else:
            for other in self._steps:
                if not other.runs and other.until_s <= part.start_s:
                    self._finish(other)
            self._find_cycles()
            step = step_of(part)
            self._steps.append(step)
        if not part.over:
            self._known[part.key] = step
        return True

    def _pass(self, to_s: float, changed: bool = True) -> None:
        """Everything that began before is known."""
        for step in list(self._steps):
            self._check_long(step)
            if not step.over and not step.runs and to_s - step.until_s > self._settings.join_s:
                self._finish(step)
                changed = True
        if changed:
            self._find_cycles()
            self._give_up_waiting()
            self._tell_soon()
        self._check_takt()
        self._check_idle(to_s)

    def _finish(self, step: Step) -> None:
        if step.over:
            return
        step.over = True
        self._check_long(step)
        limit = self._limits.get(step.action)
        if limit and step.duration_s < limit.min_s - TOLERANCE_S:
            words = f"{step.action} took {step.duration_s:.1f} s; at least {limit.min_s:g} s are expected"
            self._tell_step("step_too_short", step, words)

    def _check_long(self, step: Step) -> None:
        limit = self._limits.get(step.action)
        if limit and limit.max_s is not None and step.duration_s > limit.max_s + TOLERANCE_S:
            words = f"{step.action} takes longer than the {limit.max_s:g} s that are expected at most"
            self._tell_step("step_too_long", step, words)

    def _check_takt(self) -> None:
        takt_s = self._settings.takt_s
        if takt_s is None or self._takt_told or not self._steps or not self._begins_first() or self._is_nameless():
            return
        start_s, until_s = self._steps[0].start_s, max(step.until_s for step in self._steps)
        if until_s - start_s > takt_s + TOLERANCE_S:
            self._takt_told = True
            words = f"the cycle takes longer than the takt of {takt_s:g} s"
            self._tell("cycle_too_long", "", words, (start_s, until_s), self._steps[0].product)

    def _check_idle(self, to_s: float) -> None:
        """Whether no step was done for long; if the last one was there, the cycle ends with that."""
        if any(step.runs for step in self._steps):
            self._free_since_s, self._idle_told = None, False
            return
        self._note_free(self._steps)
        since_s = self._free_since_s
        if since_s is None or self._idle_told or to_s - since_s < self._settings.idle_s:
            return
        self._idle_told = True
        product = self._steps[-1].product if self._steps else ""
        if self._has_last() and self._settings.cycle_by == "steps":
            self._find_cycles(certainly=True)
            if self._steps:
                self._close(len(self._steps))
        words = f"no step for {self._settings.idle_s:g} s"
        self._tell("idle", "", words, (since_s, since_s + self._settings.idle_s), product)

    def _note_free(self, steps: Sequence[Step]) -> None:
        """These steps are over: since then nothing was done."""
        until_s = max((step.until_s for step in steps), default=-1.0)
        if self._free_since_s is None or until_s > self._free_since_s:
            self._free_since_s, self._idle_told = until_s, False

    def _has_last(self) -> bool:
        """Whether the standard's last step was done, as often as it comes."""
        done = Counter(step.action for step in self._steps)
        for order in self._orders:
            last = next(step.action for step in reversed(order) if step.required)
            if done[last] >= sum(step.action == last for step in order):
                return True
        return False

    def _begins_first(self) -> bool:
        return self._begin_seen or self._steps[0].action in {order[0].action for order in self._orders}

    def _find_cycles(self, certainly: bool = False) -> None:
        """Closes the cycles that are over.

        Args:
            certainly: whether nothing is waited for.
        """
        while self._steps:
            length, certain = self._cut()
            cycle, rest = self._steps[:length], self._steps[length:]
            over = self._is_complete() if not rest else certain or certainly
            if not (over and all(step.over for step in cycle)):
                return
            self._close(length)

    def _give_up_waiting(self) -> None:
        """What waits for the next product does not grow for ever: it is told as a cycle that was not seen whole."""
        if self._settings.cycle_by == "product" and len(self._steps) >= MOST_WAITING:
            self._end(certainly=False)
            self._begin_seen, self._before = False, None

    def _cut(self) -> Cut:
        if self._settings.cycle_by == "product":
            products = [step.product for step in self._steps]
            length = next((row for row, product in enumerate(products) if product != products[0]), len(products))
            return Cut(length, certain=True)
        self._steps = in_turn(self._steps, self._actions)
        actions = tuple(step.action for step in self._steps)
        length, certain = first_cycle(actions, self._orders, self._first_orders())
        settled = self._is_complete() and all(step.over for step in self._steps)
        return Cut(length, certain or settled)

    def _first_orders(self) -> tuple[Order, ...]:
        return self._orders if self._begins_first() else endings_of(self._orders)

    def _is_complete(self) -> bool:
        """Whether nothing of the standard is left to do, optional steps included."""
        if self._settings.cycle_by == "product":
            return False  # the product that comes next tells
        todo = list(self._align(self._steps).order)
        done = [step.action for step in self._steps]
        for step in todo:
            if step.action not in done:
                return False
            done.remove(step.action)
        return True

    def _align(self, steps: Sequence[Step]) -> Alignment:
        return align([step.action for step in steps], self._first_orders())

    def _tell_soon(self) -> None:
        """What is wrong in the cycle that goes on and stays so, whatever comes."""
        if not self._steps or self._is_nameless() or self._cut() != (len(self._steps), True):
            return
        alignment = self._align(self._steps)
        last = alignment.in_order[-1] if alignment.in_order else -1
        place = {step.action: number for number, step in enumerate(alignment.order)}
        for row in sorted((*alignment.moved, *alignment.extra)):
            action = self._steps[row].action
            passed = row < last and (row in alignment.extra or place[action] < place[self._steps[last].action])
            if passed or action not in self._limits:
                self._tell_row(row, alignment)

    def _tell_row(self, row: int, alignment: Alignment) -> None:
        """Tells once that a step is out of order, or too much."""
        step = self._steps[row]
        if step.told & {"wrong_order", "repeated_step", "extra_step"}:
            return
        if row in alignment.moved:
            self._tell_step("wrong_order", step, _words_of_order(row, alignment, self._steps))
        elif step.action in self._limits:
            self._tell_step("repeated_step", step, f"{step.action} was done once more than expected")
        else:
            self._tell_step("extra_step", step, f"{step.action} is no step of this work")

    def _close(self, length: int, ended: bool = True) -> None:
        """The first steps are a cycle.

        Args:
            length: so many.
            ended: whether its last step is among them.
        """
        rest, self._steps = self._steps[length:], self._steps[:length]
        if self._is_nameless():
            self._drop_nameless(rest)
            return
        self._nameless_told = False
        steps, alignment = self._steps, self._align(self._steps)
        wrong = sorted((*alignment.moved, *alignment.extra))
        told = sum(bool(step.told & {"wrong_order", "repeated_step", "extra_step"}) for step in steps)
        for row in [row for row in wrong if not steps[row].told][: max(len(wrong) - told, 0)]:
            self._tell_row(row, alignment)
        own = [steps[row] for row in sorted((*alignment.in_order, *alignment.moved))]
        if own:
            self._tell_cycle(own, alignment, whole=ended and self._begins_first(), ended=ended)
        self._note_free(steps)
        self._steps = rest
        self._begin_seen, self._takt_told = bool(own) or self._begin_seen, False

    def _is_nameless(self) -> bool:
        """Whether products tell the cycles, and nobody told the one of the steps."""
        return self._settings.cycle_by == "product" and not self._steps[0].product

    def _drop_nameless(self, rest: list[Step]) -> None:
        """Steps of no product are in no cycle, which is told once; how many cycles they were nobody knows."""
        if not self._nameless_told:
            log.warning(
                "%s: products tell the cycles (work.cycle_by), but nobody tells a product: no cycle is followed; see "
                "mqtt.product_topic",
                self._origin.camera,
            )
        self._nameless_told = True
        self._note_free(self._steps)
        self._steps = rest
        self._begin_seen, self._before, self._takt_told = False, None, False

    def _tell_cycle(self, own: list[Step], alignment: Alignment, whole: bool, ended: bool) -> None:
        start_s, end_s = own[0].start_s, max(step.until_s for step in own)
        product = own[0].product
        missing = alignment.missing if ended else ()
        for action in missing:
            self._tell("missing_step", action, f"{action} is missing", (start_s, end_s), product)
        deviations = len(missing) + len(alignment.moved) + len(alignment.extra)
        before = self._before
        times = CycleTimes(
            cycle_s=end_s - start_s,
            interval_s=start_s - before[0] if before and whole else None,
            wait_s=max(start_s - before[1], 0.0) if before and whole else None,
            idle_s=free_s(own),
            deviations=deviations,
            whole=whole,
        )
        words = (
            f"cycle {self._cycle} took {times.cycle_s:.1f} s" if whole else f"cycle {self._cycle} was not seen whole"
        )
        self._tell(CYCLE, "", words, (start_s, end_s), product, times)
        self._before = (start_s, end_s) if whole else None
        self._cycle += 1

    def _tell_step(self, kind: Kind, step: Step, words: str) -> None:
        if kind not in step.told:
            step.told.add(kind)
            self._tell(kind, step.action, words, (step.start_s, step.until_s), step.product)

    def _tell(
        self,
        kind: Kind,
        action: str,
        words: str,
        span_s: tuple[float, float],
        product: str,
        times: CycleTimes | None = None,
    ) -> None:
        utc_s = span_s[0] + self._utc_less_media_s
        self._told.append(WorkEvent(self._origin, kind, action, words, *span_s, utc_s, self._cycle, product, times))


def _words_of_order(row: int, alignment: Alignment, steps: Sequence[Step]) -> str:
    action = steps[row].action
    place = {step.action: number for number, step in reversed(list(enumerate(alignment.order)))}
    before = [steps[other].action for other in alignment.in_order if other < row]
    late = [other for other in before if place[other] > place[action]]
    if late:
        return f"{action} came after {' and '.join(late[:FEW])}; expected before"
    after = [steps[other].action for other in alignment.in_order if other > row]
    early = [other for other in after if place[other] < place[action]]
    return f"{action} came before {' and '.join(early[:FEW])}; expected after" if early else f"{action} is out of order"
