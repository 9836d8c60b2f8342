"""COCO's mAP beside pycocotools', on generated boxes."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lineact.metrics import ScoredFrame, average_precision, coco_map


def by_pycocotools(frames: list[ScoredFrame]) -> float:
    """Average precision at IoU 0.50:0.95, all areas, 100 boxes; -1 without a true box."""
    images = [{"id": number, "width": 100, "height": 100} for number in range(1, len(frames) + 1)]
    truth = [
        annotation(number, box, {}) for number, frame in enumerate(frames, 1) for box in frame.truth_xyxy_px.tolist()
    ]
    found = [
        annotation(number, box, {"score": float(score)})
        for number, frame in enumerate(frames, 1)
        for box, score in zip(frame.boxes_xyxy_px.tolist(), frame.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco_of(images, truth), coco_of(images, found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def annotation(image_id, box_xyxy_px, extra):
    x1, y1, x2, y2 = box_xyxy_px
    width, height = x2 - x1, y2 - y1
    box = {"bbox": [x1, y1, width, height], "area": width * height, "iscrowd": 0}
    return {"image_id": image_id, "category_id": 1} | box | extra


def coco_of(images, annotations):
    coco = COCO()
    numbered = [{"id": number} | row for number, row in enumerate(annotations, 1)]
    coco.dataset = {"images": images, "categories": [{"id": 1, "name": "hand"}], "annotations": numbered}
    coco.createIndex()
    return coco


@st.composite
def boxes(draw, max_count):
    """Boxes with corners on few whole pixels: many of them overlap alike, and some are the same."""
    corner, side = st.integers(0, 8), st.integers(1, 12)
    rows = draw(st.lists(st.tuples(corner, corner, side, side), max_size=max_count))
    placed = np.array(rows, np.float64).reshape(-1, 4)
    return np.concatenate([placed[:, :2], placed[:, :2] + placed[:, 2:]], axis=1)


@st.composite
def frames(draw):
    """Frames of up to 7 hands, some empty, with boxes at the hands or anywhere, duplicates and equal scores."""
    result = []
    for _ in range(draw(st.integers(0, 4))):
        truth, elsewhere = draw(boxes(7)), draw(boxes(4))
        at_hands = draw(st.lists(st.integers(0, len(truth) - 1), max_size=9)) if len(truth) else []
        moved = draw(st.lists(st.integers(-1, 1), min_size=2 * len(at_hands), max_size=2 * len(at_hands)))
        offsets = np.tile(np.array(moved, np.float64).reshape(-1, 2), 2)
        found = np.concatenate([truth[at_hands] + offsets, elsewhere])
        score = st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9])
        scores = draw(st.lists(score, min_size=len(found), max_size=len(found)))
        result.append(ScoredFrame(found, np.array(scores, np.float64), truth))
    return result


@settings(max_examples=200)
@given(frames())
def test_it_is_what_pycocotools_says(drawn):
    value = coco_map(drawn)
    assert by_pycocotools(drawn) == (-1 if value is None else pytest.approx(value, abs=1e-9))


@pytest.mark.parametrize("seed", range(3))
def test_crowded_frames_count_their_hundred_surest_boxes(seed):
    """150 boxes of 60 hands a frame, in fractions of pixels, beside frames with boxes or hands alone."""
    rng = np.random.default_rng(seed)
    none = np.zeros((0, 4))
    drawn = [ScoredFrame(none, np.zeros(0), none), ScoredFrame(scattered(rng, 5), rng.random(5), none)]
    drawn.append(ScoredFrame(none, np.zeros(0), scattered(rng, 5)))
    for _ in range(4):
        truth = scattered(rng, 60)
        near = truth[rng.integers(0, 60, 110)] + rng.normal(0, 1.5, (110, 4))
        drawn.append(ScoredFrame(np.concatenate([near, scattered(rng, 40)]), rng.random(150).round(2), truth))
    value = coco_map(drawn)
    assert by_pycocotools(drawn) == pytest.approx(value, abs=1e-9)
    assert value is not None
    assert 0.02 < value < 0.9
    surest = [frame.scores >= (np.sort(frame.scores)[-100] if len(frame.scores) > 100 else 0) for frame in drawn]
    fewer = [
        ScoredFrame(frame.boxes_xyxy_px[rows], frame.scores[rows], frame.truth_xyxy_px)
        for frame, rows in zip(drawn, surest, strict=True)
    ]
    assert coco_map(fewer) == pytest.approx(value)  # the weaker ones change nothing


def scattered(rng, count):
    corners = rng.uniform(0, 400, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(15, 40, (count, 2))], axis=1)


def test_it_is_undefined_without_hands_and_nothing_without_boxes():
    none, hand = np.zeros((0, 4)), np.array([[0.0, 0.0, 10.0, 10.0]])
    assert coco_map([]) is None
    assert coco_map([ScoredFrame(hand, np.ones(1), none)]) is None
    assert coco_map([ScoredFrame(none, np.zeros(0), hand)]) == 0.0


def test_of_hands_that_it_overlaps_alike_a_box_takes_the_last():
    """Where two hands overlap the surest box by 0.6, the second box finds its own hand taken."""
    hands = np.array([[0.0, 0.0, 8.0, 10.0], [4.0, 0.0, 12.0, 10.0]])
    for other in hands:
        frame = ScoredFrame(np.array([[2.0, 0.0, 10.0, 10.0], other]), np.array([0.9, 0.8]), hands)
        assert by_pycocotools([frame]) == pytest.approx(coco_map([frame]), abs=1e-9)


def test_a_box_counts_at_the_overlaps_it_reaches():
    """IoU 0.8: right at 0.50, 0.55, ... 0.80, which are seven of ten."""
    frame = ScoredFrame(np.array([[0.0, 0.0, 8.0, 10.0]]), np.ones(1), np.array([[0.0, 0.0, 10.0, 10.0]]))
    assert coco_map([frame]) == pytest.approx(0.7)
    assert average_precision([frame], 0.5) == 1.0
