"""What the networks need of a picture, read from the decoder's planes: the whole picture is never converted to RGB.

Scaling comes before the conversion of colours. Both are linear, so the order matters only where values are cut off.
"""

import functools
from typing import TYPE_CHECKING

import numpy as np

from lineact.boxes import cut_square, square_around
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

    def crops(self, boxes_xyxy_px: np.ndarray, context: float, side_px: int) -> np.ndarray:
        """The squares around boxes; see `lineact.boxes.crop_square`, from which they differ by rounding.

        Args:
            boxes_xyxy_px: N x 4.
            context: see `lineact.boxes.square_around`.
            side_px: side of the results.

        Returns:
            uint8, N x side_px x side_px x 3, RGB.
        """
        crops = np.empty((len(boxes_xyxy_px), side_px, side_px, 3), np.uint8)
        for row, box_xyxy_px in enumerate(boxes_xyxy_px):
            square = square_around(box_xyxy_px, context)
            crops[row] = self._crop(square, side_px) if self._planes else cut_square(self._image_rgb, square, side_px)
        return crops

    def _crop(self, square: tuple[int, int, int, int], side_px: int) -> np.ndarray:
        import cv2

        scaled = []
        for plane in self._planes:
            # In the smaller colour planes to whole pixels of theirs: at most one pixel of the picture beside it.
            per_x, per_y = -(-self.size_wh[0] // plane.shape[1]), -(-self.size_wh[1] // plane.shape[0])
            left, top = round(square[0] / per_x), round(square[1] / per_y)
            right, bottom = max(round(square[2] / per_x), left + 1), max(round(square[3] / per_y), top + 1)
            scaled.append(cut_square(plane, (left, top, right, bottom), side_px))
        return cv2.transform(cv2.merge(scaled), self._to_rgb)


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
