"""decisions.csv: what is written is read back, bad rows are named, decisions find their boxes again."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.attach import attach
from lineact.boxes import iou_matrix
from lineact.decisions import (
    Decision,
    HandBox,
    box_of_id,
    boxes_of_text,
    frame_item,
    frame_key,
    frame_of_item,
    read_decisions,
    text_of_boxes,
    write_decisions,
)
from lineact.errors import InputError
from lineact.review.answers import Answer, decision_of

ACTIONS = ("screw", "wipe, dry", 'say "go"')
HEADER = "item_id,task,suggested,decided,reviewer,decided_at,seconds,basis\n"
SHA = "0123456789ab" * 5 + "cdef"

labels = st.sampled_from([*ACTIONS, "NG"])
corner = st.integers(0, 300_000)
hand = st.builds(
    lambda x, y, w, h, action: HandBox((x / 100, y / 100, (x + w) / 100, (y + h) / 100), action),
    corner, corner, st.integers(1, 50_000), st.integers(1, 50_000), labels,
)  # fmt: skip
text = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=20)
rest = {"suggested": text, "reviewer": text, "basis": text}
when = st.datetimes().map(lambda moment: moment.isoformat())
seconds = st.floats(0, 1e6)
item_numbers = st.integers(0, 99)
group_rows = st.builds(
    Decision, item_numbers.map("group:{}".format), st.just("group"), decided=labels | st.just("mixed"),
    decided_at=when, seconds=seconds, **rest,
)  # fmt: skip
frame_rows = st.builds(
    Decision, st.floats(0, 1e5).map(lambda t: frame_item(SHA, t)), st.just("box"),
    decided=st.lists(hand, max_size=3).map(text_of_boxes), decided_at=when, seconds=seconds, **rest,
)  # fmt: skip
crop_rows = st.builds(
    Decision, item_numbers.map("box {}".format), st.sampled_from(["crop", "audit"]), decided=labels,
    decided_at=when, seconds=seconds, **rest,
)  # fmt: skip


@given(rows=st.lists(group_rows | frame_rows | crop_rows, unique_by=lambda row: row.item_id, max_size=8))
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("review") / "decisions.csv"
    write_decisions(path, rows)
    decisions = read_decisions(path, ACTIONS)
    assert not decisions.bad
    assert list(decisions.rows) == rows


@given(hands=st.lists(hand, max_size=4))
def test_boxes_survive_their_text(hands):
    assert boxes_of_text(text_of_boxes(hands)) == hands


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[]",
        "[1]",
        "[[1, 2, 3, 4]]",
        '[[1, 2, 1, 4, "screw"]]',
        '[[1, 2, true, 4, "screw"]]',
        '[[1, 2, NaN, 4, "screw"]]',
        '{"a": 1}',
        "null",
    ],
)
def test_other_text_is_no_boxes(wrong):
    with pytest.raises(ValueError, match="expected"):
        boxes_of_text(wrong)


GOOD = "group:1,group,,screw,ann,2026-01-01T00:00:00,1.5,b\n"


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("group:1,grupp,,screw,ann,2026-01-01,1,b", "task"),
        ("group:1,group,,bolt,ann,2026-01-01,1,b", "decided"),
        ("x,crop,,mixed,ann,2026-01-01,1,b", "decided"),
        ("group:x,group,,screw,ann,2026-01-01,1,b", "item_id"),
        (",crop,,screw,ann,2026-01-01,1,b", "item_id"),
        ("frame:xyz,box,,empty,ann,2026-01-01,1,b", "item_id"),
        ("group:1,group,,screw,ann,yesterday,1,b", "decided_at"),
        ("group:1,group,,screw,ann,2026-01-01,-1,b", "seconds"),
        ("group:1,group,,screw,ann,2026-01-01,nan,b", "seconds"),
        ("group:1,group,,screw,ann,2026-01-01,1e308,b", "seconds"),
        (f'frame:0123456789ab@1.000000,box,,"[[0, 0, 1{"0" * 400}, 5, ""screw""]]",ann,2026-01-01,1,b', "decided"),
        (f"frame:0123456789ab@1.000000,box,,{'[' * 15000},ann,2026-01-01,1,b", "decided"),
        ('frame:0123456789ab@1.000000,box,,"[[1,2,3,4,""bolt""]]",ann,2026-01-01,1,b', "decided"),
        ("group:1,group,,screw", ""),
        ("group:1,group,,screw,ann,2026-01-01,1,b,more", ""),
    ],
)
def test_a_bad_row_is_named_and_the_rest_is_kept(tmp_path, row, column):
    path = tmp_path / "decisions.csv"
    path.write_text(HEADER + GOOD.replace("group:1", "group:7") + row + "\n")
    decisions = read_decisions(path, ACTIONS)
    assert [one.item_id for one in decisions.rows] == ["group:7"]
    assert [(bad.row, bad.column) for bad in decisions.bad] == [(3, column)]


def test_a_quote_left_open_takes_no_other_row_with_it(tmp_path):
    path = tmp_path / "decisions.csv"
    rows = [GOOD.replace("group:1", f"group:{number}") for number in range(9)]
    rows[3] = rows[3].replace(",screw,", ',"screw,')
    rows[6] = rows[6].replace("screw", "s" * 200_000)  # more than a field may hold
    path.write_text(HEADER + "".join(rows) + "\n\n")
    decisions = read_decisions(path, ACTIONS)
    assert [one.item_id[-1] for one in decisions.rows] == list("0124578")
    assert [(bad.row, bad.text + "\n") for bad in decisions.bad] == [(5, rows[3]), (8, rows[6])]


def test_the_later_row_of_an_item_counts(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_text(HEADER + GOOD + GOOD.replace("screw", "NG"))
    decisions = read_decisions(path, ACTIONS)
    assert [one.decided for one in decisions.rows] == ["NG"]
    assert [one.decided for one in decisions.superseded] == ["screw"]


def test_a_spreadsheets_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + GOOD).encode())
    assert len(read_decisions(path, ACTIONS).rows) == 1


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"\xff\xfe\x00", "UTF-8"), (b"item_id,task\n", "none called suggested"), (b"", "none called item_id")],
)
def test_another_file_is_refused(tmp_path, content, found):
    path = tmp_path / "decisions.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=found):
        read_decisions(path, ACTIONS)


def test_a_missing_file_says_how_to_start(tmp_path):
    with pytest.raises(InputError, match="item_id,task"):
        read_decisions(tmp_path / "decisions.csv", ACTIONS)


@given(pts_s=st.floats(0, 1e6))
def test_a_frames_item_tells_the_frame(pts_s):
    prefix, time_s = frame_of_item(frame_item(SHA, pts_s))
    assert prefix == SHA[:12]
    assert abs(time_s - pts_s) <= 5.1e-7


def placed(x, y, side=40, mark=""):
    return f"{frame_key(SHA, 1.0)}#{x}-{y}-{x + side}-{y + side}{mark}", (float(x), float(y), x + side, y + side)


class OnFrames(dict):
    """Boxes of today: frame to its boxes."""

    def on(self, frame):
        return self.get(frame, [])

    def __contains__(self, box_id):
        return any(box_id in dict(placed) for placed in self.values())


boxes = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), unique=True, max_size=6)


@given(old=boxes, new=boxes, min_iou=st.floats(0.1, 0.9))
def test_decisions_attach_one_to_one(old, new, min_iou):
    old_ids = [placed(*place)[0] for place in old]
    today = [placed(*place) for place in new]
    attached = attach(old_ids, OnFrames({frame_key(SHA, 1.0): today}), min_iou)
    assert len(set(attached.values())) == len(attached)
    assert {old_id for old_id in old_ids if old_id in dict(today)} <= set(attached)
    for old_id, new_id in attached.items():
        place = box_of_id(old_id)
        assert place is not None
        assert old_id == new_id or iou_matrix(np.array(place[1]), np.array(dict(today)[new_id]))[0, 0] >= min_iou


def test_a_box_found_elsewhere_takes_no_decision():
    moved, far = placed(10, 10), placed(300, 10)
    assert attach([placed(12, 11)[0]], OnFrames({frame_key(SHA, 1.0): [far, moved]}), 0.5) == {
        placed(12, 11)[0]: moved[0]
    }
    assert attach([placed(12, 11)[0]], OnFrames({frame_key(SHA, 1.0): [far]}), 0.5) == {}
    assert attach([placed(12, 11)[0]], OnFrames({frame_key(SHA, 2.0): [moved]}), 0.5) == {}


SIDES = st.floats(-1, 700) | st.just(float("nan")) | st.sampled_from([0.0, 0.001, 0.004, 0.005, 1e-9])


@given(
    boxes=st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["screw", "NG", "other"])), max_size=3),
    reviewer=st.text(max_size=12),
    seconds=st.floats(-1, 1e6) | st.just(float("inf")),
)
def test_whatever_an_answer_is_taken_as_can_be_read_again(tmp_path_factory, boxes, reviewer, seconds):
    item = {"item_id": f"frame:{'a' * 12}@1.000000", "task": "box", "suggested": "empty", "basis": "b" * 16}
    text = json.dumps([list(box) for box in boxes]) if boxes else "empty"
    try:
        decision = decision_of(item, Answer(text, reviewer, seconds), ["screw"], (640, 480))
    except ValueError:
        return
    path = tmp_path_factory.mktemp("review") / "decisions.csv"
    write_decisions(path, [decision])
    read = read_decisions(path, ["screw"])
    assert read.bad == ()
    assert read.rows == (decision,)
