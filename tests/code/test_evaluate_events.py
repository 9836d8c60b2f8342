"""Events against the truth: what counts as the same one, what is false, and that it is the runtime that is scored."""

import csv
import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.bundle import load_bundle
from lineact.evaluate_events import (
    EvaluateEventsParams,
    HeldOut,
    Interval,
    event_metrics,
    reported_events,
    same_events,
    true_events,
    write_events,
)
from lineact.files import sha256_of_file
from lineact.runtime.__main__ import main
from lineact.schema import TRUTH_BOXES, VIDEOS, table_of, write_table
from lineact.splits import HoldoutParams
from tasks.evaluate_events import evaluate_events
from tests.generated_videos import write_video
from tests.released_pair import smooth_noise


def boxes(shown: dict[str, str], fps: float = 10.0):
    """True boxes: per hand a letter a frame, s for screw, w for wipe, n for NG, a blank for none."""
    names = {"s": "screw", "w": "wipe", "n": "NG"}
    box = dict(zip(("x1", "y1", "x2", "y2"), (1.0, 2.0, 3.0, 4.0), strict=True))
    rows = [
        {"video_sha256": "a" * 64, "pts_s": index / fps, "hand": hand, "action": names[letter]} | box
        for hand, letters in shown.items()
        for index, letter in enumerate(letters)
        if letter != " "
    ]
    return table_of(rows, TRUTH_BOXES)


@pytest.mark.parametrize(
    ("shown", "from_s", "expected"),
    [
        ({"left": "ssssss"}, 0.0, [("screw", 0.0, 0.6)]),
        ({"left": "ssssssnnnnnn"}, 0.0, [("screw", 0.0, 0.6)]),  # NG is no action
        ({"left": "ssss"}, 0.0, []),  # too short for any runtime to report
        ({"left": "ssssss wwwww"}, 0.0, [("screw", 0.0, 0.6), ("wipe", 0.7, 1.2)]),
        ({"left": "ssssssssss"}, 0.4, [("screw", 0.4, 1.0)]),  # what is before is cut off
        ({"left": "ssssssssss"}, 0.6, []),
        ({"left": "   sssss", "right": "wwwwww"}, 0.0, [("wipe", 0.0, 0.6), ("screw", 0.3, 0.8)]),
        ({"left": "sssss", "right": "     sssss"}, 0.0, [("screw", 0.0, 0.5), ("screw", 0.5, 1.0)]),
        ({}, 0.0, []),
    ],
)
def test_true_events(shown, from_s, expected):
    found = true_events(boxes(shown), 10.0, from_s, 0.499)
    assert [(one.action, pytest.approx(one.start_s), pytest.approx(one.end_s)) for one in found] == expected


TRUTH = (Interval("screw", 0.0, 4.0), Interval("wipe", 5.0, 7.0))


@pytest.mark.parametrize(
    ("found", "pairs"),
    [
        ((Interval("screw", 1.0, 4.0), Interval("wipe", 5.0, 7.0)), ((0, 0), (1, 1))),
        ((Interval("wipe", 0.0, 4.0),), ()),  # another action
        ((Interval("screw", 2.1, 4.0),), ()),  # too little of it
        ((Interval("screw", 0.0, 2.0), Interval("screw", 2.0, 4.0)), ((0, 0),)),  # one of two halves is false
        ((), ()),
    ],
)
def test_the_same_event(found, pairs):
    assert same_events(TRUTH, found, 0.5) == pairs


intervals = st.lists(
    st.builds(
        lambda action, start_s, length_s: Interval(action, start_s, start_s + length_s),
        st.sampled_from(["screw", "wipe"]),
        st.floats(0, 50),
        st.floats(0.1, 20),
    ),
    max_size=8,
)


@given(intervals, intervals, st.floats(0.1, 1.0))
def test_scores_stay_in_their_ranges_and_are_symmetric(truth, found, min_t_iou):
    pairs = same_events(truth, found, min_t_iou)
    assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
    assert all(truth[one].action == found[other].action for one, other in pairs)
    assert len(same_events(found, truth, min_t_iou)) == len(pairs)
    assert len(same_events(truth, truth, min_t_iou)) == len(truth)
    metrics = event_metrics([HeldOut("a", 100.0, tuple(truth), tuple(found), pairs)])
    f1, false_per_h = metrics["event_f1"], metrics["false_events_per_h"]
    assert (f1 is None) == (not truth and not found)
    assert f1 is None or 0 <= f1 <= 1
    assert false_per_h == pytest.approx((len(found) - len(pairs)) * 36)


def test_metrics_and_rows_tell_right_missed_and_false(tmp_path):
    found = (Interval("screw", 0.5, 4.0), Interval("screw", 8.0, 9.0))
    parts = [HeldOut("a.mp4", 90.0, TRUTH, found, ((0, 0),)), HeldOut("b.mp4", 90.0, (), (), ())]
    assert event_metrics(parts) == {
        "event_f1": 0.5,
        "event_precision": 0.5,
        "event_recall": 0.5,
        "false_events_per_h": 20.0,
        "true_events": 2,
        "reported_events": 2,
        "right_events": 1,
        "seconds": 180.0,
    }
    write_events(tmp_path / "events.csv", parts)
    rows = list(csv.DictReader((tmp_path / "events.csv").open()))
    assert [(row["verdict"], row["action"]) for row in rows] == [
        ("right", "screw"),
        ("missed", "wipe"),
        ("false", "screw"),
    ]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Noise, on which the tiny pair with random weights finds hands; 6 s."""
    rng = np.random.default_rng(3)
    coarse = [smooth_noise(rng, (64, 96)) for _ in range(4)]
    pictures = [cv2.resize(coarse[index // 15], (192, 128)) for index in range(60)]
    return write_video(tmp_path_factory.mktemp("raw") / "rec.mp4", pictures)


def test_what_is_scored_is_what_the_runtime_reports(released, recording, tmp_path):
    bundle = released / "export" / "bundle"
    main(["--bundle", str(bundle), "--source", str(recording), "--out", str(tmp_path)])
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    said = sorted((one["action"], one["start_s"], one["end_s"]) for one in lines if one["action"] != "NG")
    found = reported_events(load_bundle(bundle), recording, 0.0)
    assert sorted((one.action, round(one.start_s, 6), round(one.end_s, 6)) for one in found) == said
    assert said


def test_the_stage_scores_the_held_out_end(released, recording, tmp_path):
    digest = sha256_of_file(recording)
    video = {
        "video_sha256": digest, "name": "rec.mp4", "start_s": 0.0, "duration_s": 6.0, "fps": 10.0, "frame_count": 60,
        "width_px": 192, "height_px": 128, "codec": "h264",
    }  # fmt: skip
    write_table(table_of([video], VIDEOS), tmp_path / "ingest" / "videos.parquet", VIDEOS)
    truth = boxes({"left": "s" * 60})
    truth = truth.set_column(0, truth.schema.field(0), [[digest] * 60])
    write_table(truth, tmp_path / "simulate" / "truth_boxes.parquet", TRUTH_BOXES)
    params = EvaluateEventsParams(HoldoutParams((), 0.5, 1.0), 0.5)
    evaluate_events(
        params,
        raw=recording.parent,
        ingest=tmp_path / "ingest",
        simulate=tmp_path / "simulate",
        export=released / "export",
        out=tmp_path / "out",
    )
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["seconds"], metrics["true_events"]) == (3.0, 1)
    rows = list(csv.DictReader((tmp_path / "out" / "events.csv").open()))
    assert len(rows) == metrics["true_events"] + metrics["reported_events"] - metrics["right_events"]
    assert all(float(row["reported_start_s"] or 3.0) >= 3.0 for row in rows)
    assert [row["true_start_s"] for row in rows if row["true_start_s"]] == ["3.000"]


@pytest.mark.parametrize("wrong", [0.0, 1.1])
def test_an_overlap_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="min_t_iou must be above 0"):
        EvaluateEventsParams(HoldoutParams((), 0.5, 1.0), wrong)
