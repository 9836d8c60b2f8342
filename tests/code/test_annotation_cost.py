"""What labels cost a person: counted by hand on a few decisions, and from the stage's files."""

import csv
import json
from dataclasses import replace

import pytest

from lineact.annotation_cost import (
    AnnotationCostParams,
    Cost,
    Effort,
    Material,
    as_markdown,
    cost_metrics,
    cost_table,
    efforts_of,
    is_corrected,
)
from lineact.decisions import Decision, Decisions, HandBox, standing, text_of_boxes, write_decisions
from lineact.files import write_metrics
from lineact.reviewer import answer_queue
from lineact.schema import LABELLED_CROPS, empty_table, write_table
from lineact.simulate_review import SimulatedTruth
from tasks.annotation_cost import annotation_cost
from tests.labelled_line import ACTIONS, HELD_OUT, match_params, queue_params, review_params

PARAMS = AnnotationCostParams(actions=ACTIONS, stations=20, same_iou=0.7, holdout=HELD_OUT)
TRAIN, MEASURE = "a" * 12, "b" * 12


def decision(item, task, decided, suggested="", seconds=10.0):
    return Decision(item, task, suggested, decided, "Ada", "2026-01-01T00:00:00+00:00", seconds, "")


def boxes(*places_px):
    return text_of_boxes(HandBox((x, 0.0, x + 100.0, 100.0), "wipe") for x in places_px)


def frame(sha256, number):
    return f"frame:{sha256}@{number}.000000"


ROWS = (
    decision("group:0", "group", "screw"),
    decision("group:1", "group", "mixed"),
    decision("c0", "crop", "screw", "group:0", 4.0),
    decision("c1", "crop", "wipe", "group:0", 4.0),
    decision("c2", "crop", "wipe", "group:1", 4.0),  # of a mixed group: no suggestion
    decision("c3", "audit", "screw", "group:0", 2.0),
    decision(frame(TRAIN, 1), "box", boxes(10.0), boxes(12.0), 20.0),
    decision(frame(TRAIN, 2), "box", "empty", boxes(0.0), 20.0),
    decision(frame(MEASURE, 1), "box", boxes(10.0), boxes(90.0), 40.0),
)
REPLACED = (decision("c0", "crop", "wipe", "group:0", 3.0),)


def efforts():
    return efforts_of(
        Decisions(ROWS, REPLACED, ()),
        {("group:0", ""): 9, ("group:1", ""): 7},
        lambda one: one[0] == MEASURE,
        PARAMS.same_iou,
    )


def test_work_by_task_and_action():
    assert efforts() == [
        Effort("audit", "screw", "Ada", items=1, images=1, corrected=0, timed=1, untimed=0, seconds=2.0),
        Effort("crop", "screw", "Ada", items=1, images=1, corrected=0, timed=1, untimed=0, seconds=4.0),
        Effort(
            "crop", "wipe", "Ada", items=2, images=2, corrected=2, timed=2, untimed=0, seconds=11.0
        ),  # what was replaced took time, too
        Effort("frame", "", "Ada", items=2, images=2, corrected=1, timed=2, untimed=0, seconds=40.0),
        Effort("group", "mixed", "Ada", items=1, images=7, corrected=1, timed=1, untimed=0, seconds=10.0),
        Effort("group", "screw", "Ada", items=1, images=9, corrected=0, timed=1, untimed=0, seconds=10.0),
        Effort("held-out frame", "", "Ada", items=1, images=1, corrected=1, timed=1, untimed=0, seconds=40.0),
    ]


@pytest.mark.parametrize(
    ("suggested", "decided", "corrected"),
    [
        ("empty", "empty", False),
        ("", "empty", False),
        (boxes(0.0), boxes(17.0), False),  # IoU 83 / 117
        (boxes(0.0), boxes(18.0), True),
        (boxes(0.0, 300.0), boxes(300.0, 0.0), False),
        (boxes(0.0, 300.0), boxes(0.0), True),
        ("empty", boxes(0.0), True),
        (boxes(0.0, 5.0), boxes(0.0, 300.0), True),  # two boxes of one hand are not two hands
        ("[[0, 0, 100", boxes(0.0), True),  # edited by hand
    ],
)
def test_what_counts_as_a_corrected_frame(suggested, decided, corrected):
    assert is_corrected(decision(frame(TRAIN, 1), "box", decided, suggested), {}, 0.7) is corrected


def test_the_table_compares_with_the_whole_data_set_at_the_same_pace():
    material = Material(frames=4000, frames_with_boxes=1000, detector_frames=180, crops=630)
    table = cost_table(efforts(), material, PARAMS)
    found = {(row.source, row.index): (row.by_hand, row.lineact) for row in table}
    frame_s, crop_s = 80 / 3, 17 / 4
    assert found["line", "images (frames per station)"] == (4000, 1000)
    assert found["detection", "frames looked at (per station)"] == (180, 2)
    assert found["detection", "frames corrected (per station)"] == (180, 1)
    assert found["detection", "hours (per station)"] == pytest.approx((180 * frame_s / 3600, 40 / 3600))
    assert found["detection", "hours (20 stations)"] == pytest.approx((20 * 180 * frame_s / 3600, 20 * 40 / 3600))
    assert found["classification", "crops looked at (per action)"] == (315, 2)
    assert found["classification", "crops corrected (per action)"] == (315, 1)
    assert found["classification", "hours (per station)"] == pytest.approx((630 * crop_s / 3600, 37 / 3600))
    assert found["held-out part", "hours (per station)"] == pytest.approx((40 / 3600, 40 / 3600))
    hours = (180 * frame_s + 630 * crop_s + 40) / 3600, (40 + 37 + 40) / 3600
    assert found["all", "hours (per station)"] == pytest.approx(hours)
    metrics = cost_metrics(efforts(), table)
    assert (metrics["hours_all_by_hand"], metrics["hours_all"]) == pytest.approx(hours)
    assert metrics["hours_all_change"] == pytest.approx(hours[1] / hours[0] - 1)
    assert (metrics["images_group"], metrics["corrected_held_out_frame"], metrics["seconds_crop"]) == (16, 1, 15.0)


def test_without_a_measured_pace_nothing_is_made_up():
    untimed = [replace(effort, timed=0, untimed=0, seconds=0.0) for effort in efforts()]
    table = cost_table(untimed, Material(10, 5, 5, 5), PARAMS)
    assert all(row.by_hand is None and row.change is None for row in table if row.index.startswith("hours"))
    assert "| detection | hours (per station) | not measured | 0 |  |" in as_markdown("press_a", table, untimed, False)
    nothing = cost_table([], Material(10, 5, 5, 5), PARAMS)
    assert [row.lineact for row in nothing[1:]] == [0] * (len(nothing) - 1)


def of_rows(*rows):
    return efforts_of(standing(rows), {("group:0", ""): 4}, lambda _: False, PARAMS.same_iou)


def hours_by_hand(found, material):
    rows = {row.source: row for row in cost_table(found, material, PARAMS) if row.index == "hours (per station)"}
    return rows["classification"].by_hand


def test_imported_rows_without_a_time_make_nobody_faster():
    timed = [decision(f"c{number}", "crop", "wipe", seconds=6.0) for number in range(4)]
    imported = [decision(f"i{number}", "crop", "wipe", seconds=0.0) for number in range(40)]
    found = of_rows(*timed, *imported)
    assert hours_by_hand(found, Material(0, 0, 0, 100)) == pytest.approx(100 * 6 / 3600)
    assert "The time of 40 decided items was not taken" in as_markdown("press_a", [], found, False)


def test_an_answer_undone_and_given_again_is_one_item_with_all_its_seconds():
    first = decision("c0", "crop", "screw", seconds=5.0)
    undone = replace(first, decided="withdrawn", decided_at="2026-01-01T00:00:05+00:00", seconds=0.0)
    again = replace(first, decided="wipe", decided_at="2026-01-01T00:00:09+00:00", seconds=3.0)
    assert hours_by_hand(of_rows(first, undone, again), Material(0, 0, 0, 100)) == pytest.approx(100 * 8 / 3600)
    put_back = replace(again, seconds=0.0)  # as an undo of a second answer does
    assert [one.untimed for one in of_rows(first, put_back)] == [0, 0]


def test_what_is_taken_back_is_no_action_and_its_time_is_that_of_what_was_said():
    first = decision("c0", "crop", "screw", seconds=5.0)
    undone = replace(first, decided="withdrawn", decided_at="2026-01-01T00:00:05+00:00", seconds=2.0)
    bob = replace(first, reviewer="bob", decided="wipe", decided_at="2026-01-01T00:00:03+00:00")
    assert of_rows(first, undone) == [
        Effort("crop", "screw", "Ada", items=0, images=0, corrected=0, timed=1, untimed=0, seconds=7.0)
    ]
    assert [(one.reviewer, one.action, one.items, one.seconds) for one in of_rows(first, bob, undone)] == [
        ("Ada", "screw", 0, 7.0),
        ("bob", "wipe", 1, 5.0),
    ]


def test_the_name_of_a_group_that_shows_other_crops_today_took_time_and_is_no_item():
    name, again = decision("group:0", "group", "wipe"), decision("group:1", "group", "screw")
    crop = decision("c0", "crop", "screw", suggested="group:1", seconds=4.0)
    efforts = of_rows(name, again, crop)
    assert [(one.task, one.action, one.items, one.images, one.seconds) for one in efforts] == [
        ("crop", "screw", 1, 1, 4.0),
        ("group", "screw", 0, 0, 10.0),
        ("group", "wipe", 1, 4, 10.0),
    ]
    assert efforts[0].corrected == 1  # nothing was suggested under that name


def test_what_reviewers_dispute_took_them_time():
    ann, bob = (
        replace(decision("c0", "crop", said, seconds=7.0), reviewer=who)
        for who, said in zip("ab", ACTIONS, strict=True)
    )
    assert [(one.reviewer, one.items, one.timed, one.seconds) for one in of_rows(ann, bob)] == [
        ("a", 0, 1, 7.0),
        ("b", 0, 1, 7.0),
    ]


def test_a_settled_disagreement_is_held_against_what_was_suggested_first():
    item = frame(TRAIN, 1)
    ann = decision(item, "box", boxes(0.0), suggested=boxes(0.0))
    bob = replace(ann, decided=boxes(300.0), reviewer="bob")
    for settled, corrected in ((boxes(0.0), 0), (boxes(300.0), 1)):
        said = replace(ann, suggested="disagreement", decided=settled, decided_at="2026-01-01T00:01:00+00:00")
        assert [one.corrected for one in of_rows(ann, bob, said)] == [corrected, 0]
    crop = decision("c0", "crop", "screw", suggested="group:0")
    name = decision("group:0", "group", "wipe")
    said = replace(crop, suggested="disagreement", decided="wipe", decided_at="2026-01-01T00:01:00+00:00")
    of_crops = [one for one in of_rows(name, crop, replace(crop, decided="wipe", reviewer="bob"), said) if one.items]
    assert [(one.task, one.corrected) for one in of_crops] == [("crop", 0), ("group", 0)]


def test_by_hand_each_reviewer_works_at_their_own_pace():
    """Both said something of c0: that is two looks, and no slower one."""
    fast = [replace(decision(f"c{number}", "crop", "wipe", seconds=2.0), reviewer="ann") for number in range(3)]
    slow = replace(decision("c0", "crop", "wipe", seconds=10.0), reviewer="bob", decided_at="2026-01-02T00:00:00+00:00")
    found = of_rows(*fast, slow)
    assert hours_by_hand(found, Material(0, 0, 0, 100)) == pytest.approx((75 * 2 + 25 * 10) / 3600)
    told = as_markdown("press_a", [], found, False)
    assert "| ann | 2 | not measured | 0.00 |" in told
    assert "| bob | 10 | not measured | 0.00 |" in told


def test_the_markdown_says_whose_seconds_they_are():
    rows = [Cost("detection", "hours (per station)", 4.0, 0.8)]
    by_person, simulated = (as_markdown("demo", rows, efforts(), is_simulated) for is_simulated in (False, True))
    assert "| detection | hours (per station) | 4 | 0.80 | -80.0% |" in by_person
    assert "not measured" not in by_person
    assert "stated in the settings, not measured" in simulated


@pytest.mark.parametrize(("name", "value"), [("stations", 0), ("same_iou", 1.5)])
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=name):
        replace(PARAMS, **{name: value})


def test_the_stage_reads_what_a_reviewer_did(line, embedded, tmp_path):
    matched = line.match(embedded, match_params())
    queue = line.queue(embedded, matched, queue_params())
    answers = answer_queue(queue, line.boxes, SimulatedTruth(line.truth, 0.4), review_params().reviewer).decisions
    line.write(tmp_path, embedded, matched, queue)
    write_table(empty_table(LABELLED_CROPS), tmp_path / "dataset" / "crops.parquet", LABELLED_CROPS)
    write_metrics(tmp_path / "dataset", {"frames_train": 15, "frames_val": 5, "crops_drawn": 0})
    write_decisions(tmp_path / "decisions.csv", answers)
    stages = {name: tmp_path / name for name in ("ingest", "detect", "queue", "dataset")}
    annotation_cost(PARAMS, line="press_a", **stages, decisions=tmp_path / "decisions.csv", out=tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["items_frame"], metrics["items_held_out_frame"], metrics["items_crop"]) == (10, 12, 8)
    assert metrics["hours_detection"] == pytest.approx(10 * 12 / 3600)
    assert metrics["hours_detection_by_hand"] == pytest.approx(20 * 12 / 3600)
    with (tmp_path / "out/plots/effort.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sum(int(row["items"]) for row in rows) == len(answers)
    assert "A simulated reviewer decided" in (tmp_path / "out/plots/cost.md").read_text()
    with (tmp_path / "out/plots/cost.csv").open() as stream:
        table = (tmp_path / "out/plots/cost.md").read_text().split("\n\n")[1]
        assert len(list(csv.DictReader(stream))) == len(table.splitlines()) - 2
