"""A worker's hand at work: arm, hand and the thing it holds, and the exact box of what is seen of the hand."""

from dataclasses import dataclass

import cv2
import numpy as np

from lineact.simulation.canvas import Canvas
from lineact.simulation.hand import Placed, Skin, draw_arm, draw_hand, grip_point, hand_outline
from lineact.simulation.objects import Thing, draw_thing

HELD_DEPTH = -0.12  # below the palm, before the curled fingers' tips


@dataclass(frozen=True)
class WorkingHand:
    """A hand with what it holds.

    Attributes:
        hand: place and pose.
        skin: looks.
        held: the thing, or None.
        held_turn_rad: the thing's direction against the hand's.
        arm_length_px: drawn length of the forearm.
    """

    hand: Placed
    skin: Skin
    held: Thing | None
    held_turn_rad: float
    arm_length_px: float


def draw_working_hand(canvas: Canvas, working: WorkingHand, hand_id: int, held_id: int, arm_id: int) -> None:
    """Draws arm, thing and hand; their pixels get these owners."""
    hand, held = working.hand, working.held
    canvas.pen = arm_id
    draw_arm(canvas, hand, working.skin, working.arm_length_px)
    canvas.pen = hand_id
    if held is None:
        draw_hand(canvas, hand, working.skin)
        return

    def draw_held() -> None:
        canvas.pen = held_id
        draw_thing(canvas, held, grip_point(hand), hand.angle_rad + working.held_turn_rad, hand.size_px)
        canvas.pen = hand_id

    depth = HELD_DEPTH if hand.back_is_seen else 0.02
    draw_hand(canvas, hand, working.skin, depth, draw_held)


def visible_box(owner: np.ndarray, owner_id: int) -> tuple[int, int, int, int] | None:
    """Tight box of an owner's pixels: (x1, y1, x2, y2) half-open, or None where nothing is seen."""
    mask = (owner == owner_id).view(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    return (x, y, x + width, y + height) if width else None


def visible_share(owner: np.ndarray, owner_id: int, hand: Placed) -> float:
    """Share of the whole hand's pixels, inside the picture or not, that is seen; 0 to 1."""
    outlines = hand_outline(hand)
    points = np.concatenate(outlines)
    corner = np.floor(points.min(0)) - 1
    width, height = (np.ceil(points.max(0)) + 2 - corner).astype(int)
    whole = np.zeros((int(height), int(width)), np.uint8)
    for outline in outlines:
        cv2.fillConvexPoly(whole, np.rint((outline - corner) * 8).astype(np.int32), 1, cv2.LINE_8, 3)
    return float(np.count_nonzero(owner == owner_id) / max(int(whole.sum()), 1))
