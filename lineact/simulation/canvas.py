"""Drawing with sub-pixel positions and simple shading, and knowing afterwards which thing is seen at each pixel."""

from dataclasses import dataclass, field

import cv2
import numpy as np

_SHIFT = 3  # fixed-point bits of OpenCV's sub-pixel coordinates
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 25)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 25)[:-1])], 1)
_HALF = np.linspace(-np.pi / 2, np.pi / 2, 7)

Colour = tuple[float, float, float]

NOBODY = 0


@dataclass
class Canvas:
    """A picture under construction.

    Attributes:
        image_rgb: uint8, H x W x 3.
        owner: uint8, H x W: id of the thing seen at each pixel.
        pen: id that the next strokes get.
        light_xy: unit vector towards the light, for shading.
    """

    image_rgb: np.ndarray
    owner: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    pen: int = NOBODY
    light_xy: tuple[float, float] = (-0.6, -0.8)

    def __post_init__(self) -> None:
        if self.owner.shape != self.image_rgb.shape[:2]:
            self.owner = np.zeros(self.image_rgb.shape[:2], np.uint8)

    def polygon(self, points_xy: np.ndarray, colour: Colour, *, convex: bool = True) -> None:
        """Fills a polygon.

        Args:
            points_xy: N x 2, pixels.
            colour: RGB, 0 to 255.
            convex: whether it is convex (faster).
        """
        points = np.rint(points_xy * (1 << _SHIFT)).astype(np.int32)
        value = shade(colour, 1.0)
        if convex:
            cv2.fillConvexPoly(self.image_rgb, points, value, cv2.LINE_AA, _SHIFT)
            cv2.fillConvexPoly(self.owner, points, self.pen, cv2.LINE_8, _SHIFT)
        else:
            cv2.fillPoly(self.image_rgb, [points], value, cv2.LINE_AA, _SHIFT)
            cv2.fillPoly(self.owner, [points], self.pen, cv2.LINE_8, _SHIFT)

    def line(self, points_xy: np.ndarray, colour: Colour, width_px: float) -> None:
        """Draws an open line on top, which changes no owner.

        Args:
            points_xy: N x 2, pixels.
            colour: RGB.
            width_px: at least 1 is drawn.
        """
        points = np.rint(points_xy * (1 << _SHIFT)).astype(np.int32)
        width = max(1, round(width_px))
        cv2.polylines(self.image_rgb, [points], False, shade(colour, 1.0), width, cv2.LINE_AA, _SHIFT)

    def rod(self, start_xy: np.ndarray, end_xy: np.ndarray, radii_px: tuple[float, float], colour: Colour) -> None:
        """Draws a rounded, shaded bar, as a finger or a handle is.

        Args:
            start_xy: 2, pixels.
            end_xy: 2, pixels.
            radii_px: at start and end.
            colour: RGB in the light.
        """
        offset = np.array(self.light_xy) * min(radii_px)
        for share, move, gain in ((1.0, 0.0, 0.62), (0.84, 0.06, 0.93), (0.5, 0.26, 1.1)):
            radii = (radii_px[0] * share, radii_px[1] * share)
            outline = capsule(start_xy + offset * move, end_xy + offset * move, radii)
            self.polygon(outline, shade(colour, gain))

    def disc(self, centre_xy: np.ndarray, radius_px: float, colour: Colour) -> None:
        """Fills a circle with a darker rim."""
        self.polygon(centre_xy + _CIRCLE * radius_px, shade(colour, 0.68))
        self.polygon(centre_xy + _CIRCLE * radius_px * 0.86, colour)

    def slab(self, points_xy: np.ndarray, colour: Colour, edge_px: float) -> None:
        """Fills a flat convex thing with a darker edge and a lit one."""
        centre = points_xy.mean(0)
        self.polygon(points_xy, shade(colour, 0.6))
        size = np.maximum(np.linalg.norm(points_xy - centre, axis=1, keepdims=True), 1e-6)
        inner = centre + (points_xy - centre) * np.clip(1 - edge_px / size, 0.3, 1)
        self.polygon(inner + np.array(self.light_xy) * edge_px * 0.3, colour)


def shade(colour: Colour, gain: float) -> Colour:
    """A colour made darker or brighter, within 0 to 255."""
    return (
        min(max(colour[0] * gain, 0.0), 255.0),
        min(max(colour[1] * gain, 0.0), 255.0),
        min(max(colour[2] * gain, 0.0), 255.0),
    )


def capsule(start_xy: np.ndarray, end_xy: np.ndarray, radii_px: tuple[float, float]) -> np.ndarray:
    """Outline of a bar with round ends, N x 2 pixels."""
    direction = np.arctan2(end_xy[1] - start_xy[1], end_xy[0] - start_xy[0])
    at_end = _HALF + direction
    at_start = at_end + np.pi
    tip = np.stack([np.cos(at_end), np.sin(at_end)], 1) * radii_px[1] + end_xy
    tail = np.stack([np.cos(at_start), np.sin(at_start)], 1) * radii_px[0] + start_xy
    return np.concatenate([tip, tail])


def turned(points_xy: np.ndarray, origin_xy: np.ndarray, angle_rad: float, scale: float) -> np.ndarray:
    """Points of a thing's own frame (x along the angle, y to its right) in pixels.

    Args:
        points_xy: N x 2.
        origin_xy: where the thing's origin is, pixels.
        angle_rad: direction of the thing's x axis; y down, so positive turns clockwise.
        scale: pixels per unit.

    Returns:
        N x 2, pixels.
    """
    cosine, sine = np.cos(angle_rad) * scale, np.sin(angle_rad) * scale
    return np.asarray(points_xy, float) @ np.array([[cosine, sine], [-sine, cosine]]) + origin_xy
