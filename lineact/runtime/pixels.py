"""What the networks need of a picture, read from the decoder's planes: the whole picture is never converted to RGB.

Scaling comes before the conversion of colours. Both are linear, so the order matters only where values are cut off.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lineact.boxes import Square, cut_square, square_around
from lineact.bundle.processing import Placement, fit_into, on_grey, place

if TYPE_CHECKING:
    import av

PLANAR = frozenset(
    {"yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"}  # 8 bits, one plane each for Y, U and V
)
FULL_RANGE = 2  # AVCOL_RANGE_JPEG: 0 to 255, in place of 16 to 235
WEIGHTS = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}  # AVColorSpace (BT.709, BT.2020) -> share of red, of blue in Y
WEIGHTS_BT601 = (0.299, 0.114)  # of all others, and where nothing is told, as FFmpeg has it


class Pixels:
    """A picture, read where it lies.

    Args:
        picture: as decoded, or uint8, H x W x 3, RGB. What is decoded to other than 8-bit planes of Y, U and V is
            converted whole.
    """

    def __init__(self, picture: "av.VideoFrame | np.ndarray") -> None:
        self._planes: list[np.ndarray] = []
        if isinstance(picture, np.ndarray):
            self._image_rgb = picture
        elif picture.format.name in PLANAR:
            self._planes = [
                np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
                for plane in picture.planes
            ]
            full_range = picture.format.name.startswith("yuvj") or picture.color_range == FULL_RANGE
            self._to_rgb = _rgb_matrix(int(picture.colorspace), full_range)
        else:
            self._image_rgb = picture.to_ndarray(format="rgb24")
        height, width = (self._planes[0] if self._planes else self._image_rgb).shape[:2]
        self.size_wh = (width, height)

    def fitted(self, input_wh: tuple[int, int]) -> tuple[np.ndarray, Placement]:
        """The detector's input; see `lineact.bundle.processing.fit_into`, from which it differs by rounding."""
        import cv2

        if not self._planes:
            return fit_into(self._image_rgb, input_wh)
        placement = place(self.size_wh, input_wh)
        scaled = [cv2.resize(plane, placement.fitted_wh, interpolation=cv2.INTER_LINEAR) for plane in self._planes]
        return on_grey(cv2.transform(cv2.merge(scaled), self._to_rgb), placement, input_wh), placement

    def grey(self, size_wh: tuple[int, int]) -> np.ndarray:
        """Its brightness, scaled: uint8, H x W; black and white are where the source has them."""
        import cv2

        grey = self._planes[0] if self._planes else cv2.cvtColor(self._image_rgb, cv2.COLOR_RGB2GRAY)
        return cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA)

    def crop(self, box_xyxy_px: np.ndarray, context: float, side_px: int) -> "Crop":
        """The square around a box; its colours are read where somebody asks for them.

        Args:
            box_xyxy_px: 4 numbers.
            context: see `lineact.boxes.square_around`.
            side_px: side of the result.
        """
        square = square_around(box_xyxy_px, context)
        if self._planes:
            luma = _cut(self._planes[0], (1, 1), square, side_px)
            return Crop(luma, functools.partial(self._colour, luma, square))
        image_rgb = cut_square(self._image_rgb, square, side_px)
        return Crop(image_rgb[..., 1], lambda: image_rgb)

    def _colour(self, luma: np.ndarray, square: Square) -> np.ndarray:
        import cv2

        scaled = [luma]
        for plane in self._planes[1:]:
            per_xy = -(-self.size_wh[0] // plane.shape[1]), -(-self.size_wh[1] // plane.shape[0])
            scaled.append(_cut(plane, per_xy, square, len(luma)))
        return cv2.transform(cv2.merge(scaled), self._to_rgb)


class Crop(NamedTuple):
    """A square around a hand.

    Attributes:
        grey: uint8, S x S, its brightness.
        rgb: gives it as `lineact.boxes.crop_square` would, up to a few grey levels: uint8, S x S x 3.
    """

    grey: np.ndarray
    rgb: Callable[[], np.ndarray]


def _cut(plane: np.ndarray, per_xy: tuple[int, int], square: Square, side_px: int) -> np.ndarray:
    """The square out of a plane that may be smaller than the picture: to whole pixels of the plane.

    Args:
        plane: uint8, H x W.
        per_xy: pixels of the picture per pixel of the plane.
        square: in pixels of the picture.
        side_px: side of the result.
    """
    left, top = round(square[0] / per_xy[0]), round(square[1] / per_xy[1])
    right, bottom = max(round(square[2] / per_xy[0]), left + 1), max(round(square[3] / per_xy[1]), top + 1)
    return cut_square(plane, (left, top, right, bottom), side_px, halve=True)


@functools.cache
def _rgb_matrix(colour_space: int, full_range: bool) -> np.ndarray:
    """From Y, U, V to R, G, B: float32, 3 x 4, the last column is added.

    With Y = r R + g G + b B (ITU-R BT.601 and others): R = Y + 2 (1 - r) V, B = Y + 2 (1 - b) U, where U and V are
    centred on 128 and reach half as far as Y.
    """
    red, blue = WEIGHTS.get(colour_space, WEIGHTS_BT601)
    green = 1 - red - blue
    luma_scale, colour_scale, black = (1.0, 1.0, 0.0) if full_range else (255 / 219, 255 / 224, 16.0)
    u_to_b, v_to_r = 2 * (1 - blue) * colour_scale, 2 * (1 - red) * colour_scale
    matrix = np.array(
        [
            [luma_scale, 0, v_to_r],
            [luma_scale, -u_to_b * blue / green, -v_to_r * red / green],
            [luma_scale, u_to_b, 0],
        ]
    )
    return np.column_stack([matrix, -matrix @ (black, 128, 128)]).astype(np.float32)
