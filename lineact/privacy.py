"""Blurs faces and set regions, so that nobody can be told by them. What was blurred cannot be had back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lineact.errors import ConfigError

Region = tuple[float, float, float, float]  # x1, y1, x2, y2 in parts of the picture's width and height
SOUGHT_PX = 480  # longer side of the pictures that faces are sought in
LEAST_FACE_PX = 24  # smallest face there: what the finder was trained on
MARGIN = 0.2  # around a face, of its sides
COARSE = 8  # a blurred part keeps so many values along its longer side


def refuse_regions(regions: Sequence[Region]) -> None:
    """Lets regions through.

    Raises:
        ValueError: where one is none.
    """
    for x1, y1, x2, y2 in regions:
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            raise ValueError(f"expected x1 < x2 and y1 < y2 from 0 to 1, found [{x1:g}, {y1:g}, {x2:g}, {y2:g}]")


class Blur:
    """What must not be recognised in pictures of one camera.

    Args:
        regions: parts of every picture.
        faces: whether faces are sought, too: those seen from the front, of at least a twentieth of the picture's longer
            side, and not all of them. What looks like one is blurred, too.

    Raises:
        ConfigError: where faces are asked for and scikit-image is not installed.
    """

    def __init__(self, regions: Sequence[Region], faces: bool) -> None:
        self._regions = tuple(regions)
        self._faces = _face_finder() if faces else None

    def apply(self, image_rgb: np.ndarray, square: tuple[int, int, int, int], size_wh: tuple[int, int]) -> np.ndarray:
        """The picture, or a part of it, with what must not be recognised blurred.

        Args:
            image_rgb: uint8, H x W x 3: what lies in `square`, at any scale.
            square: its place in the picture, pixels, half-open.
            size_wh: of the whole picture.
        """
        blurred = image_rgb.copy()
        height, width = image_rgb.shape[:2]
        x1, y1, x2, y2 = square
        per_xy = np.array([width / (x2 - x1), height / (y2 - y1)] * 2)
        for region in self._regions:
            corners = (np.array(region) * (size_wh * 2) - (x1, y1, x1, y1)) * per_xy
            _coarsen(blurred, corners)
        for left, top, face_w, face_h in self._found(image_rgb):
            margin_xy = np.array([face_w, face_h] * 2) * MARGIN * (-1, -1, 1, 1)
            _coarsen(blurred, np.array([left, top, left + face_w, top + face_h]) + margin_xy)
        return blurred

    def _found(self, image_rgb: np.ndarray) -> list[np.ndarray]:
        """Faces: left, top, width and height of each, pixels."""
        if self._faces is None:
            return []
        import cv2

        scale = min(SOUGHT_PX / max(image_rgb.shape[:2]), 1.0)
        sought_rgb = cv2.resize(image_rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if min(sought_rgb.shape[:2]) <= LEAST_FACE_PX:
            return []
        found = self._faces.detect_multi_scale(
            img=np.ascontiguousarray(sought_rgb),
            scale_factor=1.2,
            step_ratio=1,
            min_size=(LEAST_FACE_PX, LEAST_FACE_PX),
            max_size=sought_rgb.shape[:2],
        )
        return [np.array([face["c"], face["r"], face["width"], face["height"]]) / scale for face in found]


def _face_finder() -> Any:
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError as error:
        raise ConfigError(
            "privacy.blur_faces (BLUR_FACES): expected scikit-image, which finds faces, found none; "
            "`pip install 'lineact[faces]'`, or name privacy.blur_regions (BLUR_REGIONS)"
        ) from error
    return Cascade(lbp_frontal_face_cascade_filename())


def _coarsen(image_rgb: np.ndarray, corners: np.ndarray) -> None:
    """Leaves a few smooth values of a part, in place."""
    import cv2

    height, width = image_rgb.shape[:2]
    left, top = (int(max(np.floor(value), 0)) for value in corners[:2])
    right, bottom = (int(np.ceil(value)) for value in corners[2:])
    part = image_rgb[top : min(bottom, height), left : min(right, width)]
    if not part.size:
        return
    scale = COARSE / max(part.shape[:2])
    small_wh = max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1)
    small = cv2.resize(part, small_wh, interpolation=cv2.INTER_AREA)
    part[:] = cv2.resize(small, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)
