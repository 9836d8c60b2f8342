"""Splits: no frame of one part comes near another, and labels are shared fairly."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lineact.errors import ConfigError, InputError
from lineact.leaks import Frame, refuse_near_frames
from lineact.schema import VIDEOS, table_of
from lineact.splits import Holdout, HoldoutParams, ValidationParams, choose_validation

VIDEO = "a" * 64
OTHER = "b" * 64


def videos(*names_durations, start_s=0.0):
    rows = [
        {
            "video_sha256": sha256 * 64,
            "name": name,
            "start_s": start_s,
            "duration_s": duration_s,
            "fps": 10.0,
            "frame_count": int(duration_s * 10),
            "width_px": 64,
            "height_px": 48,
            "codec": "h264",
        }
        for sha256, (name, duration_s) in zip("abcdef", names_durations, strict=False)
    ]
    return table_of(rows, VIDEOS)


@given(
    duration_s=st.floats(1, 600),
    last_share=st.floats(0.01, 0.9),
    guard_s=st.floats(0, 10),
    times=st.lists(st.floats(0, 1), min_size=2),
)
def test_no_training_frame_lies_within_the_guard_of_the_held_out_part(duration_s, last_share, guard_s, times):
    holdout = Holdout(HoldoutParams((), last_share, guard_s), videos(("rec.mp4", duration_s)))
    pts_s = [share * duration_s for share in times]
    parts = {part: [t for t in pts_s if holdout.part_of(VIDEO, t) == part] for part in ("train", "guard", "holdout")}
    assert sum(map(len, parts.values())) == len(pts_s)
    for train_s in parts["train"]:
        assert all(holdout_s - train_s >= guard_s - 1e-9 for holdout_s in parts["holdout"])
    assert all(holdout_s >= duration_s * (1 - last_share) for holdout_s in parts["holdout"])


@pytest.mark.parametrize("start_s", [0.0, 1.4, 3600.0, -2.0])
def test_the_last_share_is_counted_from_the_first_frame(start_s):
    holdout = Holdout(HoldoutParams((), 0.25, 2.0), videos(("rec.ts", 40.0), start_s=start_s))
    assert [holdout.part_of(VIDEO, start_s + pts_s) for pts_s in (0.0, 27.9, 28.1, 29.9, 30.0, 39.9)] == [
        "train",
        "train",
        "guard",
        "guard",
        "holdout",
        "holdout",
    ]


def test_whole_recordings_are_held_out_by_name_with_or_without_suffix():
    table = videos(("rec_00.mp4", 10.0), ("day/rec_01.mp4", 10.0))
    for name in ("rec_01", "rec_01.mp4", "day/rec_01.mp4", "day/rec_01"):
        holdout = Holdout(HoldoutParams((name,), 0.0, 2.0), table)
        assert [holdout.part_of(VIDEO, 9.9), holdout.part_of(OTHER, 0.0)] == ["train", "holdout"]


def test_an_unknown_recording_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match=r"rec_9 not found.*rec_00\.mp4"):
        Holdout(HoldoutParams(("rec_9",), 0.0, 0.0), videos(("rec_00.mp4", 10.0)))


def test_holding_out_everything_is_refused():
    with pytest.raises(ConfigError, match="every recording"):
        Holdout(HoldoutParams(("rec_00",), 0.0, 0.0), videos(("rec_00.mp4", 10.0)))


@pytest.mark.parametrize(("recordings", "share"), [((), 0.0), (("rec",), 0.3)])
def test_neither_or_both_ways_to_hold_out_are_refused(recordings, share):
    with pytest.raises(ValueError, match="exactly one"):
        HoldoutParams(recordings, share, 0.0)


moments = st.lists(
    st.tuples(st.sampled_from([VIDEO, OTHER]), st.floats(0, 60), st.sampled_from(["screw", "wipe", "NG"])),
    min_size=4,
    max_size=60,
)


@given(moments=moments, block_s=st.floats(0.5, 20), guard_share=st.floats(0, 1), seed=st.integers(0, 5))
def test_no_training_frame_lies_within_the_guard_of_a_validation_frame(moments, block_s, guard_share, seed):
    params = ValidationParams(0.3, "time", block_s, guard_share * block_s)
    assume(len({(sha256, t // block_s) for sha256, t, _ in moments}) > 1)
    blocks = choose_validation(moments, params, seed)
    split = {name: [m for m in moments if blocks.split_of(m[0], m[1]) == name] for name in ("train", "val", "guard")}
    assert split["val"]
    for video, train_s, _ in split["train"]:
        assert all(abs(train_s - val_s) >= params.guard_s - 1e-6 for other, val_s, _ in split["val"] if other == video)
    placed = {name: [Frame(video, t, "a frame") for video, t, _ in split[name]] for name in ("train", "val")}
    assume(not {frame[:2] for frame in placed["train"]} & {frame[:2] for frame in placed["val"]})
    refuse_near_frames(placed["train"], placed["val"], ("train", "val"), params.guard_s, "s")


@given(moments=moments, seed=st.integers(0, 5), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_moments_does_not_change_the_split(moments, seed, shuffle):
    params = ValidationParams(0.3, "time", 5.0, 1.0)
    assume(len({(sha256, t // 5.0) for sha256, t, _ in moments}) > 1)
    shuffled = list(moments)
    shuffle.shuffle(shuffled)
    assert choose_validation(moments, params, seed) == choose_validation(shuffled, params, seed)


def test_every_label_validates_and_trains_where_it_can():
    rng = np.random.default_rng(0)
    labels = ["screw"] * 60 + ["wipe"] * 30 + ["NG"] * 10
    at_s = np.concatenate([np.sort(rng.uniform(0, 300, labels.count(label))) for label in ("screw", "wipe", "NG")])
    moments = [(VIDEO, float(t), label) for t, label in zip(at_s, labels, strict=True)]
    blocks = choose_validation(moments, ValidationParams(0.2, "time", 5.0, 1.0), 0)
    for label in ("screw", "wipe", "NG"):
        splits = [blocks.split_of(video, t) for video, t, one in moments if one == label]
        assert 0.05 <= splits.count("val") / len(splits) <= 0.5
        assert splits.count("train") / len(splits) > 0.4


def test_whole_recordings_validate_where_enough_train():
    moments = [(letter * 64, float(t), "screw") for letter in "abcd" for t in range(20)]
    blocks = choose_validation(moments, ValidationParams(0.25, "auto", 5.0, 1.0), 0)
    of_recording = [{blocks.split_of(letter * 64, float(t)) for t in range(20)} for letter in "abcd"]
    assert all(len(splits) == 1 for splits in of_recording)
    assert sum(splits == {"val"} for splits in of_recording) == 1


def test_one_block_alone_cannot_be_split():
    with pytest.raises(InputError, match="at least two blocks of 5 s"):
        choose_validation([(VIDEO, 1.0, "screw"), (VIDEO, 2.0, "wipe")], ValidationParams(0.3, "auto", 5.0, 1.0), 0)


def frames(times_of_recording):
    return [Frame(video, at, f"{video[:1]}-{at:g}") for video, times in times_of_recording.items() for at in times]


@pytest.mark.parametrize(
    ("times_b", "gap", "named"),
    [
        ({VIDEO: [3.4, 9.0], OTHER: [1.0]}, 0.5, r"a-3 \(at 3\) and a-3\.4 \(at 3\.4\) .* 0\.4 s apart; .* 0\.5"),
        ({VIDEO: [1.2, 3.1]}, 0.5, r"a-3 \(at 3\) and a-3\.1"),  # the nearest of several
        ({VIDEO: [1.0]}, 0.0, ".* 0 s apart"),  # a shared moment leaks without any guard
        ({VIDEO: [0.9], OTHER: [5.0]}, 0.11, r"a-1 .* and a-0\.9"),
    ],
)
def test_a_leak_names_the_nearest_pair(times_b, gap, named):
    with pytest.raises(InputError, match=f"training and validation leak: {named}"):
        refuse_near_frames(frames({VIDEO: [1.0, 3.0]}), frames(times_b), ("training", "validation"), gap, "s")


@pytest.mark.parametrize("times_b", [{}, {OTHER: [1.0, 3.0]}, {VIDEO: [1.5, 2.5, 3.5]}, {VIDEO: []}])
def test_what_is_far_apart_or_of_another_recording_passes(times_b):
    refuse_near_frames(frames({VIDEO: [1.0, 3.0]}), frames(times_b), ("training", "validation"), 0.5, "s")
