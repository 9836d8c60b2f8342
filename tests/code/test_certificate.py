"""The bound on wrong labels: against exact fractions, and over many samples with the stopping rule in force."""

from fractions import Fraction
from itertools import pairwise, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta as beta_distribution

from lineact.certificate import PRIOR, Bound, Target, bound_of, most_wrong, upper_curve

TARGET = Target(max_error=0.05, level=0.95)
SAMPLES = 1500
FALSE_ALARMS = 0.05 + 3 * (0.05 * 0.95 / SAMPLES) ** 0.5  # three standard errors of a count of that many samples


def rising(start: int, count: int) -> int:
    """start * (start + 1) * ..., `count` factors."""
    found = 1
    for step in range(count):
        found *= start + step
    return found


def beta_binomial(count: int, total: int, alpha: int, beta: int) -> Fraction:
    """Exact weight of `count` among `total`."""
    return Fraction(
        comb(total, count) * rising(alpha, count) * rising(beta, total - count), rising(alpha + beta, total)
    )


def kept_by_definition(wrong: int, looked: int, population: int) -> set[int]:
    """Every number of wrong labels whose prior is less than 20 times its posterior, in exact fractions."""
    alpha, beta = (int(number) for number in PRIOR)
    kept = set()
    for number in range(population + 1):
        prior = beta_binomial(number, population, alpha, beta)
        unseen = number - wrong
        if 0 <= unseen <= population - looked:
            posterior = beta_binomial(unseen, population - looked, alpha + wrong, beta + looked - wrong)
            if prior < 20 * posterior:
                kept.add(number)
    return kept


@given(st.integers(1, 60).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))), st.floats(0, 1))
def test_the_bound_is_the_upper_end_of_the_ratio_of_prior_and_posterior(sizes, share):
    population, looked = sizes
    wrong = round(share * looked)
    assert most_wrong(wrong, looked, population, 0.95) == max(kept_by_definition(wrong, looked, population))


@pytest.mark.parametrize(("population", "share"), product([40, 300], [0.02, 0.0525, 0.15]))
def test_in_95_percent_of_samples_no_look_at_all_shows_a_bound_under_the_truth(population, share):
    rng = np.random.default_rng([population, round(1e4 * share)])
    wrong_in_all = round(share * population)
    labels = np.arange(population) < wrong_in_all
    under = 0
    for _ in range(SAMPLES):
        curve = upper_curve(rng.permutation(labels)[:200].tolist(), population, 0.95)
        under += min(curve) < wrong_in_all / population
    assert under / SAMPLES <= FALSE_ALARMS


def certified_by(bound_after, labels: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether a reviewer who looks after every answer, and stops when content, is ever told that the target is met."""
    order = rng.permutation(labels)
    return any(bound_after(int(order[:looked].sum()), looked) <= TARGET.max_error for looked in range(1, 401))


def test_reviewers_who_stop_when_the_target_is_met_certify_a_bad_set_seldom_but_with_a_naive_bound_often():
    population = 2000
    labels = np.arange(population) < round(0.052 * population)  # just over the target: nothing may be certified
    rng = np.random.default_rng(0)
    naive_bounds = {
        (wrong, looked): float(beta_distribution.ppf(0.95, wrong + 1, looked - wrong)) if wrong < looked else 1.0
        for looked in range(1, 401)
        for wrong in range(min(looked, 80) + 1)
    }
    own_bounds = {key: most_wrong(*key, population, 0.95) / population for key in naive_bounds}
    samples = 800
    own = sum(certified_by(lambda *key: own_bounds[key], labels, rng) for _ in range(samples)) / samples
    naive = sum(certified_by(lambda *key: naive_bounds[key], labels, rng) for _ in range(samples)) / samples
    print(f"of bad sets certified: {own:.1%}; with a naive bound {naive:.1%}")
    assert own <= 0.05 + 3 * (0.05 * 0.95 / samples) ** 0.5
    assert naive >= 0.1


@given(st.integers(1, 200), st.data())
def test_looking_at_everything_gives_the_exact_share_and_ends(population, data):
    wrong = data.draw(st.lists(st.booleans(), min_size=population, max_size=population))
    bound = bound_of(wrong, population, TARGET)
    assert (bound.upper, bound.needed, bound.met) == (sum(wrong) / population, 0, True)


@given(st.integers(2, 400), st.data())
def test_the_bound_never_rises_before_the_last_look_and_never_falls_under_what_was_seen(population, data):
    wrong = data.draw(st.lists(st.booleans(), max_size=population - 1))
    curve = upper_curve(wrong, population, 0.95)
    assert all(later <= earlier for earlier, later in pairwise(curve))
    assert curve[0] == 1
    assert curve[-1] >= sum(wrong) / population
    assert bound_of(wrong, population, TARGET).upper == curve[-1]


@given(st.integers(50, 3000), st.integers(0, 300), st.floats(0, 0.08))
def test_so_many_more_looks_at_the_same_share_meet_the_target(population, looked, share):
    looked = min(looked, population - 1)
    wrong = round(share * looked)
    bound = bound_of([True] * wrong + [False] * (looked - wrong), population, TARGET)
    if bound.met:
        assert bound.needed == 0
    elif looked and wrong / looked > TARGET.max_error:
        assert bound.needed is None
    else:
        assert bound.needed is not None
        then = looked + bound.needed
        expected = wrong / looked * then if looked else 0.0
        assert then == population or most_wrong(expected, then, population, 0.95) <= 0.05 * population


@pytest.mark.parametrize(("population", "looks"), [(300, 68), (1000, 79), (5000, 84)])
def test_without_a_wrong_label_so_many_looks_show_five_percent(population, looks):
    assert bound_of([], population, TARGET).needed == looks
    assert not bound_of([False] * (looks - 1), population, TARGET).met
    assert bound_of([False] * looks, population, TARGET).met


def test_of_nothing_accepted_nothing_is_wrong():
    assert bound_of([], 0, TARGET) == Bound(population=0, looked=0, wrong=0, upper=0.0, needed=0, met=True)
    assert bound_of([], 0, TARGET).error is None


def test_what_was_met_once_stays_met():
    looks = [False] * 68 + [True, True, True]
    assert bound_of(looks, 300, TARGET).met
    assert bound_of(looks, 300, TARGET).wrong == 3
