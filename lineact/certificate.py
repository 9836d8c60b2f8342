"""How many of a set's labels are wrong, at most: a bound from a random sample that holds although one looks on and on.

A set of N labels holds an unknown number W of wrong ones; n of them are looked at in random order, without replacement,
and k turn out wrong. The prior-posterior ratio (Waudby-Smith and Ramdas 2020, "Confidence sequences for sampling
without replacement", theorem 2.1) with a beta-binomial prior keeps every w whose prior weighs less than 1 / (1 - level)
times its posterior; by Bayes' rule these are the w with

    P(k of n | w) > (1 - level) * P(k of n),

P(. | w) being hypergeometric and P(.) beta-binomial. At a level of 0.95 all these sets, of all n at once, hold the
true W in at least 95 % of samples. So one may look after every answer and stop when content, and the least of the upper
ends so far is a bound as well. A bound for a sample of fixed size (Clopper and Pearson) does not allow that: asked
after every answer until it is met, it certifies sets that are over the target in far more than 5 % of samples
(tests/code/test_certificate.py shows both).
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# Beta(1, 30) over the share of wrong labels: 3 % on average. It is set before anything is seen, so no validity is lost;
# of 1,000 labels, 79 looks without a wrong one show that at most 5 % are wrong, where an even prior asks for 141.
PRIOR = (1.0, 30.0)


@dataclass(frozen=True)
class Target:
    """What is to be shown.

    Attributes:
        max_error: greatest share of wrong labels, 0 to 1.
        level: share of samples in which the bound holds, above 0 and below 1.
    """

    max_error: float
    level: float


@dataclass(frozen=True)
class Bound:
    """What a sample says of the labels of a set.

    Attributes:
        population: labels in the set.
        looked: how many of them were looked at.
        wrong: how many of these are wrong.
        upper: the share of wrong labels in the whole set is at most this, 0 to 1; the share itself where all were
            looked at.
        needed: further looks that would meet the target if the share of wrong labels stays what it is so far; None
            where only looking at all of them would end it.
        met: whether `upper` reaches the target, or nothing is left to look at.
    """

    population: int
    looked: int
    wrong: int
    upper: float
    needed: int | None
    met: bool

    @property
    def error(self) -> float | None:
        """Share of wrong labels among those looked at; None before the first look."""
        return self.wrong / self.looked if self.looked else None


def bound_of(wrong: Sequence[bool], population: int, target: Target) -> Bound:
    """What looks at a set say.

    Args:
        wrong: whether the label was wrong, of each look, in the random order of the looks.
        population: labels in the set, at least as many.
        target: what is to be shown.
    """
    looked, count = len(wrong), sum(wrong)
    upper = upper_curve(wrong, population, target.level)[-1] if population else 0.0
    met = upper <= target.max_error or looked == population
    needed = 0 if met else _looks_needed(count, looked, population, target)
    return Bound(population, looked, count, upper, needed, met)


@lru_cache
def least_looks(target: Target) -> int:
    """The fewest looks that can meet a target, in a set of any size, before all of it is looked at.

    They do so in sets that are just large enough to hold a wrong label or a few.
    """
    if not target.max_error:
        return sys.maxsize  # only looking at all of them will do
    sizes = [math.ceil(few / target.max_error) for few in range(1, 6)]
    return min(bound_of([], size, target).needed or 0 for size in sizes)


def upper_curve(wrong: Sequence[bool], population: int, level: float) -> list[float]:
    """The bound before the first look and after each: never rising, but for the last look of all, which is exact.

    Args:
        wrong: see `bound_of`.
        population: likewise, at least 1.
        level: see `Target`.

    Returns:
        len(wrong) + 1 shares.
    """
    least, count, curve = population, 0, [1.0]
    for looked, is_wrong in enumerate(wrong, 1):
        count += is_wrong
        least = max(min(least, most_wrong(count, looked, population, level)), count)
        curve.append((count if looked == population else least) / population)
    return curve


@lru_cache(maxsize=100_000)  # asked after every look, of all looks so far
def most_wrong(wrong: float, looked: int, population: int, level: float) -> int:
    """The greatest number of wrong labels in the set that the confidence sequence keeps after this look.

    Args:
        wrong: wrong labels among those looked at; for a forecast any real number.
        looked: labels looked at, 1 to `population`.
        population: labels in the set.
        level: see `Target`.
    """
    alpha, beta = PRIOR
    evidence = _log_choose(looked, wrong) + _log_beta(alpha + wrong, beta + looked - wrong) - _log_beta(alpha, beta)
    least_likely = math.log1p(-level) + evidence + _log_choose(population, looked)
    kept, most = math.ceil(wrong), math.floor(population - looked + wrong)
    # The likelihood rises up to the sample's own share and falls from there, so the last kept number is bisected.
    kept = min(max(kept, math.floor(wrong / looked * population)), most)
    while kept < most:
        middle = (kept + most + 1) // 2
        if _log_choose(middle, wrong) + _log_choose(population - middle, looked - wrong) > least_likely:
            kept = middle
        else:
            most = middle - 1
    return kept


def _looks_needed(wrong: int, looked: int, population: int, target: Target) -> int | None:
    """Further looks until the target is met at the share of wrong labels so far, fractions of a label included."""
    share = wrong / looked if looked else 0.0

    def meets(more: int) -> bool:
        then = looked + more
        return most_wrong(share * then, then, population, target.level) <= target.max_error * population

    if share > target.max_error:
        return None
    few, many = 0, population - looked
    while few + 1 < many:
        middle = (few + many) // 2
        few, many = (few, middle) if meets(middle) else (middle, many)
    return many


def _log_choose(count: float, chosen: float) -> float:
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)


def _log_beta(alpha: float, beta: float) -> float:
    return math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
