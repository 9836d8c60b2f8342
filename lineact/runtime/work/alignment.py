"""A cycle's steps against the standard: what is missing, too much, or out of order, told with as few words as can be.

A cycle costs as many deviations as it needs. With n steps done, of which `lcs` lie in the standard's order (the longest
common subsequence), and `missing` required steps that were not done at all,

    cost = n - lcs + missing

since every step outside of the common sequence is one deviation: out of order where the standard has room for it, else
repeated or foreign. So one forgotten step is one missing step, not ten wrong ones.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from lineact.bundle.work import WorkSettings

MOST_CYCLES_WAITING = 4  # cycles' worth of steps that are looked at at once


class OrderStep(NamedTuple):
    """A step of an allowed order.

    Attributes:
        action: its name.
        required: whether it must be done.
    """

    action: str
    required: bool


Order = tuple[OrderStep, ...]


class Costs(NamedTuple):
    """Deviations of a cycle.

    Attributes:
        closed: where it ends here.
        open: where it goes on: what may still come is not missing.
    """

    closed: int
    open: int


class Alignment(NamedTuple):
    """A cycle held against the order that it is nearest to; numbers are rows of the cycle's steps.

    Attributes:
        in_order: steps as they should be.
        moved: steps that come at another place than they should.
        extra: steps that come more often than they should, or do not belong here at all.
        missing: required steps that were not done, in their order.
        order: the nearest of the allowed ones.
    """

    in_order: tuple[int, ...]
    moved: tuple[int, ...]
    extra: tuple[int, ...]
    missing: tuple[str, ...]
    order: Order

    @property
    def cost(self) -> int:
        """The number of deviations."""
        return len(self.moved) + len(self.extra) + len(self.missing)


def orders_of(settings: WorkSettings) -> tuple[Order, ...]:
    """All allowed orders, the standard first."""
    orders = [tuple(OrderStep(step.action, not step.optional) for step in settings.steps)]
    for actions in settings.orders:
        flags = {action: [step.required for step in orders[0] if step.action == action] for action in set(actions)}
        orders.append(tuple(OrderStep(action, flags[action].pop(0)) for action in actions))
    return tuple(orders)


def endings_of(orders: Sequence[Order]) -> tuple[Order, ...]:
    """What is left of a cycle whose begin nobody saw: all ends of the orders, the longest first."""
    endings = {order[begin:] for order in orders for begin in range(len(order))}
    return tuple(sorted(endings, key=lambda order: (-len(order), order)))


def prefix_costs(actions: Sequence[str], orders: Sequence[Order]) -> list[Costs]:
    """Costs of the first 1, 2, ... steps as a cycle."""
    found = [_prefix_costs(actions, order) for order in orders]
    best = [Costs(min(one.closed for one in row), min(one.open for one in row)) for row in zip(*found, strict=True)]
    again = _begins_again(actions, {order[0].action for order in orders}, {order[-1].action for order in orders})
    return [Costs(costs.closed + more, costs.open + more) for costs, more in zip(best, again, strict=True)]


def _prefix_costs(actions: Sequence[str], order: Order) -> list[Costs]:
    lcs = [0] * (len(order) + 1)  # with the order's first 0, 1, ... steps
    done: Counter[str] = Counter()
    costs = []
    for count, action in enumerate(actions, 1):
        done[action] += 1
        before = lcs
        lcs = [0]
        for place, step in enumerate(order):
            lcs.append(before[place] + 1 if step.action == action else max(before[place + 1], lcs[place]))
        required: Counter[str] = Counter()
        missing, every = 0, []
        for place in range(len(order) + 1):
            every.append(count - lcs[place] + missing)
            if place < len(order) and order[place].required:
                required[order[place].action] += 1
                missing += required[order[place].action] > done[order[place].action]
        costs.append(Costs(every[-1], min(every)))
    return costs


def _begins_again(actions: Sequence[str], firsts: set[str], lasts: set[str]) -> list[int]:
    """One more deviation for each first step, done before, that comes after a last one: there the next cycle begins."""
    more, found, ended, seen = 0, [], False, set()
    for action in actions:
        more += ended and action in firsts and action in seen
        seen.add(action)
        ended = ended or (action in lasts and action not in firsts)
        found.append(more)
    return found


def align(actions: Sequence[str], orders: Sequence[Order]) -> Alignment:
    """Holds a whole cycle against the allowed orders.

    Args:
        actions: of its steps, by their start.
        orders: allowed ones; of several as near the first counts.
    """
    return min((_align(actions, order) for order in orders), key=lambda alignment: alignment.cost)


def _align(actions: Sequence[str], order: Order) -> Alignment:
    rows, places = len(actions), len(order)
    lcs = [[0] * (places + 1) for _ in range(rows + 1)]  # of what comes from a row and a place on
    for row in reversed(range(rows)):
        for place in reversed(range(places)):
            same = actions[row] == order[place].action
            lcs[row][place] = lcs[row + 1][place + 1] + 1 if same else max(lcs[row + 1][place], lcs[row][place + 1])
    in_order: list[int] = []
    row = place = 0
    while row < rows and place < places:
        if actions[row] == order[place].action:
            in_order.append(row)
            row, place = row + 1, place + 1
        elif lcs[row][place + 1] >= lcs[row + 1][place]:  # of two that changed places, the late one is out of order
            place += 1
        else:
            row += 1
    room = Counter(step.action for step in order)
    room.subtract(actions[row] for row in in_order)
    moved: list[int] = []
    extra: list[int] = []
    for row in sorted(set(range(rows)) - set(in_order)):
        (moved if room[actions[row]] > 0 else extra).append(row)
        room[actions[row]] -= 1
    done = Counter(actions)
    missing = []
    for step in order:
        if not step.required:
            continue
        if done[step.action] > 0:
            done[step.action] -= 1
        else:
            missing.append(step.action)
    return Alignment(tuple(in_order), tuple(moved), tuple(extra), tuple(missing), order)


class Cut(NamedTuple):
    """Where the first of several cycles ends.

    Attributes:
        length: so many steps are the first cycle; all of them where no next one has begun.
        certain: whether no other length is as good, or the first cycle has no deviation.
    """

    length: int
    certain: bool


@lru_cache(maxsize=16)  # asked again while a step only goes on
def first_cycle(actions: tuple[str, ...], orders: tuple[Order, ...], first_orders: tuple[Order, ...]) -> Cut:
    """How many of the steps are the first cycle.

    All ways to cut the steps into cycles are compared, the last cycle being unfinished; the one with the fewest
    deviations counts. Of two as good, the one whose cycles begin with a first step, then the one with more cycles.

    Args:
        actions: of steps that belong to no cycle yet, by their start; at least one.
        orders: allowed ones.
        first_orders: the same for the first cycle, whose begin may not have been seen.
    """
    count = len(actions)
    firsts = {order[0].action for order in orders}
    rest = [(0, 0, 0)] * count  # of the steps from here on: deviations, wrong begins, cycles (negative)
    for begin in reversed(range(1, count)):
        costs = prefix_costs(actions[begin:], orders)
        wrong = int(actions[begin] not in firsts)
        ways = [(costs[-1].open, wrong, -1)]
        for length, cost in enumerate(costs[:-1], 1):
            deviations, begins, cycles = rest[begin + length]
            ways.append((cost.closed + deviations, wrong + begins, cycles - 1))
        rest[begin] = min(ways)
    costs = prefix_costs(actions, first_orders)
    cuts = [((costs[-1].open, 0, 0), count)]
    for length, cost in enumerate(costs[:-1], 1):
        deviations, begins, cycles = rest[length]
        cuts.append(((cost.closed + deviations, begins, cycles), length))
    # what follows a cycle without a deviation is not better off in that cycle
    cuts.sort(key=lambda cut: (cut[0][0], cut[1] == count or costs[cut[1] - 1].closed > 0, *cut))
    if count > MOST_CYCLES_WAITING * max(map(len, orders)) and cuts[0][1] == count:
        cuts.pop(0)  # nothing fits: what waits does not grow for ever
    least, length = cuts[0][0][0], cuts[0][1]
    return Cut(length, len(cuts) == 1 or cuts[1][0][0] > least or (length < count and costs[length - 1].closed == 0))
