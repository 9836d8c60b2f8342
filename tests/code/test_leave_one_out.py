"""Leave one recording or one line out: what is compared, and what is refused."""

from collections import Counter

import pytest

from lineact.errors import InputError
from lineact.leave_one_out import leave_one_out
from lineact.schema import LABELLED_CROPS, table_of
from lineact.splits import ValidationParams

VALIDATION = ValidationParams(0.3, "auto", 5.0, 1.0)
GAP_S = 0.5


def crops(line, recordings="abcd", actions=("screw", "wipe", "NG"), count=12, first=0):
    """A line's crops: actions in turn, a second apart; the last recording validates."""
    rows = []
    for recording in recordings:
        for number in range(count):
            name = f"{line}-{recording}-{number}"
            frame = {"video_sha256": f"{line}-{recording}", "pts_s": float(number), "box_id": name}
            box = {"x1": 0.0, "y1": 0.0, "x2": 9.0, "y2": 9.0, "decided_by": "person", "crop_png": name.encode()}
            action = actions[(number + first) % len(actions)]
            split = "val" if recording == recordings[-1] else "train"
            rows.append(frame | box | {"action": action, "split": split})
    return table_of(rows, LABELLED_CROPS)


def parts(fold):
    return {"train": fold.train, "val": fold.val, "holdout": fold.test}


def test_each_recording_is_tested_by_those_that_stay():
    table = crops("demo")
    found = leave_one_out({"demo": table}, "recording", VALIDATION, GAP_S, 0)
    assert [fold.name for fold in found.folds] == ["demo/demo-a", "demo/demo-b", "demo/demo-c", "demo/demo-d"]
    assert not found.refused
    tested: Counter[str] = Counter()
    for fold in found.folds:
        recordings = {name: set(part["video_sha256"].to_pylist()) for name, part in parts(fold).items()}
        assert recordings["holdout"] == {fold.name.removeprefix("demo/")}
        assert not recordings["train"] & recordings["val"]
        assert not recordings["holdout"] & (recordings["train"] | recordings["val"])
        assert all(set(part["split"].to_pylist()) == {name} for name, part in parts(fold).items())
        assert fold.train.schema.equals(LABELLED_CROPS)
        assert fold.labels == ("screw", "wipe", "NG")
        tested.update(fold.test["box_id"].to_pylist())
    assert tested == Counter(table["box_id"].to_pylist())


def test_with_two_recordings_the_one_that_stays_is_split_by_time():
    found = leave_one_out({"demo": crops("demo", "ab", count=30)}, "recording", VALIDATION, GAP_S, 0)
    for fold in found.folds:
        train_s, val_s = fold.train["pts_s"].to_pylist(), fold.val["pts_s"].to_pylist()
        assert min(abs(one - other) for one in train_s for other in val_s) >= VALIDATION.guard_s


def test_an_action_that_only_the_left_out_recording_has_is_not_tested():
    rows = crops("demo", "abcd").to_pylist()
    for row in rows:
        if row["video_sha256"] == "demo-a" and row["action"] == "wipe":
            row["action"] = "label"
    found = leave_one_out({"demo": table_of(rows, LABELLED_CROPS)}, "recording", VALIDATION, GAP_S, 0)
    fold = next(fold for fold in found.folds if fold.name == "demo/demo-a")
    assert set(fold.test["action"].to_pylist()) == {"screw", "NG"}
    assert "not tested, since no other has it: label" in fold.told


def test_the_only_recording_cannot_be_left_out():
    with pytest.raises(InputError, match="demo/demo-a: it is the only recording"):
        leave_one_out({"demo": crops("demo", "a")}, "recording", VALIDATION, GAP_S, 0)
    found = leave_one_out({"a": crops("a", "a"), "b": crops("b")}, "recording", VALIDATION, GAP_S, 0)
    assert list(found.refused) == ["a/a-a"]
    assert len(found.folds) == 4


def test_lines_are_compared_on_the_actions_that_they_share():
    tables = {
        "gi_d": crops("gi_d", actions=("insert", "check", "NG")),
        "gi_wd": crops("gi_wd", actions=("insert", "press", "NG")),
        "ttp_wh": crops("ttp_wh", actions=("lift", "light", "NG")),
    }
    found = leave_one_out(tables, "line", VALIDATION, GAP_S, 0)
    assert [fold.name for fold in found.folds] == ["gi_d", "gi_wd"]
    for fold in found.folds:
        assert fold.labels == ("insert", "NG")
        assert all(set(part["action"].to_pylist()) == {"insert", "NG"} for part in parts(fold).values())
        assert all(name.startswith(f"{fold.name}-") for name in fold.test["box_id"].to_pylist())
        trained = fold.train["box_id"].to_pylist()
        assert trained
        assert not any(name.startswith(f"{fold.name}-") for name in trained)
        assert set(fold.val["video_sha256"].to_pylist()) <= {"gi_d-d", "gi_wd-d", "ttp_wh-d"}  # their own split
    assert "insert, and NG; left out: check, lift, light, press" in found.folds[0].told
    assert found.refused == {
        "ttp_wh": "it shares no action with the other lines: it has lift, light, they have check, insert, press"
    }


def test_lines_without_a_shared_action_are_refused_with_their_sets():
    tables = {"a": crops("a", actions=("screw", "NG")), "b": crops("b", actions=("wipe", "NG"))}
    with pytest.raises(InputError, match=r"a: .* it has screw, they have wipe; b: "):
        leave_one_out(tables, "line", VALIDATION, GAP_S, 0)
    with pytest.raises(InputError, match="a: it shares no action with the other lines"):
        leave_one_out({"a": tables["a"]}, "line", VALIDATION, GAP_S, 0)


def changed(table, name, edit):
    rows = table.to_pylist()
    for row in rows:
        row[name] = edit(row)
    return table_of(rows, LABELLED_CROPS)


def test_lines_that_share_a_recording_or_a_crop_leak():
    one, other = crops("one"), crops("other", first=1)
    shared = changed(other, "video_sha256", lambda row: row["video_sha256"].replace("other-a", "one-b"))
    shared = changed(shared, "pts_s", lambda row: row["pts_s"] + 0.25)
    with pytest.raises(InputError, match=r"training and left-out one leak: other-a-\d+ .* and one-b-\d+ .* 0\.25 s"):
        leave_one_out({"one": one, "other": shared}, "line", VALIDATION, GAP_S, 0)
    copied = changed(other, "crop_png", lambda row: b"one-c-3" if row["box_id"] == "other-a-3" else row["crop_png"])
    with pytest.raises(InputError, match="other-a-3 and one-c-3 are the same crop"):
        leave_one_out({"one": one, "other": copied}, "line", VALIDATION, GAP_S, 0)


def test_recordings_that_share_a_crop_leak():
    table = changed(crops("demo"), "crop_png", lambda row: row["crop_png"].replace(b"demo-d-5", b"demo-a-5"))
    with pytest.raises(InputError, match=r"demo-[ad]-5 and demo-[ad]-5 are the same crop"):
        leave_one_out({"demo": table}, "recording", VALIDATION, GAP_S, 0)
