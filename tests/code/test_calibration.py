"""Names from the nearest named crops, and lambda from a random audit: against slow, obviously right code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.dataset import LabelParams
from lineact.dataset.calibration import (
    Audits,
    Sample,
    calibrate,
    conformal_threshold,
    labels_taken,
    needed_audits,
    precision_curve,
)
from lineact.dataset.matching import ALONE, DISSENT, Matches, best_actions, nearness


def unit(rows):
    rows = np.asarray(rows, float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


NO_PAIRS = np.empty((0, 2), np.int64)


def slow_near(embeddings, row, rows, actions, nearest):
    means = []
    for name in sorted(set(actions)):
        others = [other for other, action in zip(rows, actions, strict=True) if action == name and other != row]
        cosines = sorted((float(embeddings[row] @ embeddings[other]) for other in others), reverse=True)[:nearest]
        means.append(sum(cosines) / len(cosines) if cosines else -1.0)
    return means


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 12))
def test_an_action_is_as_near_as_the_mean_of_its_nearest_named_crops(seed, nearest, named_count):
    rng = np.random.default_rng(seed)
    embeddings = unit(rng.normal(size=(20, 4)))
    rows = rng.choice(20, named_count, replace=False)
    actions = [str(rng.choice(["screw", "wipe", "NG"])) for _ in rows]
    near = nearness(embeddings, np.arange(20), rows, actions, nearest)
    for row in range(20):
        assert near[row] == pytest.approx(slow_near(embeddings, row, rows, actions, nearest))


def slow_best(row, names, near, pairs):
    """Label, similarity, margin and agreement of one crop."""
    others = [other for this, other in pairs.tolist() if this == row]
    together = [
        (near[row][place] + (sum(near[other][place] for other in others) / len(others))) / 2 if others else one
        for place, one in enumerate(near[row])
    ]
    first, *more = sorted(together, reverse=True)
    label = together.index(first)
    same = [list(near[other]).index(max(near[other])) == label for other in others]
    agreement = sum(same) / len(same) if same else (ALONE if len(pairs) else 1.0)
    return names[label], first, first - (more[0] if more else -1.0), agreement


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 20))
def test_the_label_is_the_action_that_is_nearest_over_a_moment(seed, name_count, pair_count):
    rng = np.random.default_rng(seed)
    names = ("NG", "label", "screw", "wipe")[:name_count]
    near = rng.uniform(-1, 1, (8, name_count))
    both = [pair for pair in rng.integers(0, 8, (pair_count, 2)).tolist() if pair[0] != pair[1]]
    pairs = np.array(sorted({*map(tuple, both), *((b, a) for a, b in both)}), np.int64).reshape(-1, 2)
    found = best_actions(np.arange(8), names, near, pairs)
    for row in range(8):
        label, similarity, margin, agreement = slow_best(row, names, near, pairs)
        assert names[found.actions[row]] == label
        assert found.similarity[row] == pytest.approx(similarity)
        assert found.margin[row] == pytest.approx(margin)
        assert found.agreement[row] == pytest.approx(agreement)
        assert found.likeness[row] == pytest.approx(similarity + margin)
        assert found.certainty[row] == pytest.approx(similarity + margin - DISSENT * (1 - agreement))
        assert -1 - DISSENT <= found.certainty[row] <= 3 + 1e-9


def test_what_lasts_is_surer_and_one_odd_look_is_outvoted():
    near = np.array([[0.9, 0.2], [0.5, 0.6], [0.9, 0.2], [0.9, 0.2]])  # the last one is alone
    pairs = np.array([(a, b) for a in range(3) for b in range(3) if a != b])
    found = best_actions(np.arange(4), ("screw", "wipe"), near, pairs)
    assert found.actions.tolist() == [0, 0, 0, 0]
    assert found.agreement.tolist() == [0.5, 1.0, 0.5, ALONE]
    steady = best_actions(np.arange(4), ("screw", "wipe"), near[[0, 0, 0, 3]], pairs)
    assert steady.certainty[0] > found.certainty[0]
    assert steady.certainty[0] > steady.certainty[3]


def test_where_nothing_is_a_moment_away_from_anything_each_crop_counts_by_itself():
    near = np.array([[0.9, 0.2], [0.5, 0.6]])
    found = best_actions(np.arange(2), ("screw", "wipe"), near, NO_PAIRS)
    assert found.certainty.tolist() == found.likeness.tolist() == pytest.approx([1.6, 0.7])


def test_a_named_crop_does_not_vouch_for_itself():
    embeddings = unit([[1, 0], [0.9, 0.1], [0, 1]])

    def label_of_first(rows, actions):
        near = nearness(embeddings, np.arange(3), np.array(rows), actions, 1)
        names = tuple(sorted(set(actions)))
        return names[best_actions(np.arange(3), names, near, NO_PAIRS).actions[0]]

    assert label_of_first([0, 2], ["screw", "wipe"]) == "wipe"  # its own name is left out: the only screw is itself
    assert label_of_first([0, 1, 2], ["screw", "screw", "wipe"]) == "screw"


def selected_by_benjamini_hochberg(audits, certainties, max_wrong):
    """Literally: a conformal p-value for each crop, then the step-up rule."""
    wrong = audits.certainties[~audits.is_right]
    p_values = np.array([(1 + (wrong >= one).sum()) / (len(audits.certainties) + 1) for one in certainties])
    ranked = np.argsort(p_values, kind="stable")
    count = 0
    for rank, index in enumerate(ranked, 1):
        if p_values[index] <= rank * max_wrong / len(certainties):
            count = rank
    limit = p_values[ranked[count - 1]] if count else -1.0
    return {index for index in range(len(certainties)) if p_values[index] <= limit}


@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(0, 40), st.sampled_from([0.01, 0.05, 0.2, 0.5]))
def test_the_threshold_selects_what_benjamini_and_hochberg_do(seed, audit_count, count, max_wrong):
    rng = np.random.default_rng(seed)
    certainties = rng.integers(0, 12, count) / 4  # ties are common
    audits = Audits(rng.integers(0, 12, audit_count) / 4, rng.random(audit_count) < 0.8)
    threshold = conformal_threshold(audits, certainties, max_wrong)
    selected = set() if threshold is None else set(np.flatnonzero(certainties >= threshold).tolist())
    assert selected == selected_by_benjamini_hochberg(audits, certainties, max_wrong)


@pytest.mark.parametrize("max_wrong", [0.05, 0.1])
def test_on_average_at_most_the_wanted_share_of_taken_labels_is_wrong(max_wrong):
    """Surer labels are right more often; the sample is drawn without replacement, as the audit is."""
    shares, taken = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        certainties = rng.random(400)
        is_right = rng.random(400) < 0.6 + 0.4 * certainties
        drawn = np.zeros(400, bool)
        drawn[rng.choice(400, 100, replace=False)] = True
        threshold = conformal_threshold(Audits(certainties[drawn], is_right[drawn]), certainties[~drawn], max_wrong)
        above = ~drawn & (certainties >= (np.inf if threshold is None else threshold))
        shares.append((~is_right[above]).mean() if above.any() else 0.0)
        taken.append(above.sum())
    assert np.mean(shares) <= max_wrong
    assert np.mean(taken) > 10  # and not by taking nothing


def test_without_a_wrong_label_so_many_audits_let_everything_through():
    certainties = np.linspace(0, 1, 500)
    for max_wrong in (0.01, 0.05, 0.5):
        enough = needed_audits(max_wrong)
        assert conformal_threshold(Audits(np.ones(enough), np.ones(enough, bool)), certainties, max_wrong) == 0.0
        few = enough - 1
        assert conformal_threshold(Audits(np.ones(few), np.ones(few, bool)), certainties, max_wrong) is None


def test_nothing_to_take_has_no_threshold():
    assert conformal_threshold(Audits(np.array([]), np.array([], bool)), np.array([]), 0.1) is None


def matches_of(labels, similarity, margin=0.0):
    """Crops in the rows 0, 1, ... with these labels."""
    names = tuple(sorted(set(labels)))
    actions = np.array([names.index(label) for label in labels], np.int16)
    columns = (np.broadcast_to(np.asarray(one, float), len(labels)) for one in (similarity, margin, 1.0))
    return Matches(np.arange(len(labels)), names, actions, *columns)


def sample_from(count, said):
    """Of so many crops; `said` maps the audited rows to what a person said."""
    audited = np.array(sorted(said), np.int64)
    return Sample(audited, tuple(said[row] for row in sorted(said)), np.setdiff1d(np.arange(count), audited))


def test_where_lambda_comes_from():
    labels = ["screw"] * 140 + ["wipe"] * 60 + ["label"] * 60 + ["NG"] * 3
    matches = matches_of(labels, 1.0)
    audited = dict.fromkeys(range(40), "screw") | dict.fromkeys(range(140, 155), "wipe")
    sample = sample_from(len(labels), audited | dict.fromkeys(range(200, 215), "label"))
    lambdas = calibrate(matches, sample, precision=0.95, constant=0.7)
    assert {action: one.source for action, one in lambdas.items()} == {
        "NG": "pooled",
        "label": "pooled",
        "screw": "action",
        "wipe": "pooled",
    }
    assert (lambdas["wipe"].audited, lambdas["wipe"].wrong) == (15, 0)
    assert labels_taken(matches, lambdas).all()

    strict = calibrate(matches, sample, precision=0.999, constant=1.2)
    assert {one.source for one in strict.values()} == {"constant"}
    assert not labels_taken(matches, strict).any()


def test_where_nothing_is_named_nothing_is_taken():
    matches = Matches(np.empty(0, np.int64), (), np.empty(0, np.int16), np.empty(0), np.empty(0), np.empty(0))
    sample = sample_from(4, {1: "screw"})
    assert calibrate(matches, sample, 0.9, 0.5) == {}
    assert labels_taken(matches, {}).tolist() == []
    assert precision_curve(matches, sample) == []


def test_a_wrong_sure_label_raises_lambda():
    matches = matches_of(["screw"] * 99 + ["wipe"], np.arange(100) / 100)
    audited = dict.fromkeys(range(0, 98, 2), "screw")
    right = calibrate(matches, sample_from(100, audited), 0.9, 0.0)["screw"]
    wrong = calibrate(matches, sample_from(100, audited | {50: "wipe"}), 0.9, 0.0)["screw"]
    several = dict.fromkeys(range(0, 60, 2), "wipe")
    worse = calibrate(matches, sample_from(100, audited | several), 0.9, 0.0)["screw"]
    assert right.certainty <= wrong.certainty < worse.certainty


def test_the_curve_of_precision_against_coverage():
    matches = matches_of(["screw", "screw", "wipe", "wipe"], [0.9, 0.8, 0.7, 0.7], [0.1, 0.5, 0.0, 0.2])
    sample = sample_from(4, {0: "screw", 1: "screw", 2: "screw", 3: "wipe", 77: "wipe"})  # one is gone
    curve = precision_curve(matches, sample)
    by_similarity = [(share, right) for name, _, share, right in curve if name == "similarity"]
    assert by_similarity == [(0.25, 1.0), (0.5, 1.0), (1.0, 0.75)]  # the last two tie
    by_margin = [round(right, 3) for name, _, _, right in curve if name == "margin"]
    assert by_margin == [1.0, 1.0, 1.0, 0.75]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nearest", 0),
        ("moment_s", -0.1),
        ("moment_s", float("nan")),
        ("moment_s", 10.5),
        ("precision", 1.0),
        ("precision", -0.1),
        ("min_certainty", 3.5),
        ("min_hand_certainty", -2.0),
    ],
)
def test_settings_out_of_range(name, value):
    certainty = {"min_certainty": 1.0, "min_hand_certainty": 0.8}
    good = {"centre": True, "nearest": 3, "moment_s": 0.6, "precision": 0.99, **certainty}
    with pytest.raises(ValueError, match=name):
        LabelParams(**(good | {name: value}))
