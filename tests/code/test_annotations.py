"""Annotation files as the reviewer: what they know is decided, queued or not, and what does not fit is named."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows.answer_queue import answer_from_annotations
from lineact.annotations import AnnotatedTruth, read_annotations
from lineact.decisions import boxes_of_text, frame_item, read_decisions
from lineact.errors import InputError
from tests.labelled_line import ACTIONS, FPS, match_params, queue_params

BOTTLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "bottle_bench" / "annotations.json"


def content(**changes):
    values = {
        "video": "rec_0.mp4",
        "database": {
            "rec_0": {
                "annotations": [
                    {"label": "wipe", "segment": [0.6, 1.2]},
                    {"label": "screw", "segment": [0.0, 0.6]},
                ]
            }
        },
        "hand_boxes_xyxy": {"2": [[10, 20, 50, 60]], "7": [[30, 20, 70, 60], [100, 20, 140, 60]], "8": []},
        "negative_frames": [20],
    }
    return values | changes


def write(path, values):
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def truth(line, tmp_path):
    return AnnotatedTruth(read_annotations(write(tmp_path / "a.json", content()), ACTIONS), line.videos, line.frames)


def test_hands_take_the_action_of_the_segment_that_holds_their_time(line, truth):
    video = line.videos["video_sha256"][0].as_py()
    assert [(hand.box_xyxy_px, hand.action) for hand in truth.hands_on(video, 2 / FPS)] == [((10, 20, 50, 60), "screw")]
    assert [hand.action for hand in truth.hands_on(video, 7 / FPS)] == ["wipe", "wipe"]
    assert truth.hands_on(video, 8 / FPS) == truth.hands_on(video, 20 / FPS) == []
    assert truth.hands_on(video, 3 / FPS) is None
    anywhere = np.zeros(4)
    times_s = (0.0, 0.5, 0.6, 1.1, 1.2)
    assert [truth.action_of(video, t, anywhere) for t in times_s] == ["screw", "screw", "wipe", "wipe", "NG"]
    assert truth.action_of(line.videos["video_sha256"][1].as_py(), 0.0, anywhere) is None


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"video": "other.mp4"}, r"'other\.mp4': expected one such recording, found 0 among rec_0\.mp4"),
        ({"hand_boxes_xyxy": {"999": []}}, r"frames \[999\] are not in the recording"),
        ({"hand_boxes_xyxy": {"2": [[10, 20, 10, 60]]}}, "breaks this"),
        ({"hand_boxes_xyxy": [1]}, "breaks this"),
        ({"database": {}}, "one video in `database`, found 0"),
        ({"database": {"a": {"annotations": [{"label": "weld", "segment": [0, 1]}]}}}, "'weld' is not one of"),
        ({"database": {"a": {"annotations": [{"label": "wipe", "segment": [1, 1]}]}}}, "breaks this"),
        ({"negative_frames": [2]}, r"frames \[2\] are negative_frames and have boxes"),
    ],
)
def test_a_file_that_does_not_fit_is_named(line, tmp_path, changes, found):
    path = write(tmp_path / "a.json", content(**changes))
    with pytest.raises(InputError, match=found):
        AnnotatedTruth(read_annotations(path, ACTIONS), line.videos, line.frames)


def test_a_missing_or_broken_file_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match="found no file"):
        read_annotations(tmp_path / "a.json", ACTIONS)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="expected JSON"):
        read_annotations(tmp_path / "a.json", ACTIONS)


@pytest.fixture
def project(line, embedded, tmp_path, monkeypatch):
    """A folder with the line's queue, as the stages leave it."""
    monkeypatch.chdir(tmp_path)
    matched = line.match(embedded, match_params())
    folder = tmp_path / "data" / "bench"
    line.write(folder, embedded, matched, line.queue(embedded, matched, queue_params()))
    section = {
        "actions": list(ACTIONS), "accepted_by": "5e771465", "policy": "required", "min_decided_share": 0.5,
        "max_label_error": 0.05,
        "min_holdout_frames": 5,
        "max_bad_share": 0.0, "min_iou": 0.5, "context": 1.5, "crop_px": 32, "detector_frames": 0, "jpeg_quality": 90,
        "short_context": {"context_s": 0.0, "context_crops": 4},
        "holdout": {"recordings": ["rec_3"], "last_share": 0.0, "guard_s": 0.0},
        "labels": {"centre": False, "nearest": 3, "moment_s": 0.0, "precision": 0.9,
                   "min_certainty": 0.5, "min_hand_certainty": 0.5},
        "validation": {"share": 0.3, "by": "auto", "block_s": 1.0, "guard_s": 0.2}, "seed": 0,
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"lines": {"bench": {"dataset": section}}}))
    return tmp_path


def test_annotations_decide_what_they_know_once(line, project):
    path = write(project / "a.json", content())
    os.utime(path, (1767225600, 1767225600))
    added = answer_from_annotations("bench", path)
    decisions = read_decisions(project / "data" / "bench" / "review" / "decisions.csv", ACTIONS)
    assert not decisions.bad
    assert len(decisions.rows) == added
    assert {one.reviewer for one in decisions.rows} == {"annotations"}
    assert {one.decided_at for one in decisions.rows} == {"2026-01-01T00:00:00.000+00:00"}  # not before what they show
    video = line.videos["video_sha256"][0].as_py()
    frames = {one.item_id: boxes_of_text(one.decided) for one in decisions.rows if one.task == "box"}
    assert {item: len(hands) for item, hands in frames.items()} == {
        frame_item(video, index / FPS): count for index, count in ((2, 1), (7, 2), (8, 0), (20, 0))
    }
    crops = [one for one in decisions.rows if one.task in ("crop", "audit")]
    assert crops
    assert all(one.item_id.startswith(video[:12]) for one in crops)
    assert answer_from_annotations("bench", path) == 0


def test_corrected_annotations_are_added_and_a_persons_other_decisions_stay(project):
    decisions = project / "data" / "bench" / "review" / "decisions.csv"
    answer_from_annotations("bench", write(project / "a.json", content()))
    before = decisions.read_text()
    changed = content(hand_boxes_xyxy={"2": [[12, 20, 50, 60]], "7": [], "8": []})
    added = answer_from_annotations("bench", write(project / "a.json", changed))
    assert added == 2
    assert set(before.splitlines()) < set(decisions.read_text().splitlines())
    saved = read_decisions(decisions, ACTIONS)
    assert len(saved.superseded) >= 1
    assert not saved.disputed
    assert answer_from_annotations("bench", project / "a.json") == 0


@pytest.mark.real_data
@pytest.mark.skipif(not BOTTLES.is_file(), reason="../shared/data/bottle_bench is not there")
def test_the_real_annotations_are_read():
    annotations = read_annotations(BOTTLES, ("remove", "place"))
    assert len(annotations.segments) == 7
    assert sum(map(len, annotations.boxes_of_frame.values())) == 67
    assert sum(bool(boxes) for boxes in annotations.boxes_of_frame.values()) == 58
