"""The bound on wrong labels: against exact fractions, and over many samples with the stopping rule in force."""

from fractions import Fraction
from itertools import pairwise, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.certificate import PRIOR, Bound, Target, bound_of, least_looks, most_wrong, upper_curve
from tests.many_samples import (
    assert_at_most,
    most_allowed,
    most_allowed_by_clopper_pearson,
    wrong_after_each_look,
)

TARGET = Target(max_error=0.05, level=0.95)
SAMPLES = 100_000


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
    wrong = wrong_after_each_look(population, wrong_in_all, SAMPLES, rng)[:, : min(population, 200)]
    under = (wrong <= most_allowed(population, wrong_in_all, 0.95)[: wrong.shape[1]]).any(axis=1)
    assert_at_most(under.sum(), SAMPLES)


@pytest.mark.parametrize(("population", "share"), [(40, 0.1), (300, 0.0525)])
def test_so_many_samples_are_counted_as_the_bounds_themselves_do_it(population, share):
    wrong_in_all = round(share * population)
    allowed = most_allowed(population, wrong_in_all, 0.95)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(population) < wrong_in_all)[: population - 1]
        shows = [bound < wrong_in_all / population for bound in upper_curve(labels.tolist(), population, 0.95)]
        counted = np.concatenate([[0], labels.cumsum()]) <= allowed[: len(labels) + 1]
        assert any(shows) == counted.any()


def test_reviewers_who_stop_when_the_target_is_met_certify_a_bad_set_seldom_but_with_a_naive_bound_often():
    population, wrong_in_all = 2000, 104  # just over the target: nothing may be certified
    samples = SAMPLES // 5
    wrong = wrong_after_each_look(population, wrong_in_all, samples, np.random.default_rng(0))
    own = (wrong <= most_allowed(population, wrong_in_all, TARGET.level)).any(axis=1)
    naive = (wrong <= most_allowed_by_clopper_pearson(population, wrong_in_all)).any(axis=1)
    print(f"of {samples} bad sets certified: {own.mean():.1%}; with a naive bound {naive.mean():.1%}")
    assert_at_most(own.sum(), samples)
    assert naive.mean() >= 0.1


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


@pytest.mark.parametrize("max_error", [0.02, 0.05, 0.1, 0.3])
def test_fewer_looks_than_the_least_meet_no_target_before_all_is_looked_at(max_error):
    target = Target(max_error, 0.95)
    least = least_looks(target)
    for population in range(1, 400):
        bound = bound_of([False] * (least - 1), population, target) if population >= least else None
        trivial = population - least + 1 <= max_error * population  # what was not seen is too little to matter
        assert bound is None or not bound.met or trivial


def test_no_looks_but_all_of_them_show_that_nothing_is_wrong():
    assert least_looks(Target(0.0, 0.95)) > 10**9


def test_of_nothing_accepted_nothing_is_wrong():
    assert bound_of([], 0, TARGET) == Bound(population=0, looked=0, wrong=0, upper=0.0, needed=0, met=True)
    assert bound_of([], 0, TARGET).error is None


def test_what_was_met_once_stays_met():
    looks = [False] * 68 + [True, True, True]
    assert bound_of(looks, 300, TARGET).met
    assert bound_of(looks, 300, TARGET).wrong == 3
