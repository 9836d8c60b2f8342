"""A hand with five jointed fingers in three dimensions, drawn from above.

The hand's own frame: origin at the wrist, x to the hand's right, y along the stretched fingers, z from the back of the
hand towards the camera; a unit is the hand's length. A left hand is a mirrored right hand. Seen from its back, a right
hand's thumb is on the left.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from lineact.simulation.canvas import Canvas, Colour, capsule, shade

# Knuckles, bone lengths and radii of index, middle, ring and little finger, in hand lengths.
_KNUCKLES = np.array([[-0.165, 0.46, 0.0], [-0.055, 0.48, 0.01], [0.06, 0.455, 0.005], [0.16, 0.405, -0.01]])
_BONES = np.array([[0.225, 0.135, 0.095], [0.25, 0.15, 0.1], [0.23, 0.14, 0.1], [0.175, 0.105, 0.09]])
_RADII = np.array([0.058, 0.06, 0.057, 0.05])
_TAPER = np.array([1.0, 0.94, 0.88, 0.78])
_THUMB_ROOT = np.array([-0.11, 0.1, -0.02])
_THUMB_BONES = np.array([0.2, 0.16, 0.13])
_THUMB_RADII = np.array([0.088, 0.072, 0.062, 0.05])
_PALM = np.array(
    [[-0.12, 0.0], [0.12, 0.0], [0.19, 0.16], [0.21, 0.38], [0.17, 0.45], [-0.06, 0.53], [-0.2, 0.5], [-0.2, 0.24]]
)

# Per finger: flexion of the three joints and sideways spread, degrees; then the thumb: away from the index finger,
# under the palm, flexion; then the hand's roll about its own length and its pitch.
_FINGER = 4
_THUMB = 16
_ROLL, _PITCH = 19, 20


def _pose(
    fingers: list[tuple[float, float, float, float]], thumb: tuple[float, float, float], turn: tuple[float, float]
) -> np.ndarray:
    return np.array([*np.ravel(fingers), *thumb, *turn], float)


_CURLED = (78.0, 98.0, 55.0, 0.0)
POSES: dict[str, np.ndarray] = {
    "flat": _pose([(6, 8, 4, -5), (4, 8, 4, -1), (5, 8, 4, 3), (8, 10, 5, 8)], (38, 10, 5), (0, 0)),
    "spread": _pose([(0, 5, 2, -17), (0, 4, 2, -4), (0, 4, 2, 9), (2, 6, 3, 25)], (62, 4, 0), (0, 0)),
    "point": _pose([(8, 6, 4, 0), _CURLED, _CURLED, _CURLED], (28, 45, 45), (10, -8)),
    "fist": _pose([(72, 95, 50, 0)] * 4, (20, 48, 50), (0, -10)),
    "grip": _pose([(48, 68, 35, -2), (55, 72, 38, 0), (60, 75, 40, 2), (64, 76, 40, 5)], (34, 52, 25), (38, -12)),
    "pinch": _pose([(52, 42, 18, 0), (40, 50, 25, 0), (30, 45, 22, 3), (24, 40, 20, 6)], (26, 58, 12), (24, 14)),
    "tripod": _pose([(45, 48, 15, 2), (50, 50, 18, 0), (72, 85, 45, 0), (76, 88, 48, 0)], (32, 56, 18), (42, 4)),
    "hook": _pose([(14, 82, 48, -3), (12, 85, 50, 0), (14, 84, 50, 3), (18, 80, 48, 6)], (22, 20, 20), (0, -22)),
    "thumb_press": _pose([(65, 92, 50, 0), (70, 95, 50, 0), (74, 95, 50, 0), (76, 95, 50, 0)], (56, 12, -8), (28, -8)),
    "cup": _pose([(25, 28, 15, -9), (24, 28, 15, -2), (26, 30, 16, 5), (30, 32, 18, 12)], (58, 38, 12), (-8, 6)),
}


@dataclass(frozen=True)
class Skin:
    """Looks of a hand and arm.

    Attributes:
        hand: colour of glove or skin.
        gloved: whether it is a glove.
        fingertips: colour of a glove's dipped fingertips; None for none.
        cuff: colour of a glove's cuff.
        forearm: colour of the bare forearm.
        sleeve: colour of the sleeve.
        sleeve_from: where the sleeve begins, hand lengths behind the wrist.
    """

    hand: Colour
    gloved: bool
    fingertips: Colour | None
    cuff: Colour
    forearm: Colour
    sleeve: Colour
    sleeve_from: float


@dataclass(frozen=True)
class Placed:
    """A hand in a picture.

    Attributes:
        left: whether it is a left hand.
        wrist_xy: pixels.
        angle_rad: direction of the stretched fingers in the picture (y down).
        arm_angle_rad: direction from the elbow to the wrist.
        size_px: hand length.
        pose: 21 numbers, see `POSES`.
    """

    left: bool
    wrist_xy: np.ndarray
    angle_rad: float
    arm_angle_rad: float
    size_px: float
    pose: np.ndarray

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points of the hand's frame (N x 3) as pixels and depth towards the camera in hand lengths (N x 3)."""
        roll, pitch = np.deg2rad(self.pose[_ROLL]), np.deg2rad(self.pose[_PITCH])
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        x, z = x * np.cos(roll) + z * np.sin(roll), -x * np.sin(roll) + z * np.cos(roll)
        y, z = y * np.cos(pitch) - z * np.sin(pitch), y * np.sin(pitch) + z * np.cos(pitch)
        if self.left:
            x = -x
        cosine, sine = np.cos(self.angle_rad), np.sin(self.angle_rad)
        pixels_x = self.wrist_xy[0] + self.size_px * (y * cosine - x * sine)
        pixels_y = self.wrist_xy[1] + self.size_px * (y * sine + x * cosine)
        return np.stack([pixels_x, pixels_y, z], -1)

    @property
    def back_is_seen(self) -> bool:
        """Whether the camera sees the back of the hand rather than the palm."""
        return bool(np.cos(np.deg2rad(self.pose[_ROLL])) * np.cos(np.deg2rad(self.pose[_PITCH])) > 0)


def finger_joints(pose: np.ndarray) -> np.ndarray:
    """Joint positions in the hand's frame: 5 (index to little, thumb) x 4 x 3."""
    angles = pose[:_THUMB].reshape(4, _FINGER)
    flexion = np.deg2rad(np.cumsum(angles[:, :3], 1))  # 4 x 3
    spread = np.deg2rad(angles[:, 3:4])
    forward, down = np.cos(flexion), np.sin(flexion)
    steps = np.stack([forward * np.sin(spread), forward * np.cos(spread), -down], -1) * _BONES[..., None]  # 4 x 3 x 3
    fingers = np.concatenate([_KNUCKLES[:, None], _KNUCKLES[:, None] + np.cumsum(steps, 1)], 1)
    away, under, flex = pose[_THUMB : _THUMB + 3]
    in_plane = np.deg2rad(away - flex * np.array([0.0, 0.35, 1.0]))
    below = np.deg2rad(under * np.array([0.6, 1.0, 1.0]))
    steps = np.stack([-np.sin(in_plane) * np.cos(below), np.cos(in_plane) * np.cos(below), -np.sin(below)], -1)
    thumb = np.concatenate([_THUMB_ROOT[None], _THUMB_ROOT + np.cumsum(steps * _THUMB_BONES[:, None], 0)])
    return np.concatenate([fingers, thumb[None]])


def grip_point(hand: Placed) -> np.ndarray:
    """Where a held thing sits: between the thumb's and the index finger's tip and the palm; 2, pixels."""
    joints = finger_joints(hand.pose)
    inside = (joints[0, 3] + joints[1, 3] + joints[4, 3] + joints[4, 2]) / 4
    return hand.project(inside[None])[0, :2]


def draw_arm(canvas: Canvas, hand: Placed, skin: Skin, length_px: float) -> None:
    """Draws forearm and sleeve from the wrist backwards."""
    back = -np.array([np.cos(hand.arm_angle_rad), np.sin(hand.arm_angle_rad)])
    size = hand.size_px
    elbow = hand.wrist_xy + back * length_px
    wide = min(0.16 + 0.09 * length_px / size / 2, 0.3)
    canvas.rod(elbow, hand.wrist_xy, (wide * size, 0.125 * size), skin.forearm)
    edge = hand.wrist_xy + back * skin.sleeve_from * size
    if length_px > skin.sleeve_from * size:
        canvas.rod(elbow, edge, ((wide + 0.08) * size, 0.2 * size), skin.sleeve)
        across = np.array([-back[1], back[0]])
        for share in (0.08, 0.3, 0.62, 1.05):
            middle = edge + back * share * size
            bow = middle + back * 0.07 * size
            half = across * (0.17 + 0.03 * share) * size
            canvas.line(np.stack([middle - half, bow, middle + half * 0.6]), shade(skin.sleeve, 0.72), 0.02 * size)


def draw_hand(
    canvas: Canvas,
    hand: Placed,
    skin: Skin,
    held_depth: float = -1.0,
    draw_held: Callable[[], None] | None = None,
) -> None:
    """Draws palm and fingers from far to near, with what the hand holds in between.

    Args:
        canvas: its pen becomes the owner of the hand's pixels; `draw_held` must restore the pen.
        hand: where and how.
        skin: looks.
        held_depth: depth of the held thing in hand lengths, in the frame of `Placed.project`.
        draw_held: draws it.
    """
    projected = hand.project(finger_joints(hand.pose).reshape(-1, 3)).reshape(5, 4, 3)
    size = hand.size_px
    strokes: list[tuple[float, Callable[[], None]]] = [(0.0, lambda: _draw_palm(canvas, hand, skin, projected))]
    for finger in range(5):
        radii = (_THUMB_RADII if finger == 4 else _RADII[finger] * _TAPER) * size
        for bone in range(3):
            tip = bone == 2
            colour = skin.fingertips if skin.gloved and skin.fingertips and bone >= 1 else skin.hand
            depth = float(projected[finger, bone, 2] + projected[finger, bone + 1, 2]) / 2
            # A finger level with the palm lies in front of it, or its root would be hidden.
            strokes.append((depth + 0.03, _bone(canvas, projected, (finger, bone), radii, _tone(colour, depth))))
            if tip and not skin.gloved and hand.back_is_seen:
                strokes.append((depth + 0.031, _nail(canvas, projected[finger], radii[3], skin.hand)))
    if draw_held is not None:
        strokes.append((held_depth, draw_held))
    for _, stroke in sorted(strokes, key=lambda item: item[0]):
        stroke()


def hand_outline(hand: Placed) -> list[np.ndarray]:
    """Convex outlines that together cover the hand, each N x 2 pixels."""
    projected = hand.project(finger_joints(hand.pose).reshape(-1, 3)).reshape(5, 4, 3)
    outlines = [_palm_outline(hand)]
    for finger in range(5):
        radii = (_THUMB_RADII if finger == 4 else _RADII[finger] * _TAPER) * hand.size_px
        for bone in range(3):
            ends = projected[finger, bone, :2], projected[finger, bone + 1, :2]
            outlines.append(capsule(*ends, (radii[bone], radii[bone + 1])))
    return outlines


def _tone(colour: Colour, depth: float) -> Colour:
    return shade(colour, float(np.clip(1.0 + depth * 0.55, 0.68, 1.08)))


def _bone(
    canvas: Canvas, projected: np.ndarray, place: tuple[int, int], radii: np.ndarray, colour: Colour
) -> Callable[[], None]:
    finger, bone = place
    start, end = projected[finger, bone, :2], projected[finger, bone + 1, :2]
    return lambda: canvas.rod(start, end, (float(radii[bone]), float(radii[bone + 1])), colour)


def _nail(canvas: Canvas, joints: np.ndarray, radius_px: float, colour: Colour) -> Callable[[], None]:
    direction = joints[3, :2] - joints[2, :2]
    length = float(np.linalg.norm(direction))
    if length < radius_px * 0.8:  # the fingertip points away from the camera
        return lambda: None
    unit = direction / length
    end = joints[3, :2] + unit * radius_px * 0.45
    start = end - unit * radius_px * 0.7
    pale = (colour[0] * 0.55 + 115, colour[1] * 0.5 + 105, colour[2] * 0.5 + 100)
    return lambda: canvas.polygon(capsule(start, end, (radius_px * 0.5, radius_px * 0.5)), pale)


def _palm_outline(hand: Placed) -> np.ndarray:
    top = np.column_stack([_PALM, np.full(len(_PALM), 0.045)])
    bottom = np.column_stack([_PALM * [0.92, 1.0], np.full(len(_PALM), -0.085)])
    points = hand.project(np.concatenate([top, bottom]))[:, :2]
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(float)


def _draw_palm(canvas: Canvas, hand: Placed, skin: Skin, projected: np.ndarray) -> None:
    size = hand.size_px
    outline = _palm_outline(hand)
    centre = outline.mean(0)
    light = np.array(canvas.light_xy)
    canvas.polygon(outline, shade(skin.hand, 0.66))
    canvas.polygon(centre + (outline - centre) * 0.93 + light * 0.012 * size, shade(skin.hand, 0.95))
    canvas.polygon(centre + (outline - centre) * 0.62 + light * 0.05 * size, shade(skin.hand, 1.05))
    wrist = hand.wrist_xy
    ahead = np.array([np.cos(hand.angle_rad), np.sin(hand.angle_rad)])
    across = np.array([-ahead[1], ahead[0]])
    if skin.gloved:
        band = np.stack([wrist - across * 0.15 * size, wrist + across * 0.15 * size])
        band = np.concatenate([band, band[::-1] - ahead * 0.13 * size])
        canvas.polygon(band, skin.cuff)
        canvas.line(band[:2], shade(skin.cuff, 0.6), 0.02 * size)
    if hand.back_is_seen:
        for finger in range(4):
            knuckle = projected[finger, 0, :2]
            root = wrist + (knuckle - wrist) * 0.45
            canvas.line(np.stack([root, knuckle - (knuckle - wrist) * 0.12]), shade(skin.hand, 0.86), 0.018 * size)
    else:
        crease = hand.project(np.array([[-0.15, 0.36, -0.08], [0.0, 0.31, -0.09], [0.14, 0.34, -0.08]]))[:, :2]
        canvas.line(crease, shade(skin.hand, 0.74), 0.02 * size)
