"""Procedural clips of a hand at work, with what it does, what it holds and where; kept as shards of JPEG strips.

Shapes of hands and things and the ways they move are the simulator's; looks are random, with colours that keep a
distance from those of every simulated line, and there is no product, bench or camera of any line.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lineact.files import cache_folder, write_whole
from lineact.foundation.scenes import GRIPS, HELD, NOTHING, random_colour, random_skin
from lineact.simulation.camera import relight
from lineact.simulation.canvas import Canvas
from lineact.simulation.hand import POSES, Placed
from lineact.simulation.objects import DRAWN, Thing, draw_thing
from lineact.simulation.script import Span, offset_along
from lineact.simulation.stations import Movement
from lineact.simulation.worker import WorkingHand, draw_working_hand

CODE_VERSION = 1  # raise where clips change
SIDE_PX, FRAMES, SHARD = 64, 16, 64
DRAWN_WH = (192, 108)
HAND_UNITS = 80.0  # length of a hand in the units of the simulator's paths
PATHS = ("turn", "circle", "press", "slide", "wave", "scratch", "lift", "still")
MOTIONS = (*PATHS, "come", "go", "none")  # "none": no hand is there
COLUMNS, ROWS = 4, 3
# What is true of a clip, and how many answers there are. Of a clip without a hand only motion and held.
ATTRIBUTES = {"motion": len(MOTIONS), "held": len(HELD), "pose": len(POSES), "column": COLUMNS, "row": ROWS}
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Clips:
    """Clips with attributes; pictures are decoded when asked for.

    Attributes:
        encoded: a JPEG per clip: its pictures one below the other.
        attributes: int64, N x attributes, in the order of ATTRIBUTES.
    """

    encoded: list[np.ndarray]
    attributes: np.ndarray

    def __len__(self) -> int:
        return len(self.encoded)

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """Some clips, uint8, n x FRAMES x SIDE_PX x SIDE_PX x 3."""
        strips = [np.asarray(cv2.imdecode(self.encoded[row], cv2.IMREAD_COLOR))[:, :, ::-1] for row in rows]
        return np.stack(strips).reshape(len(rows), FRAMES, SIDE_PX, SIDE_PX, 3)


def clip_corpus(count: int, seed: int, workers: int) -> Clips:
    """Clips, drawn or taken from the cache.

    Args:
        count: how many; rounded up to whole shards.
        seed: another seed gives other clips.
        workers: processes.
    """
    folder = cache_folder("temporal_clips", {"code": CODE_VERSION, "seed": seed, "side_px": SIDE_PX, "frames": FRAMES})
    shards = [folder / f"{index:05d}.npz" for index in range(-(-count // SHARD))]
    missing = [(path, seed) for path in shards if not path.is_file()]
    if missing:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            for number, _ in enumerate(pool.map(_render_shard, missing), 1):
                print(f"clips: {number}/{len(missing)} shards", flush=True)
    encoded: list[np.ndarray] = []
    attributes = []
    for path in shards:
        with np.load(path) as part:
            encoded += np.split(part["encoded"], part["ends"][:-1])
            attributes.append(part["attributes"])
    return Clips(encoded, np.concatenate(attributes))


def render_clip(generator: np.random.Generator) -> tuple[np.ndarray, tuple[int, ...]]:
    """Draws one clip.

    Args:
        generator: all randomness.

    Returns:
        Pictures, uint8, FRAMES x SIDE_PX x SIDE_PX x 3, and the attributes.
    """
    size_px = DRAWN_WH[1] * generator.uniform(0.18, 0.45)
    empty = _empty(generator, size_px)
    motion = int(generator.integers(0, len(MOTIONS)))
    hands = [] if MOTIONS[motion] == "none" else [_Hand(generator, size_px, MOTIONS[motion])]
    if hands and MOTIONS[motion] != "still" and generator.random() < 0.3:
        hands.append(_Hand(generator, size_px, "still"))  # the other hand waits
    gains = generator.uniform(0.75, 1.2) * generator.uniform(0.92, 1.08, 3)
    blur, grain = generator.uniform(0.3, 1.0), generator.uniform(0.5, 6)
    fps = generator.uniform(8, 15)
    pictures = []
    for index in range(FRAMES):
        canvas = Canvas(empty.copy())
        for hand in reversed(hands):
            hand.draw(canvas, index / fps, index / (FRAMES - 1))
        picture = np.asarray(cv2.GaussianBlur(relight(canvas.image_rgb, gains), (0, 0), blur), np.float32)
        picture += generator.normal(0, grain, picture.shape).astype(np.float32)
        seen = np.clip(picture, 0, 255).astype(np.uint8)
        pictures.append(cv2.resize(seen, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA))
    place = hands[0].attributes() if hands else (0, 0, 0, 0)
    return np.stack(pictures), (motion, *place)


class _Hand:
    """One hand of a clip: its looks, and where it is when."""

    def __init__(self, generator: np.random.Generator, size_px: float, motion: str) -> None:
        held = HELD[generator.integers(0, len(HELD))] if generator.random() < 0.6 else NOTHING
        grips = GRIPS.get(held, tuple(POSES))
        pose_name = str(generator.choice(grips)) if generator.random() < 0.9 else str(generator.choice(list(POSES)))
        self._held, self._pose_index = HELD.index(held), tuple(POSES).index(pose_name)
        pose = POSES[pose_name].copy()
        pose[:19] += generator.normal(0, 5, 19)
        pose[19:] += generator.normal(0, 10, 2)
        colours = random_colour(generator), random_colour(generator)
        thing = None if held == NOTHING else Thing(held, colours, float(generator.uniform(0.85, 1.2)), 0)
        path = motion if motion in PATHS else "still"
        movement = Movement("", pose_name, (), (), path, 0.9)
        begin_s = -float(generator.uniform(0, 4))
        tempo = float(generator.uniform(0.8, 1.25))
        self._span = Span(begin_s, 99.0, 0.5, 0.5, movement, (0.0, 0.0), pose, thing, 0.0, tempo)
        self._motion, self._size_px, self._skin = motion, size_px, random_skin(generator)
        self._spot = np.array(DRAWN_WH) * generator.uniform(0.08, 0.92, 2)
        from_below = np.array([generator.uniform(0, 1), 1.4])
        anywhere = np.array([generator.choice([-0.3, 1.3]), generator.uniform(0, 1)])
        self._elbow = np.array(DRAWN_WH) * (from_below if generator.random() < 0.75 else anywhere)
        self._left, self._turn_rad = bool(generator.random() < 0.5), float(generator.normal(0, 0.3))

    def attributes(self) -> tuple[int, int, int, int]:
        """Held, pose, column and row."""
        column, row = (self._spot / DRAWN_WH * (COLUMNS, ROWS)).astype(int)
        return self._held, self._pose_index, int(column), int(row)

    def draw(self, canvas: Canvas, time_s: float, share: float) -> None:
        """At a time, and at this share of the clip."""
        offset, pose = offset_along(self._span, time_s)
        there = {"come": share, "go": 1 - share}.get(self._motion, 1.0)
        spot = self._elbow + (self._spot - self._elbow) * there + offset * self._size_px / HAND_UNITS
        towards = self._spot - self._elbow
        angle = float(np.arctan2(towards[1], towards[0]))
        wrist = spot - 0.9 * self._size_px * np.array([np.cos(angle), np.sin(angle)])
        hand = Placed(self._left, wrist, angle, angle, self._size_px, pose)
        working = WorkingHand(hand, self._skin, self._span.thing, self._turn_rad, 300.0)
        draw_working_hand(canvas, working, 1, 2, 3)


def _empty(generator: np.random.Generator, size_px: float) -> np.ndarray:
    """A surface with things lying about: uint8, drawn height x width x 3."""
    first, second = np.array(random_colour(generator)), np.array(random_colour(generator))
    cells = int(generator.integers(2, 16))
    coarse = generator.random((cells, cells)).astype(np.float32)
    mix = np.clip(cv2.resize(coarse, DRAWN_WH, interpolation=cv2.INTER_CUBIC), 0, 1)[..., None]
    share = mix * float(generator.uniform(0, 1))
    canvas = Canvas((first * (1 - share) + second * share).astype(np.uint8))
    for _ in range(int(generator.integers(0, 7))):
        spot = np.array(DRAWN_WH) * generator.uniform(0, 1, 2)
        turn = float(generator.uniform(0, 2 * np.pi))
        colours = random_colour(generator), random_colour(generator)
        draw_thing(canvas, Thing(str(generator.choice(list(DRAWN))), colours, 1.0, 0), spot, turn, size_px)
    return canvas.image_rgb


def _one_thread() -> None:
    os.nice(5)
    cv2.setNumThreads(1)


def _render_shard(job: tuple[Path, int]) -> Path:
    path, seed = job
    encoded, attributes = zip(*_encoded_clips(np.random.default_rng([seed, int(path.stem)])), strict=True)
    ends = np.cumsum([len(each) for each in encoded])
    arrays: dict[str, Any] = {
        "encoded": np.concatenate(encoded),
        "ends": ends,
        "attributes": np.array(attributes, np.int64),
    }
    write_whole(path, lambda temporary: np.savez(temporary, **arrays))
    return path


def _encoded_clips(generator: np.random.Generator) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    for _ in range(SHARD):
        pictures, attributes = render_clip(generator)
        strip = np.ascontiguousarray(pictures.reshape(FRAMES * SIDE_PX, SIDE_PX, 3)[:, :, ::-1])
        yield np.asarray(cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]).ravel(), attributes
