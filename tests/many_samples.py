"""Many random orders at once: how often a bound that is asked after every look is under the truth."""

import numpy as np
from scipy.stats import beta, binomtest

from lineact.certificate import most_wrong

LOOKS = 400


def most_allowed(population: int, wrong_in_all: int, level: float, looks: int = LOOKS) -> np.ndarray:
    """After each look, so many wrong labels at most show fewer than there are in all; -1 where no number does.

    The bound rises with the number of wrong labels, so it is enough to ask until it does not.
    """
    allowed = np.full(looks + 1, -1)
    for looked in range(1, min(looks, population - 1) + 1):
        for wrong in range(looked + 1):
            if most_wrong(wrong, looked, population, level) >= wrong_in_all:
                break
            allowed[looked] = wrong
    return allowed


def most_allowed_by_clopper_pearson(population: int, wrong_in_all: int, looks: int = LOOKS) -> np.ndarray:
    """The same by the bound of a sample of fixed size, at 95 %."""
    allowed = np.full(looks + 1, -1)
    for looked in range(1, looks + 1):
        for wrong in range(looked):
            if beta.ppf(0.95, wrong + 1, looked - wrong) * population >= wrong_in_all:
                break
            allowed[looked] = wrong
    return allowed


def wrong_after_each_look(population: int, wrong_in_all: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Wrong labels among the first looks of random orders: samples x (LOOKS + 1)."""
    labels = np.broadcast_to(np.arange(population) < wrong_in_all, (samples, population))
    orders = rng.permuted(labels, axis=1)[:, :LOOKS]
    return np.concatenate([np.zeros((samples, 1), int), orders.cumsum(axis=1)], axis=1)


def assert_at_most(count: int, samples: int, share: float = 0.05) -> None:
    """That something happens in at most this share: shown with a confidence of 99 % by the exact binomial margin."""
    margin = binomtest(count, samples).proportion_ci(0.98, "exact").high
    assert margin <= share, f"{count} of {samples}: up to {margin:.2%}, expected at most {share:.2%}"
