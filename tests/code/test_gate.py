"""The review gate of the flows, from files: what each policy waits for, and the certificate of today's decisions."""

import os
import random
import threading
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import MagicMock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import gate
from flows.gate import certificate_of, certifier_of, check_decisions, decisions_of, found_of, pass_gate
from flows.review_line import read_reviewed
from flows.review_quality import Quality
from lineact.certificate import Target, bound_of
from lineact.dataset.accepted import label_the_rest, level_after
from lineact.dataset.asked import Asked
from lineact.dataset.awaiting import likely_audits, refuse_undecided, still_waiting, words_of
from lineact.dataset.labels import resolve
from lineact.decisions import BadRow, Decisions, read_decisions, standing, write_decisions
from lineact.errors import AwaitingReview, InputError
from lineact.queue import CALIBRATES, CERTIFIES
from lineact.review import journal
from lineact.review.session import Given
from lineact.reviewer import answer_queue
from lineact.schema import QUEUE, read_table, write_table
from lineact.simulate_review import SimulatedTruth
from lineact.splits import Holdout
from tasks.dataset import dataset
from tests.labelled_line import Line, dataset_params, match_params, queue_params, review_params, section_of
from tests.reviewed_line import LINE, configure


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a labelled line, and by policy the decisions of an exact reviewer on its queue."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = Line(folder / "data" / LINE)
        embedded = line.embed()
        matched = line.match(embedded, match_params())
        line.write(folder / "data" / LINE, embedded, matched)
        return folder, line, embedded, matched


@pytest.fixture
def reviewed(project, monkeypatch):
    """Sets a policy; gives the decisions of an exact reviewer on the queue that it makes."""
    folder, line, embedded, matched = project
    monkeypatch.chdir(folder)

    def set_policy(policy):
        queue = line.queue(embedded, matched, queue_params(policy=policy))
        write_table(queue, folder / "data" / LINE / "queue" / "queue.parquet", QUEUE)
        configure(folder, dataset=section_of(dataset_params(policy=policy)))
        return answer_queue(queue, line.boxes, SimulatedTruth(line.truth, 0.4), review_params().reviewer).decisions

    return set_policy


@pytest.mark.parametrize(
    ("policy", "left_out", "waits_for"),
    [
        ("required", ("group",), "names of groups"),
        ("required", ("crop", "box"), r"still needed are 0 names of groups, \d+ of the crops and frames"),
        ("required", ("audit",), r"label error of \d+ accepted crops: unknown, at most 100.0%"),
        ("sampled", ("group",), "names of groups"),
        ("sampled", ("audit",), r"label error of \d+ accepted crops: unknown, at most 100.0%"),
        ("none", ("group",), "names of groups"),
        ("none", ("crop", "audit"), None),
    ],
)
def test_what_each_policy_waits_for(reviewed, policy, left_out, waits_for):
    decided = reviewed(policy)
    write_decisions(decisions_of(LINE), [one for one in decided if one.task not in left_out])
    if waits_for:
        with pytest.raises(AwaitingReview, match=waits_for):
            pass_gate(LINE)
    else:
        pass_gate(LINE)
    write_decisions(decisions_of(LINE), decided)
    pass_gate(LINE)


def test_the_gate_opens_with_the_look_that_meets_the_target_and_not_before(reviewed, project):
    decided = reviewed("sampled")
    queue = {row["item_id"]: row["reason"] for row in read_queue(project)}
    certifying = [one for one in decided if queue[one.item_id] == CERTIFIES]
    others = [one for one in decided if queue[one.item_id] != CERTIFIES]
    write_decisions(decisions_of(LINE), others)
    needed = certificate_of(LINE).pooled.needed
    assert needed is not None
    assert 0 < needed <= len(certifying)
    write_decisions(decisions_of(LINE), [*others, *certifying[: needed - 1]])
    with pytest.raises(AwaitingReview, match="1 more looks needed"):
        pass_gate(LINE)
    assert certificate_of(LINE).next_items[0] == certifying[needed - 1].item_id
    write_decisions(decisions_of(LINE), [*others, *certifying[:needed]])
    pass_gate(LINE)
    assert certificate_of(LINE).pooled.met


def read_queue(project):
    return read_table(project[0] / "data" / LINE / "queue" / "queue.parquet", QUEUE).to_pylist()


def test_the_page_is_told_the_same_without_labelling_anew_after_each_certifying_answer(reviewed, project, monkeypatch):
    decided = reviewed("required")
    queue = {row["item_id"]: row["reason"] for row in read_queue(project)}
    certifying = [one for one in decided if queue[one.item_id] == CERTIFIES]
    others = [one for one in decided if queue[one.item_id] != CERTIFIES]
    certifier = certifier_of(LINE)
    for rows in ([], others[:8], others):  # each names more
        write_decisions(decisions_of(LINE), rows)
        assert certifier.certificate(Decisions(tuple(rows), (), ())) == certificate_of(LINE)
    files = [[*others, *certifying[:count]] for count in (1, 9, 3)]  # the last withdraws some
    told = []
    for rows in files:
        write_decisions(decisions_of(LINE), rows)
        told.append(certificate_of(LINE))
    monkeypatch.setattr(gate, "label_the_rest", lambda *_: pytest.fail("labelled anew"))
    for rows, expected in zip(files, told, strict=True):
        assert certifier.certificate(Decisions(tuple(rows), (), ())) == expected


def test_answers_that_calibrate_label_anew_after_the_last_of_them_alone(reviewed, project, monkeypatch):
    decided = reviewed("required")
    queue = {row["item_id"]: row["reason"] for row in read_queue(project)}
    calibrating = [one for one in decided if queue[one.item_id] == CALIBRATES]
    others = [one for one in decided if queue[one.item_id] not in (CALIBRATES, CERTIFIES)]
    certifier = certifier_of(LINE)
    labelling = MagicMock(side_effect=gate.label_the_rest)
    monkeypatch.setattr(gate, "label_the_rest", labelling)
    for count in range(len(calibrating) + 1):
        asked = certifier.asked_audits(Decisions((*others, *calibrating[:count]), (), ()))
        assert set(asked.items) >= {one.item_id for one in calibrating[count:]}
        assert not set(asked.items) & {one.item_id for one in calibrating[:count]}
    assert labelling.call_count == 2  # before the first, and after the last
    rows = Decisions((*others, *calibrating), (), ())
    assert asked == certifier_of(LINE).asked_audits(rows)
    certifier.asked_audits(Decisions((*others[1:], *calibrating[:1]), (), ()))  # something else changed
    assert labelling.call_count == 4


def test_before_anything_is_labelled_as_many_random_crops_are_counted_as_no_wrong_label_needs():
    asked = Asked(pa.array([]), ("a", "b"), tuple(str(number) for number in range(600)))
    likely = likely_audits(asked, 0.05)
    assert likely == (*asked.calibrating, *asked.certifying[: len(likely) - 2])
    level = level_after(0)
    assert bound_of([False] * (len(likely) - 2), 1000, Target(0.05, level)).met
    assert not bound_of([False] * (len(likely) - 12), 1000, Target(0.05, level)).met
    assert likely_audits(Asked(pa.array([]), (), asked.certifying[:9]), 0.05) == asked.certifying[:9]


def test_a_group_named_after_the_looks_shuts_the_gate_and_page_and_gate_say_how_it_opens(reviewed):
    decided = reviewed("sampled")
    write_decisions(decisions_of(LINE), decided)
    pass_gate(LINE)
    name = next(one for one in decided if one.task == "group")
    late = replace(
        name, decided="wipe" if name.decided != "wipe" else "screw", decided_at=datetime.now(UTC).isoformat()
    )
    write_decisions(decisions_of(LINE), [*decided, late])
    with pytest.raises(AwaitingReview) as awaited:
        pass_gate(LINE)
    said = str(awaited.value)
    assert "earlier looks certify nothing any more (" in said
    assert " under other names or decisions than today's): only random crops that nobody had seen by then do" in said
    assert f"raise queue.audit_certify in conf/line/{LINE}.yaml, then `python -m flows.label_line line={LINE}`" in said
    rows = standing([*decided, late])
    assert certifier_of(LINE).certificate(rows) == certificate_of(LINE)
    assert words_of(certifier_of(LINE).certificate(rows), 0.1, LINE) in said
    assert Quality(LINE, found_of(LINE)).told(rows)["words"] in said


def test_looks_under_other_settings_shut_the_gate_page_gate_and_stage_say_how_fresh_ones_are_had(reviewed, tmp_path):
    """Who looks, then lowers a threshold, has the labels of another threshold."""
    decided = reviewed("sampled")
    write_decisions(decisions_of(LINE), decided)
    pass_gate(LINE)
    tuned = dataset_params(policy="sampled", accepted_by="07435e77")
    configure(Path(), dataset=section_of(tuned))
    with pytest.raises(AwaitingReview) as awaited:
        pass_gate(LINE)
    said = str(awaited.value)
    assert "earlier looks certify nothing any more (45 under other settings): only random crops that nobody had" in said
    assert f"raise queue.audit_certify in conf/line/{LINE}.yaml, then `python -m flows.label_line line={LINE}`" in said
    rows = standing(decided)
    assert words_of(certifier_of(LINE).certificate(rows), 0.1, LINE) in said
    assert Quality(LINE, found_of(LINE)).told(rows)["words"] in said
    with pytest.raises(AwaitingReview) as stage:
        dataset(
            tuned,
            line=LINE,
            raw=Path("raw"),
            **{name: Path("data") / LINE / name for name in gate.STAGES},
            decisions=decisions_of(LINE),
            out=tmp_path / "out",
        )
    assert str(stage.value) in said
    configure(Path(), dataset=section_of(dataset_params(policy="sampled")))
    pass_gate(LINE)  # as it was when they were looked at


def test_settings_changed_while_the_page_is_open_count_from_then_on(reviewed):
    decided = reviewed("sampled")
    quality = Quality(LINE, found_of(LINE))
    before = quality.stamp(standing(decided))
    assert quality.told(standing(decided))["bounds"][0]["met"]
    params_file, written = Path("params.yaml"), Path("params.yaml").stat().st_mtime_ns
    configure(Path(), dataset=section_of(dataset_params(policy="sampled", accepted_by="07435e77")))
    os.utime(params_file, ns=(written, written + 1_000_000))
    assert quality.settings_now() == "07435e77"
    after = quality.stamp(standing(decided))
    assert after.partition("/")[2] == before.partition("/")[2]
    assert after != before
    assert not quality.told(standing(decided))["bounds"][0]["met"]


def test_no_picture_is_read_to_judge_the_gate(reviewed, monkeypatch):
    write_decisions(decisions_of(LINE), reviewed("required"))
    read = pq.ParquetFile.read

    def without_pictures(file, columns=None, **rest):
        table = read(file, columns=columns, **rest)
        assert not any(field.type == pa.binary() for field in table.schema)
        return table

    monkeypatch.setattr(pq.ParquetFile, "read", without_pictures)
    pass_gate(LINE)


def test_without_a_decisions_file_there_is_no_certificate_but_an_error(reviewed):
    reviewed("required")
    decisions_of(LINE).unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"decisions\.csv: expected decisions, found no file"):
        certificate_of(LINE)


def test_the_gate_stays_shut_where_the_stage_would_refuse_the_rows(reviewed):
    decided = reviewed("none")
    write_decisions(decisions_of(LINE), decided, [BadRow(0, "", "", "no row")])
    pass_gate(LINE)
    write_decisions(decisions_of(LINE), decided, [BadRow(0, "", "", "no row")] * len(decided))
    with pytest.raises(InputError, match=rf"{len(decided)} of {2 * len(decided)} rows are unusable"):
        pass_gate(LINE)


EARLIER, LATER = "2000-01-01T00:00:00+00:00", "2100-01-01T00:00:00+00:00"


def test_a_template_of_an_unknown_action_is_an_error_until_something_else_is_said_of_its_group(reviewed):
    decided = reviewed("none")
    first = next(row for row in decided if row.task == "group")
    others = [row for row in decided if row is not first]
    welded = replace(first, decided="weld")
    unknown = (
        rf"decisions\.csv: .*1 of unknown ones \(row 2, {first.item_id}: unknown label 'weld'; known are .*again on"
    )
    waits = "still needed are 1 names of groups"
    elsewhere = replace(first, item_id="group:99", decided="weld")
    for rows, error, words in (
        ([welded, *others], InputError, unknown),
        ([replace(welded, decided_at=LATER), *decided], InputError, unknown),
        ([replace(welded, decided_at=EARLIER), *decided], None, ""),
        ([welded, *others, replace(first, decided="withdrawn", decided_at=LATER)], AwaitingReview, waits),
        ([elsewhere, *decided], None, ""),  # of an earlier queue with more groups: nobody can name it any more
    ):
        write_decisions(decisions_of(LINE), rows)
        with pytest.raises(error, match=words) if error else nullcontext():
            pass_gate(LINE)
        with pytest.raises(InputError, match=words) if error is InputError else nullcontext():
            check_decisions(LINE)


def test_without_decisions_there_is_nothing_to_check(reviewed):
    reviewed("required")
    decisions_of(LINE).unlink(missing_ok=True)
    check_decisions(LINE)


# --- page, gate and stage


@pytest.fixture
def page_of(reviewed):
    """Opens the review page anew on a queue."""

    def forget():
        for path in (decisions_of(LINE), *Path("data", LINE, "review").glob("journal.sqlite*")):
            path.unlink(missing_ok=True)

    reviewed("required")
    forget()
    yield lambda: read_reviewed(LINE, "ann")
    forget()


def say(page, item_id, decided):
    (item,) = page.session.show([item_id])
    page.session.answer([Given(item_id, decided, 1.0, item.seen_mine, settles=False)])


def judged(page):
    """The certificate, page, gate and stage being of one mind."""
    page.session.export()
    decisions = page.session.decisions()
    certificate = certificate_of(LINE)
    params = gate.params_of(LINE)
    told = page.quality.told(decisions)
    assert told["words"] == words_of(certificate, params.max_label_error, LINE)
    assert page.quality._now.certificate(decisions) == certificate  # what was labelled before told the same
    verdicts = set()
    for judge in (lambda: page.quality._now.pass_gate(), lambda: pass_gate(LINE), lambda: stage_of(params)):
        try:
            judge()
            verdicts.add("")
        except AwaitingReview as awaiting:
            verdicts.add(str(awaiting))
    assert len(verdicts) == 1
    return certificate


def stage_of(params):
    """What the stage `dataset` judges."""
    decided = read_decisions(decisions_of(LINE), params.actions)
    found = found_of(LINE)
    holdout = Holdout(params.holdout, found.videos)
    resolved = resolve(found, decided, holdout, params)
    certificate = label_the_rest(found, resolved, holdout, params).certificate
    refuse_undecided(still_waiting(found, resolved, certificate, params), params, LINE)


def answer_the_rest(page, said):
    """Answers everything that waits, random crops last, each by itself."""
    of_task = sorted(found_of(LINE).queue.to_pylist(), key=lambda item: (item["task"] == "audit", item["priority"]))
    for item in of_task:
        (shown,) = page.session.show([item["item_id"]])
        if not shown.decided:
            say(page, item["item_id"], said[item["item_id"]])


def test_crops_that_were_doubtful_in_an_earlier_queue_certify_nothing_and_spend_nothing(reviewed, page_of):
    doubtful = [replace(one, reviewer="ann") for one in reviewed("required") if one.task != "audit"]
    write_decisions(decisions_of(LINE), doubtful)
    said = {one.item_id: one.decided for one in reviewed("sampled")}  # the queue is made anew
    before = {one.item_id for one in doubtful if one.item_id in found_of(LINE).asked.certifying}
    assert before
    page = page_of()
    answer_the_rest(page, said)
    certificate = judged(page)
    assert certificate.pooled.met
    assert certificate.spent <= len(before)
    again = next(iter(before))  # a row of its own takes the place of the earlier one: no label changes
    looked = certificate.pooled.looked
    say(page, again, "wipe" if said[again] != "wipe" else "screw")
    assert judged(page).pooled.looked == looked
    page = page_of()
    assert judged(page).pooled.looked == looked


def test_looks_between_which_a_doubtful_crop_of_before_was_answered_anew_count(reviewed, page_of):
    decided = [replace(one, reviewer="ann") for one in reviewed("required")]
    said = {one.item_id: one.decided for one in decided}
    first, *others = found_of(LINE).asked.certifying
    rows = [one for one in decided if one.item_id not in others]
    write_decisions(decisions_of(LINE), [replace(one, task="crop") if one.item_id == first else one for one in rows])
    page = page_of()
    for item_id in (*others[:20], first, *others[20:]):
        say(page, item_id, said[item_id] if item_id != first else "NG")
    certificate = judged(page)
    assert (certificate.spent, certificate.pooled.looked) == (1, len(others))


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_answered_queued_and_set_all_agree_and_fresh_crops_certify(project, page_of, seed):
    dice = random.Random(seed)
    said = {}
    policy, settings = "required", "5e771465"
    changes: dict[str, int] = {}

    def queue_anew():
        folder, line, embedded, matched = project
        queue = line.queue(embedded, matched, queue_params(policy=policy, **changes))
        write_table(queue, folder / "data" / LINE / "queue" / "queue.parquet", QUEUE)
        configure(folder, dataset=section_of(dataset_params(policy=policy, accepted_by=settings)))
        reviewer = review_params().reviewer
        right = answer_queue(queue, line.boxes, SimulatedTruth(line.truth, 0.4), reviewer).decisions
        said.update({one.item_id: one.decided for one in right})
        return page_of()

    page = queue_anew()
    judged(page)
    for step in range(5):
        items = found_of(LINE).queue.to_pylist()
        for item in dice.sample(items, 25) + [item for item in items if item["task"] == "group"] * (step == 1):
            item_id = item["item_id"]
            what = dice.choice(["right", "right", "right", "wrong", "withdrawn"])
            if item["task"] == "box" and what == "wrong":
                what = "right"
            wrong = dice.choice(["screw", "wipe", "NG"])
            say(page, item_id, {"right": said[item_id], "wrong": wrong}.get(what, what))
        judged(page)
        match dice.choice(["queue", "settings", "policy", "nothing"]):
            case "queue":
                changes = dice.choice([{"seed": step}, {"audit_certify": 30}, {"audit_calibrate": 9}, {"crops": 3}])
            case "settings":
                settings = dice.choice(["5e771465", "07435e77"])
            case "policy":
                policy = dice.choice(["required", "sampled"])
        page = queue_anew()
        judged(page)
    for item in found_of(LINE).queue.to_pylist():
        if item["task"] != "audit":
            say(page, item["item_id"], said[item["item_id"]])
    for item_id in found_of(LINE).asked.calibrating:
        say(page, item_id, said[item_id])
    fresh = {one for one in found_of(LINE).asked.certifying if not page.session.show([one])[0].seen}
    answer_the_rest(page, said)
    certificate = judged(page)
    decisions = page.session.decisions()
    accepted = page.quality._now._reviewed.labelling.accepted.of(tuple(fresh))
    assert certificate.pooled.looked + certificate.uncounted >= len(accepted)
    assert len(decisions.rows) >= len(found_of(LINE).queue)


# --- several at once


def test_answers_are_saved_while_the_crops_are_labelled_for_somebody_else(reviewed, page_of, monkeypatch):
    decided = reviewed("required")
    certifying = found_of(LINE).asked.certifying
    write_decisions(decisions_of(LINE), [one for one in decided if one.item_id not in certifying])
    page = page_of()
    labelling, saved = threading.Event(), threading.Event()
    label = gate.label_the_rest
    seen = []

    def slowly(*given):
        labelling.set()
        seen.append(saved.wait(20))
        return label(*given)

    monkeypatch.setattr(gate, "label_the_rest", slowly)
    finishing = threading.Thread(target=page.quality.told, args=(page.session.decisions(),))
    finishing.start()
    assert labelling.wait(20)
    page.quality.settings_now()
    assert page.quality.stamp(page.session.decisions())
    saved.set()
    finishing.join()
    assert seen == [True]


def test_the_gate_is_judged_while_an_answer_is_being_saved(reviewed, page_of, monkeypatch):
    decided = reviewed("required")
    certifying = found_of(LINE).asked.certifying
    write_decisions(decisions_of(LINE), [one for one in decided if one.item_id not in certifying])
    page = page_of()
    say(page, certifying[0], "screw")
    monkeypatch.setattr(journal, "WAIT_S", 0.1)
    told = []

    def judge(_decisions):
        for judged_by in (pass_gate, lambda _: page.quality._now.pass_gate()):
            with pytest.raises(AwaitingReview, match=r"1 answers are in .* alone"):
                judged_by(LINE)
        with pytest.raises(InputError, match=r"another command has been writing to it for 0\.1 s; try again") as locked:
            journal.Journal(page.session._state.journal.path)
        told.append(str(locked.value))
        return []

    page.session.add(judge)
    assert told
    assert "move the file away" not in told[0]
