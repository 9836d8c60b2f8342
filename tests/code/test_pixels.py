"""Pixels: what is read from a decoder's planes is what converting the whole picture would give, up to rounding."""

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.boxes import crop_square
from lineact.bundle.processing import fit_into
from lineact.runtime.pixels import PLANAR, Pixels
from lineact.runtime.stillness import BLOCK_PX, block_means, greatest_change

BT601, BT709, BT2020, UNTOLD = 5, 1, 9, 2
LIMITED, FULL = 1, 2
SIZE_WH = (322, 182)
INPUT_WH = (96, 64)
CONTEXT, SIDE_PX = 1.8, 48
# Grey levels: libswscale cuts off where this rounds, and colours are cut out to whole pixels of their planes.
MEAN_OFF, MOST_OFF = 2.5, 16


def picture(pixel_format, colour_space=UNTOLD, colour_range=LIMITED, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 12, 3), np.uint8)
    smooth = cv2.resize(coarse, SIZE_WH, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(smooth, format="rgb24").reformat(format=pixel_format)
    frame.colorspace, frame.color_range = colour_space, colour_range
    return frame


def assert_close(found, expected):
    off = np.abs(found.astype(int) - expected)
    assert off.mean() <= MEAN_OFF
    assert off.max() <= MOST_OFF


@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("colour_space", [UNTOLD, BT601, BT709, BT2020])
@pytest.mark.parametrize("pixel_format", [*sorted(PLANAR), "nv12", "yuyv422", "gray", "rgb24", "yuv420p10le"])
def test_the_detectors_input_and_crops_are_those_of_the_converted_picture(pixel_format, colour_space, colour_range):
    decoded = picture(pixel_format, colour_space, colour_range)
    image_rgb = decoded.to_ndarray(format="rgb24")
    pixels = Pixels(decoded)
    fitted, placement = pixels.fitted(INPUT_WH)
    expected, expected_placement = fit_into(image_rgb, INPUT_WH)
    assert placement == expected_placement
    assert pixels.size_wh == SIZE_WH
    assert_close(fitted, expected)
    for box in (
        [100.0, 50, 163, 121],
        [-20, -30, 30, 40],
        [290, 150, 322, 182],
        [10, 10, 12, 13],
        [400, 300, 420, 310],
    ):
        expected_crop = crop_square(image_rgb, np.array(box), CONTEXT, SIDE_PX)
        assert_close(pixels.crop(np.array(box), CONTEXT, SIDE_PX).rgb(), expected_crop)


def test_a_wrong_colour_space_would_be_noticed():
    decoded = picture("yuv420p", BT709)
    expected, _ = fit_into(decoded.to_ndarray(format="rgb24"), INPUT_WH)
    decoded.colorspace = BT601
    assert np.abs(Pixels(decoded).fitted(INPUT_WH)[0].astype(int) - expected).max() > MOST_OFF


@given(
    x=st.floats(-50, 370), y=st.floats(-50, 230), width=st.floats(40, 110), height=st.floats(40, 110),
    context=st.floats(1, 2), seed=st.integers(0, 3),
)  # fmt: skip
def test_crops_of_a_hands_size_are_right_anywhere(x, y, width, height, context, seed):
    decoded = picture("yuv420p", seed=seed)
    box = np.array([x, y, x + width, y + height])
    expected = crop_square(decoded.to_ndarray(format="rgb24"), box, context, SIDE_PX)
    assert np.abs(Pixels(decoded).crop(box, context, SIDE_PX).rgb().astype(int) - expected).mean() <= 2 * MEAN_OFF


def test_an_rgb_picture_is_taken_as_it_is():
    image_rgb = picture("rgb24").to_ndarray(format="rgb24")
    pixels = Pixels(image_rgb)
    box = np.array([100.0, 50, 163, 121])
    np.testing.assert_array_equal(pixels.fitted(INPUT_WH)[0], fit_into(image_rgb, INPUT_WH)[0])
    crop = pixels.crop(box, CONTEXT, SIDE_PX)
    np.testing.assert_array_equal(crop.rgb(), crop_square(image_rgb, box, CONTEXT, SIDE_PX))
    assert crop.grey.shape == (SIDE_PX, SIDE_PX)


def test_noise_averages_out_and_a_moved_edge_does_not():
    rng = np.random.default_rng(0)
    still = np.full((192, 320), 100, np.uint8)
    noisy = np.clip(still + rng.normal(0, 4, still.shape), 0, 255).astype(np.uint8)
    moved = still.copy()
    moved[:, : BLOCK_PX // 2] = 180
    assert greatest_change(block_means(still), block_means(still)) == 0
    assert greatest_change(block_means(still), block_means(noisy)) < 3
    assert greatest_change(block_means(still), block_means(moved)) == pytest.approx(40)
