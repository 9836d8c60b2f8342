"""Test crops: cut where the truth is, never near a crop that trained, one table for every kind of line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineact.boxes import crop_square
from lineact.compare.classifiers.heldout import (
    HELD_OUT,
    CutParams,
    cut_by_person,
    cut_by_simulator,
    held_out_crops,
)
from lineact.errors import InputError
from lineact.files import sha256_of_file
from lineact.png import decode_png, encode_png
from lineact.schema import (
    HOLDOUT_BOXES,
    LABELLED_CROPS,
    TRUTH_BOXES,
    VIDEOS,
    read_table,
    table_of,
    write_table,
)
from lineact.splits import HoldoutParams
from lineact.video import read_frames
from tests.generated_videos import passing_hand, write_video

HAND = {"x1": 140.0, "y1": 80.0, "x2": 180.0, "y2": 120.0}
CUT = CutParams(context=1.8, crop_px=32, lags_s=(0.0,))
LABELS = ("screw", "NG")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def video() -> tuple[Path, str]:
    """A recording of four seconds, 10 frames a second, and its hash."""
    path = write_video(Path("raw/rec_01.mp4"), passing_hand(seconds=4.0)[0])
    return path, sha256_of_file(path)


def test_crops_of_a_video_line_are_cut_where_a_person_said(video):
    path, sha256 = video
    rows: list[dict[str, Any]] = [
        {"pts_s": 1.0},  # an empty frame
        {"pts_s": 2.0, **HAND, "action": "screw"},
        {"pts_s": 2.0, **HAND, "x1": 0.0, "x2": 30.0, "action": "NG"},
        {"pts_s": 3.0, **HAND},  # only the box was decided
    ]
    truth = [row | {"video_sha256": sha256, "decided_by": "person"} for row in rows]
    write_table(table_of(truth, HOLDOUT_BOXES), Path("holdout.parquet"), HOLDOUT_BOXES)
    table = read_table(cut_by_person(path.parent, Path("holdout.parquet"), CUT), LABELLED_CROPS).to_pylist()
    assert [(row["pts_s"], row["action"], row["split"], row["decided_by"]) for row in table] == [
        (2.0, "screw", HELD_OUT, "person"),
        (2.0, "NG", HELD_OUT, "person"),
    ]
    assert len({row["box_id"] for row in table}) == 2
    (frame,) = read_frames(path, [2.0])
    expected = crop_square(frame.image_rgb, np.array(list(HAND.values())), CUT.context, CUT.crop_px)
    assert np.array_equal(decode_png(table[0]["crop_png"]), expected)
    (path.parent / "rec_01.mp4").unlink()
    again = cut_by_person(path.parent, Path("holdout.parquet"), CUT)  # needs no recording: it was cut before
    assert read_table(again, LABELLED_CROPS).to_pylist() == table


def simulated(sha256: str, held_out: str = "rec_01") -> Path:
    """Truth of every frame of two recordings; returns the table of test crops."""
    rows = [
        {"video_sha256": sha, "pts_s": index / 10, "hand": hand, "action": "screw" if index < 20 else "NG", **HAND}
        for sha in (sha256, "other")
        for index in range(40)
        for hand in ("left", "right")
        if index != 5  # no hand: the slot's next frame is taken
    ]
    write_table(table_of(rows, TRUTH_BOXES), Path("truth.parquet"), TRUTH_BOXES)
    facts = {"start_s": 0.0, "duration_s": 4.0, "fps": 10.0, "frame_count": 40, "width_px": 320, "height_px": 180}
    videos = [
        {"video_sha256": sha, "name": name, "codec": "h264", **facts}
        for sha, name in ((sha256, "rec_01.mp4"), ("other", "rec_00.mp4"))
    ]
    write_table(table_of(videos, VIDEOS), Path("videos.parquet"), VIDEOS)
    holdout = HoldoutParams(recordings=(held_out,), last_share=0.0, guard_s=2.0)
    return cut_by_simulator(Path("raw"), Path("truth.parquet"), Path("videos.parquet"), holdout, CUT)


def test_of_a_simulated_line_four_frames_a_second_of_the_held_out_recordings(video):
    _, sha256 = video
    table = read_table(simulated(sha256), LABELLED_CROPS)
    times_s = [0.0, 0.3, 0.6, 0.8, 1.0, 1.3, 1.5, 1.8, 2.0, 2.3, 2.5, 2.8, 3.0, 3.3, 3.5, 3.8]
    assert table["pts_s"].to_pylist() == pytest.approx(np.repeat(times_s, 2))  # both hands
    assert set(table["video_sha256"].to_pylist()) == {sha256}
    assert set(table["decided_by"].to_pylist()) == {"simulator"}


def write_training(sha256: str, pts_s: float) -> Path:
    row = {"video_sha256": sha256, "pts_s": pts_s, "box_id": "b", **HAND, "action": "NG", "split": "train"}
    row |= {"decided_by": "match", "crop_png": encode_png(np.zeros((8, 8, 3), np.uint8))}
    write_table(table_of([row], LABELLED_CROPS), Path("crops.parquet"), LABELLED_CROPS)
    return Path("crops.parquet")


def test_test_crops_come_with_classes_blocks_and_pictures(video):
    path = simulated(video[1])
    found = held_out_crops(path, LABELS, write_training("other", 1.0), 0.5, "made up")
    assert found.classes.tolist() == [0] * 16 + [1] * 16
    assert found.blocks.tolist() == [0] * 32  # four seconds are less than a block
    assert found.images_rgb(16).shape == (32, 16, 16, 3)
    assert found.how == "made up"


@pytest.mark.parametrize("pts_s", [0.6, 4.2], ids=["the same moment", "too near"])
def test_a_test_crop_near_a_training_crop_is_refused(video, pts_s):
    path = simulated(video[1])
    with pytest.raises(InputError, match=rf"leak: {video[1][:12]}@.* and b \(at {pts_s}\) are of one recording"):
        held_out_crops(path, LABELS, write_training(video[1], pts_s), 0.5, "made up")


def test_crops_that_cannot_test_are_refused(video):
    path, crops = simulated(video[1]), write_training("other", 1.0)
    with pytest.raises(InputError, match="expected the actions wipe, NG, found screw"):
        held_out_crops(path, ("wipe", "NG"), crops, 0.5, "made up")
    with pytest.raises(InputError, match=r"expected held-out crops, found \['train'\]"):
        held_out_crops(crops, LABELS, crops, 0.5, "made up")  # training crops
    write_table(LABELLED_CROPS.empty_table(), Path("none.parquet"), LABELLED_CROPS)
    with pytest.raises(InputError, match=r"expected held-out crops, found \[\]"):
        held_out_crops(Path("none.parquet"), LABELS, crops, 0.5, "made up")
