"""What a camera does to a picture: soft shadows, blur of moving things, lighting drift and sensor noise."""

import cv2
import numpy as np


def cast_shadows(image_rgb: np.ndarray, outlines: list[np.ndarray], strength: float, softness_px: float) -> None:
    """Darkens the picture softly below outlines, in place.

    Args:
        image_rgb: uint8, H x W x 3.
        outlines: each N x 2 pixels, already moved to where the shadow falls.
        strength: 0 to 1.
        softness_px: sigma of the blur.
    """
    if not outlines:
        return
    height, width = image_rgb.shape[:2]
    points = np.concatenate(outlines)
    margin = 3 * softness_px
    x1, y1 = np.clip(points.min(0) - margin, 0, [width, height]).astype(int)
    x2, y2 = np.clip(points.max(0) + margin + 1, 0, [width, height]).astype(int)
    if x2 - x1 < 4 or y2 - y1 < 4:
        return
    shrink = 4
    shadow = np.zeros(((y2 - y1) // shrink + 1, (x2 - x1) // shrink + 1), np.uint8)
    for outline in outlines:
        cv2.fillPoly(shadow, [np.rint((outline - [x1, y1]) * 8 / shrink).astype(np.int32)], 255, cv2.LINE_AA, 3)
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(softness_px / shrink, 0.6))
    part = image_rgb[y1:y2, x1:x2]
    gain = cv2.resize(shadow, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    gain = cv2.convertScaleAbs(gain, alpha=-strength, beta=255)
    cv2.multiply(part, cv2.merge([gain] * 3), dst=part, scale=1 / 255)


def blur_moving(image_rgb: np.ndarray, mask: np.ndarray, step_xy_px: np.ndarray) -> None:
    """Smears what moves along its path during the exposure, in place.

    Args:
        image_rgb: uint8, H x W x 3.
        mask: bool, H x W: what moves.
        step_xy_px: path during the exposure; below 1.5 pixels nothing happens.
    """
    length = float(np.linalg.norm(step_xy_px))
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if length < 1.5 or not width:
        return
    taps = min(int(length) | 1, 31)
    kernel = np.zeros((taps, taps), np.float32)
    centre = (taps - 1) / 2
    reach = step_xy_px / length * centre
    ends = np.rint(np.array([centre - reach, centre + reach])).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0)
    kernel /= kernel.sum()
    x1, y1 = max(x - taps, 0), max(y - taps, 0)
    x2, y2 = min(x + width + taps, mask.shape[1]), min(y + height + taps, mask.shape[0])
    part = image_rgb[y1:y2, x1:x2]
    alpha = cv2.filter2D(mask[y1:y2, x1:x2].view(np.uint8) * 255, -1, kernel)
    alpha = cv2.merge([cv2.dilate(alpha, np.ones((3, 3), np.uint8))] * 3)
    smeared = cv2.multiply(cv2.filter2D(part, -1, kernel), alpha, scale=1 / 255)
    part[:] = cv2.add(smeared, cv2.multiply(part, cv2.bitwise_not(alpha), scale=1 / 255))


class SensorNoise:
    """Grain from a bank of noise, a new piece for each picture."""

    def __init__(self, generator: np.random.Generator, size_wh: tuple[int, int], sigma: float) -> None:
        """Fills the bank.

        Args:
            generator: source of randomness.
            size_wh: size of the pictures.
            sigma: standard deviation, grey levels.
        """
        width, height = size_wh
        self._size_wh = size_wh
        grain = generator.normal(0, sigma, (height + 64, width + 64, 3)).astype(np.float32)
        self._brighter = np.clip(np.rint(grain), 0, 255).astype(np.uint8)
        self._darker = np.clip(np.rint(-grain), 0, 255).astype(np.uint8)

    def add(self, image_rgb: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The picture with grain."""
        x, y = generator.integers(0, 64, 2)
        width, height = self._size_wh
        brighter = self._brighter[y : y + height, x : x + width]
        return cv2.subtract(cv2.add(image_rgb, brighter), self._darker[y : y + height, x : x + width])


def relight(image_rgb: np.ndarray, gains_rgb: np.ndarray) -> np.ndarray:
    """The picture with each channel scaled."""
    table = np.clip(np.arange(256)[:, None] * gains_rgb[None], 0, 255).astype(np.uint8)[None]  # 1 x 256 x 3
    return cv2.LUT(image_rgb, table)
