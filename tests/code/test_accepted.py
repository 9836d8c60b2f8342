"""Which labels are accepted without a person's word, and what the random answers certify of them."""

from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.certificate import Target, bound_of, least_looks
from lineact.dataset.accepted import LEVEL, Accepted, certify, label_the_rest, level_after
from lineact.dataset.asked import asked_of
from lineact.dataset.awaiting import AskedAudits, Waiting, asked_audits, words_of
from lineact.dataset.labels import resolve
from lineact.dataset.today import Spent
from lineact.decisions import box_of_id, standing
from lineact.queue import Labelled, build_queue
from lineact.reviewer import answer_queue
from lineact.schema import table_of
from lineact.simulate_review import SimulatedTruth, asked_until_certified
from tests.labelled_line import ACTIONS, dataset_params, looked_at_last, match_params, queue_params, review_params
from tests.many_samples import assert_at_most, most_allowed, wrong_after_each_look


@pytest.fixture(scope="module")
def decided(line, found):
    return answer_queue(found.queue, line.boxes, SimulatedTruth(line.truth, 0.4), review_params().reviewer).decisions


def labelling_of(line, found, decided):
    params = dataset_params()
    resolved = resolve(found, standing(decided), line.holdout, params)
    return label_the_rest(found, resolved, line.holdout, params)


def assert_same_matches(one, other):
    for field in fields(one.matches):
        np.testing.assert_array_equal(getattr(one.matches, field.name), getattr(other.matches, field.name))


# --- the set


def test_accepted_is_nothing_that_a_person_is_asked_about_but_to_certify(line, found, decided):
    asked = asked_of(found.queue)
    accepted = set(labelling_of(line, found, decided).accepted.labels())
    assert set(asked.certifying) <= accepted
    otherwise = set(asked.otherwise.to_pylist()) | set(asked.calibrating)
    assert not accepted & otherwise
    names = [one for one in decided if one.task == "group" or one.item_id in asked.certifying]
    waits_for_its_answer = set(labelling_of(line, found, names).accepted.labels())
    assert waits_for_its_answer
    assert not waits_for_its_answer & otherwise


@pytest.mark.parametrize("said", [None, "NG", "wipe"])
def test_what_certifying_answers_say_changes_no_label_and_no_lambda(line, found, decided, said):
    certifying = set(asked_of(found.queue).certifying)
    others = [one for one in decided if one.item_id not in certifying]
    answers = [] if said is None else [replace(one, decided=said) for one in decided if one.item_id in certifying]
    plain, changed = labelling_of(line, found, decided), labelling_of(line, found, others + answers)
    assert changed.accepted.labels() == plain.accepted.labels()
    assert_same_matches(changed, plain)
    assert changed.lambdas == plain.lambdas


def test_answers_about_doubtful_crops_calibrate_nothing(line, found, decided):
    doubtful = {one.item_id for one in decided if one.task == "crop"}
    assert doubtful
    other = [
        replace(one, decided="NG" if one.decided != "NG" else "wipe") if one.task == "crop" else one for one in decided
    ]
    plain, changed = labelling_of(line, found, decided).sample, labelling_of(line, found, other).sample
    np.testing.assert_array_equal(changed.audited, plain.audited)
    assert changed.said == plain.said
    sampled = found.embedded["box_id"].take(np.concatenate([plain.audited, plain.undecided])).to_pylist()
    assert not doubtful & set(sampled)


def test_calibrating_answers_move_lambda_and_name_others(line, found, decided):
    calibrating = set(asked_of(found.queue).calibrating)
    wrong = [replace(one, decided="NG") if one.item_id in calibrating else one for one in decided]
    plain, changed = labelling_of(line, found, decided), labelling_of(line, found, wrong)
    assert changed.lambdas != plain.lambdas
    assert not np.array_equal(changed.matches.similarity, plain.matches.similarity)
    assert "NG" in changed.matches.names


def test_an_action_that_no_group_has_is_named_by_an_audit(line, found, decided):
    """A movement so rare that no group is it is labelled all the same once a random crop shows it."""
    calibrating = set(asked_of(found.queue).calibrating)
    named = [one for one in decided if one.item_id in calibrating or (one.task == "group" and one.decided != "wipe")]
    said = {one.decided for one in named if one.item_id in calibrating}
    assert "wipe" in said
    assert "wipe" in labelling_of(line, found, named).matches.names
    groups = [one for one in named if one.task == "group"]
    assert "wipe" not in labelling_of(line, found, groups).matches.names


def test_an_exact_reviewer_certifies_right_labels(line, found, decided):
    certificate = labelling_of(line, found, decided).certificate
    assert (certificate.pooled.wrong, certificate.pooled.met, certificate.next_items) == (0, True, ())
    assert certificate.pooled.looked == len(asked_of(found.queue).certifying) < certificate.pooled.population
    assert sum(bound.population for bound in certificate.actions.values()) == certificate.pooled.population
    assert "no more looks needed for 10.0%" in words_of(certificate, 0.1, "press_a")


# --- the certificate


def crops(count):
    return [f"crop{number:03}" for number in range(count)]


def accepted_of(labels):
    """Labels as they are accepted, from box id to label."""
    names = tuple(sorted(set(labels.values())))
    actions = np.array([names.index(label) for label in labels.values()], np.int64)
    return Accepted(pa.array(labels.keys(), pa.string()), names, actions)


def certificate_of(count, said, actions=None):
    """Of `count` accepted crops all of which are looked at in order; `said` maps some of them to answers."""
    accepted = dict(zip(crops(count), actions or ["screw"] * count, strict=True))
    return certify(accepted_of(accepted), crops(count), said, Spent(), dataset_params(max_label_error=0.05))


def test_only_an_unbroken_run_of_answers_counts_and_the_next_is_what_was_left_out():
    said = dict.fromkeys(crops(12), "screw")
    del said["crop003"], said["crop007"]
    certificate = certificate_of(200, said)
    assert (certificate.pooled.looked, certificate.uncounted) == (3, 7)
    assert certificate.next_items[:3] == ("crop003", "crop007", "crop012")
    whole = certificate_of(200, said | {"crop003": "NG", "crop007": "screw"})
    assert (whole.pooled.looked, whole.pooled.wrong, whole.uncounted) == (12, 1, 0)


def test_crops_that_are_not_accepted_need_no_look():
    order = crops(100)
    accepted = dict.fromkeys(order[::2], "screw")
    certificate = certify(accepted_of(accepted), order, dict.fromkeys(order[:10:2], "screw"), Spent(), dataset_params())
    assert (certificate.pooled.population, certificate.pooled.looked) == (50, 5)
    assert certificate.next_items[0] == "crop010"


def test_bounds_of_actions_hold_all_together():
    actions = ["screw", "wipe"] * 200
    said = dict(zip(crops(300), actions, strict=False))
    certificate = certificate_of(400, said, actions)
    assert list(certificate.actions) == [*ACTIONS, "NG"]
    screws, said = accepted_of(dict.fromkeys(crops(200), "screw")), dict.fromkeys(crops(150), "screw")
    one, alone = certificate.actions["screw"], certify(screws, crops(200), said, Spent(), dataset_params()).pooled
    assert (one.population, one.looked) == (alone.population, alone.looked) == (200, 150)
    assert one.upper >= alone.upper  # the price of three statements at once
    assert certificate.actions["NG"].population == 0


def test_the_words_tell_how_many_looks_are_missing_and_when_looking_will_not_do():
    certificate = certificate_of(300, dict.fromkeys(crops(20), "screw"))
    assert f"{certificate.pooled.needed} more looks needed for 5.0%" in words_of(certificate, 0.05, "press_a")
    short = replace(certificate, next_items=certificate.next_items[:4])
    assert (
        "of which the queue has 4 (raise queue.audit_certify in conf/line/press_a.yaml, then "
        "`python -m flows.label_line line=press_a` asks for more)"
    ) in words_of(short, 0.05, "press_a")
    bad = certificate_of(300, dict.fromkeys(crops(20), "wipe"))
    assert "100.0%, at most 100.0% (95 %), 20 looked at, which more looks will hardly bring" in words_of(
        bad, 0.05, "press_a"
    )
    assert words_of(certificate_of(0, {}), 0.05, "press_a") == "no crop has a label that nobody decided"
    everything = certificate_of(4, dict.fromkeys(crops(4), "NG"))
    assert words_of(everything, 0.05, "press_a").endswith("4 looked at, so that nobody's word is missing")
    assert everything.pooled.met


@given(st.integers(0, 10_000))
def test_answers_in_another_order_than_asked_do_not_choose_the_sample(seed):
    """Whoever answers the easy ones alone certifies nothing: the crops are wrong where they are hard."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(200) < 0.3
    wrong[:40][rng.integers(40)] = True
    easy = {crop: "screw" for crop, is_wrong in zip(crops(200), wrong, strict=True) if not is_wrong}
    assert not certificate_of(200, easy).pooled.met or certificate_of(200, easy).pooled.looked >= 68


# --- looks under other decisions and settings


def rows_of(rows, item_ids, **changes):
    """The rows of some items, changed."""
    return [replace(one, **changes) for one in rows if one.item_id in item_ids]


def names_of(decided):
    """Item ids of two groups that both are named screw."""
    return [one.item_id for one in decided if one.task == "group" and one.decided == "screw"][:2]


def spent_of(line, found, decided):
    return labelling_of(line, found, decided).certificate.spent


ANY_TIME = ("1999-01-01T12:00:00+01:00", "2000-01-01T00:10:00", "2030-01-01T12:00:00")


@pytest.mark.parametrize("when", ANY_TIME)  # whatever time a row tells, and whoever wrote it there
def test_looks_certify_what_they_were_made_under(line, found, decided, when):
    asked = asked_of(found.queue)
    names = names_of(decided)
    without = [one for one in decided if one.item_id not in names]
    looks = labelling_of(line, found, decided).certificate.pooled.looked
    assert looks
    assert spent_of(line, found, decided) == 0
    assert spent_of(line, found, without) > 0
    assert spent_of(line, found, without + rows_of(decided, names, decided_at=when)) == 0  # given back
    at_the_end = decided + rows_of(decided, names[:1], decided_at=LATER, decided="withdrawn")
    assert spent_of(line, found, at_the_end) > 0
    assert spent_of(line, found, decided + rows_of(decided, names, decided_at=LATER, decided="wipe")) > 0
    assert spent_of(line, found, decided + rows_of(decided, names[:1], decided_at=when, reviewer="bob")) == 0
    disputed = rows_of(decided, names[:1], decided_at=when, reviewer="bob", decided="wipe")
    assert spent_of(line, found, decided + disputed) > 0
    held_out = {row["item_id"] for row in found.queue.to_pylist() if row["holdout"]}
    rest = [one for one in decided if one.item_id not in held_out]
    assert spent_of(line, found, rest) == 0  # these change no label
    assert spent_of(line, found, rest + rows_of(decided, held_out, decided_at=when)) == 0
    calibrating = asked.calibrating[:1]  # these move lambda
    assert spent_of(line, found, [one for one in decided if one.item_id not in calibrating]) > 0
    assert spent_of(line, found, decided + rows_of(decided, calibrating, decided_at=LATER, decided="withdrawn")) > 0
    assert spent_of(line, found, decided + rows_of(decided, calibrating, decided_at=LATER)) == 0
    assert spent_of(line, found, [one for one in decided if one.item_id not in set(asked.certifying)]) == 0


LATER = "2031-01-01T12:00:00"


def test_after_another_name_fresh_looks_certify_and_what_was_seen_is_seen(line, found, decided):
    certifying = asked_of(found.queue).certifying
    names = names_of(decided)
    first = set(certifying[:30])
    others = [one for one in decided if one.item_id not in {*certifying, *names}]
    before = looked_at_last(line, found, [*others, *rows_of(decided, first)])  # two groups have no name yet
    named = before + rows_of(decided, names)
    plain, spent = labelling_of(line, found, decided), labelling_of(line, found, named)
    certificate = spent.certificate
    assert plain.certificate.pooled.met
    assert (certificate.spent, certificate.pooled.looked) == (len(spent.accepted.of(first)), 0)
    assert certificate.by_settings == 0
    assert certificate.pooled.population == len(spent.accepted) - certificate.spent
    assert not certificate.pooled.met
    assert certificate.next_items[0] == certifying[30]
    said = words_of(certificate, 0.1, "press_a")
    assert f"{certificate.spent} earlier looks certify nothing any more ({certificate.spent} under other names" in said
    twice = looked_at_last(line, found, named + rows_of(decided, first, decided_at=LATER))
    again = before + rows_of(decided, names) + rows_of(twice, first)
    seen = labelling_of(line, found, again).certificate
    assert (seen.spent, seen.pooled.looked) == (certificate.spent, 0)
    fresh = labelling_of(line, found, named + rows_of(decided, certifying[30:])).certificate
    assert fresh.spent == certificate.spent
    assert fresh.pooled.looked == len(spent.accepted.of(certifying[30:]))


def test_looks_under_other_settings_or_without_a_stamp_certify_nothing(line, found, decided):
    elsewhere = looked_at_last(line, found, decided, "0ther5et")
    certificate = labelling_of(line, found, elsewhere).certificate
    assert (certificate.spent, certificate.by_settings, certificate.pooled.looked) == (45, 45, 0)
    said = words_of(certificate, 0.1, "press_a")
    assert "45 earlier looks certify nothing any more (45 under other settings): only random crops that nobody" in said
    assert "raise queue.audit_certify in conf/line/press_a.yaml" in said
    older = [replace(one, basis=one.shown) for one in decided]
    before = labelling_of(line, found, older).certificate
    assert (before.spent, before.by_settings, before.unstamped) == (45, 0, 45)
    assert before.level == level_after(0)
    assert "(45 without a stamp)" in words_of(before, 0.1, "press_a")
    half = decided[:-20] + elsewhere[-20:]
    mixed = labelling_of(line, found, half).certificate
    assert (mixed.spent, mixed.pooled.looked) == (20, 25)


def test_what_answers_a_random_crop_by_another_task_is_no_look(line, found, decided):
    certifying = asked_of(found.queue).certifying
    doubtful_then = [replace(one, task="crop") if one.item_id in certifying[:3] else one for one in decided]
    certificate = labelling_of(line, found, looked_at_last(line, found, doubtful_then)).certificate
    assert certificate.spent == len(labelling_of(line, found, decided).accepted.of(certifying[:3]))


def test_another_detection_asks_other_random_crops_so_that_earlier_looks_are_spent(line, embedded, decided):
    def moved(table):
        """Every box a pixel to the left, under another id."""
        rows = table.to_pylist()
        for row in rows:
            frame, (x1, y1, x2, y2) = box_of_id(row["box_id"]) or ("", (0, 0, 0, 0))
            row |= {"box_id": f"{frame}#{x1 - 1:.0f}-{y1:.0f}-{x2 - 1:.0f}-{y2:.0f}"}
            row |= {side: row[side] - 1 for side in ("x1", "x2") if side in row}
        return table_of(rows, table.schema)

    boxes, again = moved(line.boxes), replace(embedded, crops=moved(embedded.crops))
    matched = line.match(again, match_params())
    labelled = Labelled(line.frames, boxes, again.crops, matched.crops, matched.templates)
    queue = build_queue(labelled, line.holdout, queue_params(audit_calibrate=20))
    found = replace(line.found(again, matched, queue), boxes=boxes)
    certificate = labelling_of(line, found, decided).certificate
    today = found.today(line.holdout, dataset_params().min_iou)
    seen = set(today.looks(standing(decided).rows).values())
    assert seen
    assert sum(one.item_id in asked_of(queue).certifying for one in decided) == 0
    assert 0 < certificate.spent <= len(seen)  # others calibrate now than then
    assert not seen & set(certificate.next_items)  # and what was seen is seen
    again = looked_at_last(line, found, decided)
    assert labelling_of(line, found, again).certificate.spent == 0


def test_crops_that_were_answered_as_doubtful_ones_are_no_try(line, found, decided):
    first = asked_of(found.queue).certifying[:18]
    doubtful_then = [replace(one, task="crop", basis=one.shown) if one.item_id in first else one for one in decided]
    certificate = labelling_of(line, found, looked_at_last(line, found, doubtful_then)).certificate
    assert (certificate.spent, certificate.by_settings, certificate.unstamped) == (18, 0, 18)
    assert certificate.level == level_after(0)


@pytest.mark.parametrize("withdrawn", [False, True])
def test_other_random_crops_forget_no_try(line, found, embedded, decided, withdrawn):
    looks = looked_at_last(line, found, decided, "0ther5et")
    if withdrawn:
        looks += [replace(one, decided="withdrawn", decided_at=LATER) for one in looks if one.task == "audit"]
    matched = line.match(embedded, match_params())
    for seed in (0, 1, 2):
        queue = line.queue(embedded, matched, queue_params(audit_calibrate=20, audit_certify=20, seed=seed))
        certificate = labelling_of(line, line.found(embedded, matched, queue), looks).certificate
        assert certificate.level == level_after(1)


def test_more_certifying_crops_leave_names_and_looks_as_they_are(line, found, embedded, decided):
    matched = line.match(embedded, match_params())
    queue = line.queue(embedded, matched, queue_params(audit_calibrate=20, audit_certify=9))
    fewer = line.found(embedded, matched, queue)
    assert asked_of(fewer.queue).certifying == asked_of(found.queue).certifying[:9]
    kept = set(fewer.queue["item_id"].to_pylist())
    before = labelling_of(line, fewer, [one for one in decided if one.item_id in kept])
    after = labelling_of(line, found, [one for one in decided if one.item_id in kept])
    assert after.accepted.labels() == before.accepted.labels()
    assert after.certificate.looks == before.certificate.looks
    assert after.certificate.next_items


# --- what is asked


def waiting(said, accepted=None, order=None, **counts):
    """Of 300 accepted crops, all of which may be looked at, two more calibrate lambda."""
    order = crops(300) if order is None else order
    accepted = dict.fromkeys(order, "screw") if accepted is None else accepted
    certificate = certify(accepted_of(accepted), order, said, Spent(), dataset_params(max_label_error=0.05))
    unseen = tuple(item for item in order if item not in said)
    return Waiting(**({"groups": 0, "items": 0} | counts), holdout_frames=0, undecided=0, calibrating=("a", "b"),
                   certifying=unseen, certificate=certificate)  # fmt: skip


def asked(waits, policy="required"):
    return asked_audits(waits, dataset_params(policy=policy, max_label_error=0.05), "press_a")


@pytest.mark.parametrize("policy", ["required", "sampled"])
def test_before_the_bound_is_met_as_many_are_asked_as_would_meet_it(policy):
    for looks in (0, 1, 40):
        waits = waiting(dict.fromkeys(crops(looks), "screw"))
        audits = asked(waits, policy)
        needed = waits.certificate.pooled.needed
        assert needed is not None
        assert audits.items == ("a", "b", *crops(300)[looks : looks + needed])
        assert (audits.certified, audits.shuts_gate) == ("", True)


def test_what_was_left_out_is_asked_first_and_what_follows_it_counts_then():
    said = dict.fromkeys(crops(300)[1:20], "screw")
    needed = waiting({}).certificate.pooled.needed
    assert asked(waiting(said)).items == ("a", "b", "crop000", *crops(300)[20:needed])


def test_a_sample_that_will_not_do_is_asked_to_its_end():
    said = dict.fromkeys(crops(20), "wipe")
    assert asked(waiting(said)).items == ("a", "b", *crops(300)[20:])


def test_crops_that_are_not_accepted_are_not_asked_to_certify():
    order = crops(300)
    audits = asked(waiting({}, accepted=dict.fromkeys(order[::2], "screw")))
    assert set(audits.items[2:]) <= set(order[::2])
    assert audits.items[2:5] == ("crop000", "crop002", "crop004")


@pytest.mark.parametrize(
    ("policy", "owed", "asked_still"), [("required", 0, ()), ("required", 1, ("a", "b")), ("sampled", 1, ())]
)
def test_nothing_is_asked_when_the_bound_is_met_but_what_the_gate_is_owed(policy, owed, asked_still):
    needed = waiting({}).certificate.pooled.needed
    assert asked(waiting(dict.fromkeys(crops(needed - 1), "screw"))).items[2:] == (crops(300)[needed - 1],)
    audits = asked(waiting(dict.fromkeys(crops(needed), "screw"), items=owed), policy)
    assert (audits.items, audits.shuts_gate) == (asked_still, False)
    assert "no more looks needed for 5.0%" in audits.certified


def test_before_the_groups_are_named_nobody_knows_which_crops_certify():
    audits = asked(waiting({}, accepted={}, groups=1))
    assert audits == AskedAudits(("a", "b", *crops(300)), "", shuts_gate=False)


def test_where_nothing_is_accepted_crops_calibrate_and_none_certifies():
    assert asked(waiting({}, accepted={})) == AskedAudits(("a", "b"), "", shuts_gate=False)


@pytest.mark.parametrize("groups", [0, 1])
def test_no_policy_no_audit(groups):
    assert asked(waiting({}, groups=groups), "none") == AskedAudits((), "", shuts_gate=False)


# --- reviewers


def test_reviewers_who_stop_when_it_is_met_are_told_too_little_in_at_most_5_percent_of_lines():
    """A line of 600 accepted crops of three labels, of which just over 5 % are wrong by the reviewer's word."""
    params = dataset_params(max_label_error=0.05)
    count, runs = 600, 1000
    labels = ["screw"] * 300 + ["wipe"] * 200 + ["NG"] * 100
    names = crops(count)
    accepted = dict(zip(names, labels, strict=True))
    certified, under = 0, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        wrong = {names[index] for index in rng.choice(count, 31, replace=False)}
        order = [names[index] for index in rng.permutation(count)]
        said = {crop: "other" if crop in wrong else action for crop, action in accepted.items()}
        looks: dict[str, str] = {}
        for start in range(0, 300, 30):  # a page at a time, until no more is asked
            looks |= {crop: said[crop] for crop in order[start : start + 30]}
            certificate = certify(accepted_of(accepted), order, looks, Spent(), params)
            if certificate.pooled.met:
                break
        certified += certificate.pooled.met
        by_action = {name: sum(accepted[crop] == name for crop in wrong) for name in ("screw", "wipe", "NG")}
        under += any(
            certificate.actions[name].upper * certificate.actions[name].population < number - 1e-9
            for name, number in by_action.items()
        )
    assert_at_most(certified, runs)
    assert_at_most(under, runs)


TRIES = 12


@pytest.mark.parametrize("patience", [20, 100, 300])  # looks after which somebody tries other settings
def test_who_changes_settings_until_the_labels_are_certified_certifies_bad_ones_in_at_most_5_percent(patience):
    """Whatever is set, 5.2 % of 600 accepted labels are wrong: none may be certified."""
    population, wrong_in_all, runs = 600, 32, 20_000
    certified = {"by the rule": np.zeros(runs, bool), "each try by itself": np.zeros(runs, bool)}
    counts = patience >= least_looks(Target(0.05, LEVEL))
    for attempt in range(TRIES):
        wrong = wrong_after_each_look(population, wrong_in_all, runs, np.random.default_rng(attempt))
        levels = {"by the rule": level_after(attempt if counts else 0), "each try by itself": LEVEL}
        for what, level in levels.items():
            allowed = most_allowed(population, wrong_in_all, level)
            certified[what] |= (wrong <= allowed)[:, : patience + 1].any(axis=1)
    assert_at_most(certified["by the rule"].sum(), runs)
    if patience > 100:
        assert certified["each try by itself"].mean() > 0.1


def test_each_further_try_that_could_have_met_the_target_has_a_higher_level():
    accepted, order = accepted_of(dict.fromkeys(crops(600), "screw")), crops(600)
    params = dataset_params(max_label_error=0.05)
    least = least_looks(Target(0.05, LEVEL))
    tried = {(): 0, (least - 1,) * 5: 0, (least,): 1, (least, 300): 2, (1, least, 2, 40): 2}
    for looks, tries in tried.items():
        certificate = certify(accepted, order, {}, Spent(looks=looks), params)
        assert certificate.level == level_after(tries)
        assert certificate.pooled == bound_of([], 600, Target(0.05, level_after(tries)))
    assert sum(1 - level_after(tries) for tries in range(10_000)) == pytest.approx(1 - LEVEL, abs=1e-5)


def test_who_mends_by_name_what_the_looks_showed_certifies_no_more_than_before():
    """Of 600 accepted labels just over 5 % are wrong; those among the first looks are mended, and the rest are not."""
    params, runs, count, mended = dataset_params(max_label_error=0.05), 150, 600, 90
    names = crops(count)
    certified = {"spent": 0, "not spent": 0}
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        order = [names[index] for index in rng.permutation(count)]
        said = dict.fromkeys(names, "wipe")
        wrong = [names[index] for index in rng.choice(count, 32, replace=False)]
        accepted = said | dict.fromkeys(set(wrong) - set(order[:mended]), "screw")
        for what, spent in (("spent", Spent(frozenset(order[:mended]), looks=(mended,))), ("not spent", Spent())):
            looks = {crop: said[crop] for crop in order[: mended + 150]}
            until = [dict(list(looks.items())[:end]) for end in range(mended, len(looks) + 1, 30)]
            certified[what] += any(
                certify(accepted_of(accepted), order, some, spent, params).pooled.met for some in until
            )
    assert certified["not spent"] > 0.9 * runs
    assert_at_most(certified["spent"], runs)


def test_a_simulated_reviewer_stops_where_the_page_stops_asking(line, found):
    reviewer = review_params().reviewer
    everything = answer_queue(found.queue, line.boxes, SimulatedTruth(line.truth, 0.4), reviewer)
    whole = labelling_of(line, found, everything.decisions).certificate
    asked = asked_until_certified(found, everything, line.holdout, dataset_params())
    rest = set(found.queue["item_id"].to_pylist()) - set(asked["item_id"].to_pylist())
    assert rest
    assert rest < set(asked_of(found.queue).certifying)
    kept = [one for one in everything.decisions if one.item_id not in rest]
    met = labelling_of(line, found, kept).certificate
    assert met.pooled.met
    assert met.looks == whole.looks[: met.pooled.looked]
    assert not labelling_of(line, found, kept[:-1]).certificate.pooled.met
