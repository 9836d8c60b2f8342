"""A recognised frame as a picture: boxes, hand numbers and actions."""

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from lineact.privacy import Blur
from lineact.runtime.results import FrameResult

if TYPE_CHECKING:
    import av

COLOURS_RGB = ((255, 196, 0), (0, 200, 255), (255, 96, 160), (140, 230, 80), (190, 140, 255), (255, 140, 60))
NG_RGB = (170, 170, 170)
INK_RGB = (0, 0, 0)


class Overlay:
    """Draws results, scaled down. For one thread.

    Args:
        long_side_px: pictures get no larger than this.
        labels: of the classifier; each has its own colour.
        blur: what must not be recognised; None for a picture that is only shown.
    """

    def __init__(self, long_side_px: int, labels: tuple[str, ...], blur: Blur | None = None) -> None:
        from av.video.reformatter import VideoReformatter

        self._long_side_px = long_side_px
        self._blur = blur
        actions = [label for label in labels if label != "NG"]
        self._colours_rgb = {label: COLOURS_RGB[row % len(COLOURS_RGB)] for row, label in enumerate(actions)}
        self._reformatter = VideoReformatter()  # a frame's own one may be at work in another thread

    def draw(self, result: FrameResult) -> np.ndarray:
        """The frame with its hands.

        Returns:
            uint8, H x W x 3, RGB; height and width are even, as most encoders want it.
        """
        import cv2

        frame = result.frame
        scale = min(self._long_side_px / max(frame.width_px, frame.height_px), 1.0)
        width, height = (max(round(side * scale / 2) * 2, 2) for side in (frame.width_px, frame.height_px))
        image_rgb = self._scaled(frame.picture, width, height)
        if self._blur:
            image_rgb = self._blur.apply(image_rgb, (0, 0, width, height), (width, height))
        for hand in result.hands:
            x1, y1, x2, y2 = (round(value * scale) for value in hand.box_xyxy_px)
            colour_rgb = self._colours_rgb.get(hand.action, NG_RGB)
            cv2.rectangle(image_rgb, (x1, y1), (x2, y2), colour_rgb, 2)
            _write(image_rgb, f"{hand.hand_id} {hand.action} {hand.confidence:.2f}", (x1, y1), colour_rgb)
        latency_ms = 1000 * (result.done_s - frame.arrived_s)
        _write(image_rgb, f"{frame.pts_s:.2f} s, latency {latency_ms:.0f} ms", (0, height - 1), (255, 255, 255))
        return image_rgb

    def _scaled(self, picture: "av.VideoFrame | np.ndarray", width: int, height: int) -> np.ndarray:
        import cv2

        if isinstance(picture, np.ndarray):
            return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return self._reformatter.reformat(picture, width, height, "rgb24").to_ndarray()


def _write(image_rgb: np.ndarray, words: str, corner_xy: tuple[int, int], colour_rgb: tuple[int, int, int]) -> None:
    """Writes on a plate whose lower left corner is given, inside the picture."""
    import cv2

    shown = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()  # OpenCV's fonts have no others
    (width, height), below = cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    left = min(max(corner_xy[0], 0), max(image_rgb.shape[1] - width, 0))
    bottom = max(corner_xy[1], height + below)
    cv2.rectangle(image_rgb, (left, bottom - height - below), (left + width, bottom), colour_rgb, cv2.FILLED)
    cv2.putText(image_rgb, shown, (left, bottom - below // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK_RGB, 1, cv2.LINE_AA)
