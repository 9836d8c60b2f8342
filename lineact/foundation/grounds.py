"""Made-up grounds for pretraining scenes: corrugated, grained, ruled and blotched, mostly greyer than random colours.

Whoever has only seen hands on plain colours takes the folds of a mat for fingers, and fingers for folds. That these are
missing was seen on the simulated lines; size, turn, contrast and colour are free.
"""

import cv2
import numpy as np

from lineact.foundation.scenes import is_free, random_colour
from lineact.simulation.canvas import Canvas

LAID = 0.55  # share of scenes that get such a ground; the others keep the one that every scene has


def lay_ground(canvas: Canvas, generator: np.random.Generator, hand_px: float) -> None:
    """Covers a canvas that shows nothing else yet with one of these grounds, or leaves it as it is.

    Args:
        canvas: where; owners stay as they are.
        generator: all randomness.
        hand_px: length of a hand in this scene.
    """
    if generator.random() >= LAID:
        return
    size_hw = canvas.owner.shape
    colour = _greyed(np.array(random_colour(generator)), generator)
    kind = generator.integers(0, 3)
    if kind == 0:
        gain = _corrugated(size_hw, generator, hand_px)
    elif kind == 1:
        gain = _grained(size_hw, generator)
    else:
        gain = _ruled(size_hw, generator, hand_px)
    gain = gain * (1 + generator.uniform(0, 0.25) * _blotches(size_hw, generator, int(generator.integers(2, 9)), 1))
    pixels = colour * gain[..., None] + generator.normal(0, generator.uniform(0, 6), (*size_hw, 1))
    canvas.image_rgb[:] = np.clip(pixels, 0, 255).astype(np.uint8)


def _greyed(colour: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Plants are greyer than random colours; but no line's colour."""
    greyer = colour.mean() + (colour - colour.mean()) * generator.uniform(0, 1) ** 2
    return greyer if is_free(greyer) else colour


def _corrugated(size_hw: tuple[int, ...], generator: np.random.Generator, hand_px: float) -> np.ndarray:
    """Round or sharp folds side by side."""
    along, across = _turned_axes(size_hw, generator)
    pitch = hand_px * generator.uniform(0.12, 0.9)
    wave = np.sin(2 * np.pi * along / pitch + generator.uniform(0, 0.6) * np.sin(across / (hand_px * 2)))
    wave = np.sign(wave) * np.abs(wave) ** generator.uniform(0.3, 1.5)
    return 1 + generator.uniform(0.05, 0.5) * wave


def _grained(size_hw: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Streaks along a side, as of wood, brushed metal or woven cloth."""
    fine = _blotches(size_hw, generator, int(generator.integers(20, 120)), int(generator.integers(3, 10)))
    coarse = _blotches(size_hw, generator, int(generator.integers(8, 40)), int(generator.integers(1, 4)))
    return 1 + generator.uniform(0.02, 0.2) * fine + generator.uniform(0.0, 0.2) * coarse


def _ruled(size_hw: tuple[int, ...], generator: np.random.Generator, hand_px: float) -> np.ndarray:
    """Lines across and along, darker or brighter: joints of tiles, wires, the print of a cutting mat."""
    along, across = _turned_axes(size_hw, generator)
    pitch = hand_px * generator.uniform(0.2, 1.3)
    other_pitch = pitch * float(generator.choice([1.0, 1.0, generator.uniform(0.5, 2)]))
    width = max(hand_px * generator.uniform(0.02, 0.1), 1.0)
    on_line = along % pitch < width
    if generator.random() >= 0.2:
        on_line |= across % other_pitch < width
    return 1 + generator.choice([-1.0, 1.0, 2.5]) * generator.uniform(0.1, 0.7) * on_line


def _turned_axes(size_hw: tuple[int, ...], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distances in pixels along two crossing directions; most grounds lie straight."""
    turn = float(generator.integers(0, 2) * np.pi / 2 + generator.normal(0, 0.03))
    if generator.random() < 0.3:
        turn = generator.uniform(0, np.pi)
    ys, xs = np.mgrid[0 : size_hw[0], 0 : size_hw[1]].astype(np.float32)
    return xs * np.cos(turn) + ys * np.sin(turn), ys * np.cos(turn) - xs * np.sin(turn)


def _blotches(size_hw: tuple[int, ...], generator: np.random.Generator, long: int, short: int) -> np.ndarray:
    """Smooth noise with these many cells down and across or the other way round, normal with deviation about 1."""
    counts = (long, short) if generator.random() < 0.5 else (short, long)
    coarse = generator.normal(0, 1, (counts[0] + 1, counts[1] + 1)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_CUBIC))
