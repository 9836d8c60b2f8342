"""Pairs of crops a moment apart: against all pairs, one by one."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.boxes import iou_matrix
from lineact.dataset.moments import SAME_PLACE_IOU, a_moment_apart

SIDES = ("x1", "y1", "x2", "y2")


def crops_and_boxes(seed, count):
    """Crops in two recordings, a few at the same time, in no order; the boxes' table is in another order."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 30, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 25, (count, 2))], axis=1).astype(float)
    crops = {
        "video_sha256": rng.choice(["a" * 64, "b" * 64], count).tolist(),
        "pts_s": (rng.integers(0, 12, count) / 4).tolist(),
        "box_id": [f"box {number}" for number in range(count)],
    }
    columns = crops | {side: boxes[:, place] for place, side in enumerate(SIDES)}
    table = pa.table(columns).take(rng.permutation(count))
    return pa.table(crops), table, boxes


@given(st.integers(0, 10**6), st.integers(1, 25), st.sampled_from([0.0, 0.25, 0.6, 10.0]))
def test_pairs_are_of_one_recording_near_in_time_and_place(seed, count, moment_s):
    crops, table, boxes = crops_and_boxes(seed, count)
    rows = crops.to_pylist()
    iou = iou_matrix(boxes, boxes)
    expected = {
        (this, other)
        for this, a in enumerate(rows)
        for other, b in enumerate(rows)
        if a["video_sha256"] == b["video_sha256"]
        and 0 < abs(a["pts_s"] - b["pts_s"]) <= moment_s + 1e-6
        and iou[this, other] >= SAME_PLACE_IOU
    }
    pairs = a_moment_apart(crops, table, moment_s)
    assert len(pairs) == len(expected)
    assert {tuple(pair) for pair in pairs.tolist()} == expected


@pytest.mark.parametrize("fps", [5, 10, 25, 30])
def test_an_hour_later_the_same_crops_are_a_moment_apart(fps):
    boxes = pa.table(
        {"box_id": [f"box {n}" for n in range(60)]} | {side: [(0.0, 9.0)[n > 1]] * 60 for n, side in enumerate(SIDES)}
    )

    def pairs(start_s):
        times = {"pts_s": [start_s + n / fps for n in range(60)]}
        return a_moment_apart(
            pa.table({"video_sha256": ["a" * 64] * 60, "box_id": boxes["box_id"]} | times), boxes, 0.6
        )

    assert len(pairs(0.0)) == 2 * sum(60 - step for step in range(1, round(0.6 * fps) + 1))
    assert pairs(0.0).tolist() == pairs(3600.1).tolist()


def test_no_crops_no_pairs():
    crops, table, _ = crops_and_boxes(0, 3)
    assert a_moment_apart(crops.slice(0, 0), table, 1.0).shape == (0, 2)
