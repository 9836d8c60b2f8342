"""Names from the nearest named crops, and lambda from a random audit: against slow, obviously right code."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.dataset import LabelParams
from lineact.dataset.calibration import (
    Audits,
    Lambda,
    Sample,
    calibrate,
    conformal_threshold,
    labels_taken,
    needed_audits,
    precision_curve,
)
from lineact.dataset.matching import (
    ALONE,
    DISSENT,
    NEARLY,
    NOBODY,
    NOTHING_NAMED,
    Matches,
    Near,
    TrainingCrops,
    best_actions,
    nearness,
)
from lineact.dataset.named import Named


def unit(rows):
    rows = np.asarray(rows, float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


NO_PAIRS = np.empty((0, 2), np.int64)


def named_by(rows, actions, audited=()):
    """Named crops, some of them audited ones."""
    return Named(np.array(rows), tuple(actions), np.isin(rows, audited))


def not_heard(near):
    """The same where no audit speaks."""
    return Near(near, np.full(len(near), NOBODY), np.full(len(near), -np.inf))


def slow_near(embeddings, row, named, nearest, withheld):
    """How near each action is, what the nearest audit says, and how near that is."""
    counts = [
        (float(embeddings[row] @ embeddings[other]), action, is_audit)
        for other, action, is_audit in zip(named.rows, named.actions, named.is_audit, strict=True)
        if other not in (row, withheld)
    ]
    means = []
    for name in named.names:
        cosines = sorted((cosine for cosine, action, _ in counts if action == name), reverse=True)[:nearest]
        means.append(sum(cosines) / len(cosines) if cosines else -1.0)
    audits = [one for one in counts if one[2]]
    return means, *((named.names.index(max(audits)[1]), max(audits)[0]) if audits else (NOBODY, -np.inf))


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 12), st.booleans())
def test_an_action_is_as_near_as_the_mean_of_its_nearest_named_crops(seed, nearest, named_count, withholds):
    rng = np.random.default_rng(seed)
    embeddings = unit(rng.normal(size=(20, 4)))
    rows = rng.choice(20, named_count, replace=False)
    actions = [str(rng.choice(["screw", "wipe", "NG"])) for _ in rows]
    named = named_by(rows, actions, audited=rng.choice(20, 10, replace=False))
    withheld = rng.choice(rows, 20) if withholds else None
    near = nearness(embeddings, np.arange(20), named, nearest, withheld=withheld)
    for row in range(20):
        means, heard, heard_from = slow_near(
            embeddings, row, named, nearest, None if withheld is None else withheld[row]
        )
        assert near.actions[row] == pytest.approx(means)
        assert near.heard[row] == heard
        assert near.heard_from[row] == pytest.approx(heard_from)


def slow_best(row, near, pairs):
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
    return label, first, first - (more[0] if more else -1.0), agreement


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 20))
def test_the_label_is_the_action_that_is_nearest_over_a_moment(seed, name_count, pair_count):
    rng = np.random.default_rng(seed)
    names = ("NG", "label", "screw", "wipe")[:name_count]
    near = rng.uniform(-1, 1, (8, name_count))
    both = [pair for pair in rng.integers(0, 8, (pair_count, 2)).tolist() if pair[0] != pair[1]]
    pairs = np.array(sorted({*map(tuple, both), *((b, a) for a, b in both)}), np.int64).reshape(-1, 2)
    heard, heard_from = rng.integers(NOBODY, name_count, 8), rng.uniform(-1, 1, 8)
    found = best_actions(np.arange(8), names, Near(near, heard, heard_from), pairs, ALONE if len(pairs) else 1.0)
    for row in range(8):
        label, similarity, margin, agreement = slow_best(row, near, pairs)
        assert found.actions[row] == label
        assert found.similarity[row] == pytest.approx(similarity)
        assert found.margin[row] == pytest.approx(margin)
        assert found.agreement[row] == pytest.approx(agreement)
        assert found.likeness[row] == pytest.approx(similarity + margin)
        assert found.certainty[row] == pytest.approx(similarity + margin - DISSENT * (1 - agreement))
        assert -1 - DISSENT <= found.certainty[row] <= 3 + 1e-9
        speaks = heard[row] != NOBODY and heard_from[row] >= near[row][label] - NEARLY
        assert found.is_contradicted[row] == (speaks and heard[row] != label)


def test_what_lasts_is_surer_and_one_odd_look_is_outvoted():
    near = np.array([[0.9, 0.2], [0.5, 0.6], [0.9, 0.2], [0.9, 0.2]])  # the last one is alone
    pairs = np.array([(a, b) for a in range(3) for b in range(3) if a != b])
    found = best_actions(np.arange(4), ("screw", "wipe"), not_heard(near), pairs, ALONE)
    assert found.actions.tolist() == [0, 0, 0, 0]
    assert found.agreement.tolist() == [0.5, 1.0, 0.5, ALONE]
    steady = best_actions(np.arange(4), ("screw", "wipe"), not_heard(near[[0, 0, 0, 3]]), pairs, ALONE)
    assert steady.certainty[0] > found.certainty[0]
    assert steady.certainty[0] > steady.certainty[3]


def test_where_nothing_is_a_moment_away_from_anything_each_crop_counts_by_itself():
    near = np.array([[0.9, 0.2], [0.5, 0.6]])
    found = best_actions(np.arange(2), ("screw", "wipe"), not_heard(near), NO_PAIRS, 1.0)
    assert found.certainty.tolist() == found.likeness.tolist() == pytest.approx([1.6, 0.7])


def test_a_named_crop_does_not_vouch_for_itself():
    embeddings = unit([[1, 0], [0.9, 0.1], [0, 1]])

    def label_of_first(rows, actions):
        named = named_by(rows, actions)
        near = nearness(embeddings, np.arange(3), named, 1)
        return named.names[best_actions(np.arange(3), named.names, near, NO_PAIRS, 1.0).actions[0]]

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


def a_line(rng, steadiness):
    """Crops of three actions in stays of four looks, each stay a little off: embeddings, actions and pairs.

    Where an action does not last the stay, the hand goes over to another one halfway, at the same place.
    """
    stays, centres = 150, unit(rng.normal(size=(3, 6)))
    first = rng.integers(0, 3, stays)
    second = np.where(rng.random(stays) < steadiness, first, rng.integers(0, 3, stays))
    action = np.stack([first, first, second, second], axis=1).ravel()
    stay = np.repeat(np.arange(stays), 4)
    off = rng.normal(0, 0.35, (stays, 6))
    embeddings = unit(centres[action] + off[stay] + rng.normal(0, 0.12, (len(stay), 6)))
    looks = [(4 * one + a, 4 * one + a + step) for one in range(stays) for a in range(3) for step in range(1, 4 - a)]
    pairs = np.array([*looks, *((b, a) for a, b in looks)])
    return embeddings, np.array(["screw", "wipe", "NG"])[action], pairs


@pytest.mark.parametrize("steadiness", [1.0, 0.5, 0.0])
def test_on_average_at_most_the_wanted_share_is_wrong_where_audits_name_others(steadiness):
    """Each is judged without its own word; with it the drawn crops would seem righter than the rest is."""
    wrong, audits_right, rest_right, taught = [], [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        embeddings, said, pairs = a_line(rng, steadiness)
        count = len(said)
        crops = TrainingCrops(embeddings, np.arange(count), pairs, nearest=3)
        templates = rng.permutation(count)[:12]
        audited = np.sort(rng.choice(np.setdiff1d(np.arange(count), templates), 150, replace=False))
        rows = np.sort(np.concatenate([templates, audited]))
        undecided = np.setdiff1d(np.arange(count), rows)
        matches = crops.match(named_by(rows, said[rows], audited))
        sample = Sample(audited, tuple(said[audited]), undecided)
        taken = undecided[labels_taken(matches, calibrate(matches, sample, 0.95, 9.0))[undecided]]
        is_right = np.array(matches.names)[matches.actions] == said
        wrong.append((~is_right[taken]).mean() if len(taken) else 0.0)
        audits_right.append(is_right[audited].mean())
        rest_right.append(is_right[undecided].mean())
        by_templates = crops.match(named_by(templates, said[templates]))
        taught.append((np.array(by_templates.names)[by_templates.actions] == said)[undecided].mean())
    assert np.mean(wrong) <= 0.05
    assert abs(np.mean(audits_right) - np.mean(rest_right)) < 0.012
    assert np.mean(taught) + 0.02 < np.mean(rest_right)


def test_an_audit_is_judged_without_its_own_word_and_others_are_not():
    """Nor does its word come back by the crop a moment away, which it names."""
    embeddings = unit([[1, 0], [1, 0.01], [0.6, 0.8], [0.3, -0.95], [1, 0.02]])
    crops = TrainingCrops(embeddings, np.arange(5), np.array([(0, 1), (1, 0)]), nearest=1)
    alone = crops.match(named_by([0, 2, 3], ["screw", "wipe", "screw"], audited=[0]))
    assert [alone.names[place] for place in alone.actions[:2]] == ["wipe", "screw"]
    another = crops.match(named_by([0, 2, 3, 4], ["screw", "wipe", "screw", "screw"], audited=[0, 4]))
    assert [another.names[place] for place in another.actions[:2]] == ["screw", "screw"]


def test_an_audit_contradicts_what_is_nearly_as_near_to_it_as_to_its_names():
    """Of several: the first audit that is answered would else contradict all labels but its own."""
    embeddings = unit([[0.9, 0.44], [0.9, -0.44], [1, 0], [0.85, 0.52], [0, 1]])
    crops = TrainingCrops(embeddings, np.arange(5), NO_PAIRS, nearest=2)
    for audit, is_contradicted in ((3, True), (4, False)):
        named = crops.match(named_by([0, 1, 3, 4], ["screw", "screw", "NG", "NG"], audited=[audit]))
        look = embeddings[2] @ embeddings[audit]
        assert named.names[named.actions[2]] == "screw"
        assert named.is_contradicted[2] == is_contradicted == (look >= 0.9 - NEARLY)


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
    similarities, margins = (np.broadcast_to(np.asarray(one, float), len(labels)) for one in (similarity, margin))
    ones, nothing = np.ones(len(labels)), np.zeros(len(labels), bool)
    return Matches(np.arange(len(labels)), names, actions, similarities, margins, ones, nothing)


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
    sample = sample_from(4, {1: "screw"})
    assert calibrate(NOTHING_NAMED, sample, 0.9, 0.5) == {}
    assert labels_taken(NOTHING_NAMED, {}).tolist() == []
    assert precision_curve(NOTHING_NAMED, sample) == []


def test_what_an_audit_contradicts_is_not_taken_however_sure():
    matches = matches_of(["screw"] * 3, [0.9, 0.9, 0.4])
    lambdas = {"screw": Lambda(0.5, "constant", 0, 0)}
    assert labels_taken(matches, lambdas).tolist() == [True, True, False]
    contradicted = replace(matches, is_contradicted=np.array([True, False, False]))
    assert labels_taken(contradicted, lambdas).tolist() == [False, True, False]


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
    contradicted = replace(matches, is_contradicted=np.array([False, False, True, False]))
    kept = [(share, right) for name, _, share, right in precision_curve(contradicted, sample) if name == "similarity"]
    assert kept == [(0.25, 1.0), (0.5, 1.0), (0.75, 1.0)]  # not the wrong one, and of all four


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
