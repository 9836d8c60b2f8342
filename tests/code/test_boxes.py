"""Geometry of boxes."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lineact.boxes import area, crop_square, iou_matrix, match_one_to_one, square_around

COORDINATES = st.floats(-500, 500, width=32)


@st.composite
def boxes(draw, most=5):
    count = draw(st.integers(0, most))
    corners = draw(arrays.arrays(np.float64, (count, 2, 2), elements=COORDINATES))
    return np.concatenate([corners.min(1), corners.max(1)], axis=1)


@given(boxes(), boxes())
def test_iou_is_symmetric_and_within_bounds(a, b):
    iou = iou_matrix(a, b)
    assert iou.shape == (len(a), len(b))
    assert (iou >= 0).all()
    assert (iou <= 1 + 1e-9).all()
    np.testing.assert_allclose(iou, iou_matrix(b, a).T, atol=1e-12)


@given(boxes())
def test_a_box_covers_itself(a):
    np.testing.assert_allclose(np.diag(iou_matrix(a, a)), np.where(area(a) > 0, 1.0, 0.0), atol=1e-9)


@given(boxes(), boxes(), st.floats(-100, 100), st.floats(0.1, 10))
def test_iou_does_not_depend_on_place_or_scale(a, b, shift, scale):
    far, near = iou_matrix(a, b), iou_matrix((a + shift) * scale, (b + shift) * scale)
    big = np.minimum(area(a)[:, None], area(b)[None]) > 1.0  # smaller ones lose their digits
    np.testing.assert_allclose(far[big], near[big], atol=1e-6)


def test_iou_of_known_boxes():
    a = np.array([[0, 0, 10, 10]])
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]])
    np.testing.assert_allclose(iou_matrix(a, b), [[1, 1 / 3, 0, 0.04]])


def test_turned_over_boxes_have_no_area():
    assert area(np.array([[5.0, 0.0, 1.0, 10.0], [0.0, 0.0, 2.0, 3.0]])).tolist() == [0.0, 6.0]


matrices = arrays.arrays(
    np.float64, st.tuples(st.integers(0, 4), st.integers(0, 4)), elements=st.floats(0, 1, allow_subnormal=False)
)


@given(matrices, st.floats(0.05, 0.95))
def test_matching_is_one_to_one_and_the_best_there_is(iou, min_iou):
    pairs = match_one_to_one(iou, min_iou)
    rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
    assert rows == sorted(set(rows))
    assert len(set(columns)) == len(columns)
    assert all(iou[pair] >= min_iou for pair in pairs)
    assert abs(sum(iou[pair] for pair in pairs) - best_sum(iou, min_iou)) < 1e-9


def best_sum(iou, min_iou):
    """The greatest sum of eligible pairs, by trying all assignments."""
    if iou.shape[0] > iou.shape[1]:
        iou = iou.T
    eligible = np.where(iou >= min_iou, iou, 0.0)
    orders = itertools.permutations(range(iou.shape[1]), iou.shape[0])
    return max(sum(eligible[row, column] for row, column in enumerate(order)) for order in orders)


@given(boxes(most=1).filter(len), st.floats(1, 3))
def test_the_square_holds_its_box(found, context):
    x1, y1, x2, y2 = square_around(found[0], context)
    assert x2 - x1 == y2 - y1 >= 1
    centre = (found[0, :2] + found[0, 2:]) / 2
    np.testing.assert_allclose([(x1 + x2) / 2, (y1 + y2) / 2], centre, atol=1.0)
    assert x2 - x1 >= np.floor((found[0, 2:] - found[0, :2]).max() * context)


@given(boxes(most=1).filter(len), st.floats(0.5, 3), st.integers(1, 64))
def test_a_crop_has_its_size_wherever_the_box_lies(found, context, side_px):
    image = np.full((40, 60, 3), 128, np.uint8)
    crop = crop_square(image, found[0], context, side_px)
    assert crop.shape == (side_px, side_px, 3)
    assert crop.dtype == np.uint8
    assert (crop == 128).all()


def test_a_crop_is_the_picture_around_the_box():
    image = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)
    np.testing.assert_array_equal(crop_square(image, np.array([10, 5, 20, 15]), 1.0, 10), image[5:15, 10:20])


def test_beyond_the_border_its_pixels_repeat():
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, 0] = 200
    crop = crop_square(image, np.array([-10, 0, 10, 20]), 1.0, 20)
    assert (crop[:, :11] == 200).all()
    assert (crop[:, 11:] == 0).all()
