"""Procedural pretraining pictures: hands, things and surfaces with random looks.

Shapes of hands and things are the simulator's; everything that makes a station recognisable is not: colours keep a
distance from all of `lineact.simulation.palette` before light and noise change them, surfaces and their patterns are
made here and in `grounds`, and there is no product, bench or camera of any line.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from lineact.boxes import crop_square
from lineact.simulation import palette
from lineact.simulation.camera import blur_moving, cast_shadows
from lineact.simulation.canvas import Canvas, Colour, shade, turned
from lineact.simulation.hand import POSES, Placed, Skin, finger_joints, hand_outline
from lineact.simulation.objects import DRAWN, Thing, draw_thing
from lineact.simulation.worker import WorkingHand, draw_working_hand, visible_box

COLOUR_DISTANCE = 20.0  # least distance from every colour of the lines' palette, RGB levels
AT_PLACES = 0.2  # share of hands at a place that stands out, where a scene has such
LEAST_VISIBLE = 0.08  # of a held thing, against the hand's pixels
NOTHING = "nothing"
ABSENT = "absent"
HELD = (NOTHING, *DRAWN)
POSE_NAMES = (*POSES, ABSENT)
TARGETS = ("bench", "button", "edge", "slot", "screw", "panel", "hole")
ANGLE_BINS = 8
# How each thing is usually held; now and then a hand holds it otherwise.
GRIPS: dict[str, tuple[str, ...]] = {
    "screwdriver": ("grip", "grip", "tripod"),
    "driver": ("grip",),
    "cloth": ("flat", "cup", "spread"),
    "sponge": ("flat", "cup"),
    "label": ("pinch", "pinch", "thumb_press", "flat"),
    "plate": ("pinch", "thumb_press"),
    "booklet": ("pinch", "tripod"),
    "phone": ("cup", "pinch"),
    "bottle": ("grip", "cup"),
    "wrench": ("grip", "hook"),
    "pen": ("tripod", "pinch"),
    "box": ("cup", "pinch", "hook"),
    "cup": ("grip", "cup"),
    "cable": ("pinch", "tripod"),
    "lamp": ("grip",),
    "wheel": ("hook", "cup"),
    "tape": ("pinch", "cup"),
    "hammer": ("grip", "fist"),
    "pliers": ("grip",),
    "scanner": ("grip",),
}


@dataclass(frozen=True)
class Crop:
    """A picture around a hand, or of none, with what is true of it.

    Attributes:
        image_rgb: uint8, side x side x 3.
        held: index into HELD.
        pose: index into POSE_NAMES.
        target: index into TARGETS: what the fingers touch.
        gloved: 0 or 1.
        left: 0 or 1.
        angle: index of the hand's direction, of ANGLE_BINS, clockwise from the right.
    """

    image_rgb: np.ndarray
    held: int
    pose: int
    target: int
    gloved: int
    left: int
    angle: int


@dataclass(frozen=True)
class SceneObject:
    """A named thing in a scene.

    Attributes:
        name: "hand", "glove", or a kind of thing.
        box_xyxy_px: tight box of what is seen of it.
    """

    name: str
    box_xyxy_px: tuple[int, int, int, int]


def random_colour(generator: np.random.Generator) -> Colour:
    """Any colour that is no line's."""
    while True:
        value = generator.uniform(0.12, 1.0)
        saturation = generator.uniform(0, 1) ** 1.3
        colour = 255 * np.array(colorsys.hsv_to_rgb(generator.random(), saturation, value))
        if is_free(colour):
            return float(colour[0]), float(colour[1]), float(colour[2])


def random_skin(generator: np.random.Generator) -> Skin:
    """A bare or gloved hand with a random sleeve."""
    while True:
        hue, saturation, value = (
            generator.uniform(0.03, 0.095),
            generator.uniform(0.22, 0.62),
            generator.uniform(0.35, 0.98),
        )
        tone = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
        if is_free(tone):
            break
    skin: Colour = (float(tone[0]), float(tone[1]), float(tone[2]))
    gloved = bool(generator.random() < 0.5)
    hand = random_colour(generator) if gloved else skin
    fingertips = random_colour(generator) if gloved and generator.random() < 0.3 else None
    cuff = shade(hand, generator.uniform(0.6, 1.2)) if generator.random() < 0.5 else random_colour(generator)
    return Skin(hand, gloved, fingertips, cuff, skin, random_colour(generator), float(generator.uniform(0.1, 1.3)))


def render_crop(generator: np.random.Generator, side_px: int) -> Crop:
    """Draws one hand at work and cuts it out as a line's crops are cut, with a jittered box.

    Args:
        generator: all randomness.
        side_px: side of the picture.
    """
    canvas = Canvas(_surface(generator, (176, 176)), light_xy=_random_light(generator))
    _litter(canvas, generator, int(generator.integers(0, 5)), 60.0)
    if generator.random() < 0.04:
        image = _finish(canvas.image_rgb, generator)
        box = np.array([60, 60, 60, 60]) + generator.uniform(-25, 25, 4) + np.array([0, 0, 50, 50])
        return Crop(crop_square(image, box, 1.4, side_px), 0, len(POSE_NAMES) - 1, 0, 0, 0, 0)
    held = int(generator.integers(0, len(HELD))) if generator.random() < 0.62 else 0
    pose = _pose_for(generator, HELD[held])
    target = int(generator.integers(0, len(TARGETS))) if generator.random() < 0.7 else 0
    working = _random_hand(generator, HELD[held], pose, (88.0, 88.0), float(generator.uniform(42, 78)))
    _draw_target(canvas, generator, TARGETS[target], _contact(working), working.hand.size_px)
    if generator.random() < 0.15:
        _draw_other_hand(canvas, generator, working.hand.size_px)
    _shadow(canvas, working, generator)
    before = canvas.owner.copy()
    draw_working_hand(canvas, working, 1, 2, 3)
    if generator.random() < 0.25:
        blur_moving(canvas.image_rgb, canvas.owner != before, generator.normal(0, 4, 2))
    tight = visible_box(canvas.owner, 1)
    assert tight is not None, "the hand stands in the middle"
    if np.count_nonzero(canvas.owner == 2) < LEAST_VISIBLE * np.count_nonzero(canvas.owner == 1):
        held = 0  # hidden in the fist: nobody could tell
    box = _loosened(generator, np.array(tight, float), working)
    image = crop_square(_finish(canvas.image_rgb, generator), box, float(generator.uniform(1.15, 1.9)), side_px)
    turn = int(np.floor((np.rad2deg(working.hand.angle_rad) % 360) / (360 / ANGLE_BINS)))
    return Crop(image, held, pose, target, int(working.skin.gloved), int(working.hand.left), turn)


def render_scene(
    generator: np.random.Generator,
    size_wh: tuple[int, int],
    hand_share: tuple[float, float] = (0.16, 0.5),
    furnish: Callable[[Canvas, np.random.Generator, float], np.ndarray] | None = None,
    like_ground: float = 0.0,
) -> tuple[np.ndarray, list[SceneObject]]:
    """Draws a whole view with no to four hands reaching in from the border and things lying about.

    Args:
        generator: all randomness.
        size_wh: pixels.
        hand_share: least and greatest length of a hand, as a share of the picture's height.
        furnish: draws what stands below everything else, given the canvas, the generator and a hand's length in pixels,
            and tells places where hands are often at work, pixels, n x 2.
        like_ground: share of hands in gloves of nearly the colour below them.

    Returns:
        The picture, uint8 H x W x 3, and what is seen in it.
    """
    width, height = size_wh
    canvas = Canvas(_surface(generator, size_wh), light_xy=_random_light(generator))
    size = float(height * generator.uniform(*hand_share))
    places = furnish(canvas, generator, size) if furnish is not None else np.empty((0, 2))
    names = _litter(canvas, generator, int(generator.integers(2, 9)), size, first_id=10)
    for _ in range(int(generator.integers(0, 3))):
        spot = (generator.uniform(0, width), generator.uniform(0, height))
        _draw_target(canvas, generator, TARGETS[generator.integers(0, len(TARGETS))], np.array(spot), size)
    for index in range(int(generator.choice(5, p=[0.08, 0.32, 0.42, 0.12, 0.06]))):
        held = HELD[generator.integers(0, len(HELD))] if generator.random() < 0.55 else NOTHING
        centre = (generator.uniform(0, width), generator.uniform(0, height))
        if len(places) and generator.random() < AT_PLACES:
            place = generator.choice(places) + generator.normal(0, 0.25 * size, 2)
            centre = tuple(np.clip(place, 0, [width, height]).tolist())
        own_size = size * generator.uniform(0.85, 1.15)
        working = _random_hand(generator, held, _pose_for(generator, held), centre, own_size, size_wh)
        if like_ground and generator.random() < like_ground:
            working = _like_ground(working, canvas, generator)
        _shadow(canvas, working, generator)
        hand_id, held_id = 100 + 2 * index, 101 + 2 * index
        before = canvas.owner.copy()
        draw_working_hand(canvas, working, hand_id, held_id, 3)
        if generator.random() < 0.3:
            blur_moving(canvas.image_rgb, canvas.owner != before, generator.normal(0, 0.15 * own_size, 2))
        names[hand_id] = "glove" if working.skin.gloved else "hand"
        if held != NOTHING:
            names[held_id] = held
    objects = []
    for owner_id, name in names.items():
        box = visible_box(canvas.owner, owner_id)
        if box is not None and min(box[2] - box[0], box[3] - box[1]) >= 6:
            objects.append(SceneObject(name, box))
    return _finish(canvas.image_rgb, generator), objects


def _like_ground(working: WorkingHand, canvas: Canvas, generator: np.random.Generator) -> WorkingHand:
    """The same hand in a glove of nearly the colour that lies below it, where that is no line's colour."""
    height, width = canvas.owner.shape
    column, row = np.clip(working.hand.wrist_xy, 0, [width - 1, height - 1]).astype(int)
    below = canvas.image_rgb[row, column].astype(float)
    colour = np.clip(below * generator.uniform(0.75, 1.3) * generator.uniform(0.93, 1.07, 3), 0, 255)
    if not is_free(colour):
        return working
    glove = (float(colour[0]), float(colour[1]), float(colour[2]))
    return replace(working, skin=replace(working.skin, hand=glove, gloved=True, fingertips=None))


def is_free(colour: np.ndarray) -> bool:
    """Whether a colour (RGB, 0 to 255) keeps its distance from every line's."""
    return bool(np.linalg.norm(np.array(palette.ALL) - colour, axis=1).min() > COLOUR_DISTANCE)


def _random_light(generator: np.random.Generator) -> tuple[float, float]:
    turn = generator.uniform(0, 2 * np.pi)
    return float(np.cos(turn)), float(np.sin(turn))


def _pose_for(generator: np.random.Generator, held: str) -> int:
    if held == NOTHING or generator.random() < 0.1:
        return int(generator.integers(0, len(POSES)))
    return POSE_NAMES.index(str(generator.choice(GRIPS[held])))


def _random_hand(
    generator: np.random.Generator,
    held: str,
    pose: int,
    centre_xy: tuple[float, float],
    size_px: float,
    size_wh: tuple[int, int] | None = None,
) -> WorkingHand:
    angles = POSES[POSE_NAMES[pose]].copy()
    angles[:19] += generator.normal(0, 6, 19)
    angles[19:] += generator.normal(0, 14, 2)
    if held == "phone" or generator.random() < 0.08:
        angles[19] += 170  # the palm is seen
    angle = generator.uniform(0, 2 * np.pi)
    if size_wh is not None:  # arms come from the nearer side
        inwards = np.array([size_wh[0] / 2, size_wh[1] / 2]) - centre_xy
        angle = float(np.arctan2(inwards[1], inwards[0])) + generator.normal(0, 0.6)
    unit = np.array([np.cos(angle), np.sin(angle)])
    wrist = np.array(centre_xy) - unit * size_px * 0.45
    hand = Placed(bool(generator.random() < 0.5), wrist, angle, angle + generator.normal(0, 0.25), size_px, angles)
    thing = None
    if held != NOTHING:
        colours = (random_colour(generator), random_colour(generator))
        thing = Thing(held, colours, float(generator.uniform(0.85, 1.2)), int(generator.integers(0, 1000)))
    turn = float(generator.normal(0, 0.4))
    return WorkingHand(hand, random_skin(generator), thing, turn, 500.0)


def _contact(working: WorkingHand) -> np.ndarray:
    joints = finger_joints(working.hand.pose)
    tips = working.hand.project(joints[:, 3])[:, :2]
    reach = (tips - working.hand.wrist_xy) @ np.array([np.cos(working.hand.angle_rad), np.sin(working.hand.angle_rad)])
    return tips[int(reach.argmax())]


def _loosened(generator: np.random.Generator, box: np.ndarray, working: WorkingHand) -> np.ndarray:
    """A box as detectors give it: a little off, and some with a part of the forearm or of the thing."""
    if generator.random() < 0.35:
        back = -np.array([np.cos(working.hand.arm_angle_rad), np.sin(working.hand.arm_angle_rad)])
        end = working.hand.wrist_xy + back * working.hand.size_px * generator.uniform(0.1, 0.6)
        box = np.array([min(box[0], end[0]), min(box[1], end[1]), max(box[2], end[0]), max(box[3], end[1])])
    side = max(box[2] - box[0], box[3] - box[1])
    return box + generator.normal(0, 0.06, 4) * side


def _draw_other_hand(canvas: Canvas, generator: np.random.Generator, size_px: float) -> None:
    turn = generator.uniform(0, 2 * np.pi)
    centre = (88 + np.cos(turn) * size_px * 1.3, 88 + np.sin(turn) * size_px * 1.3)
    other = _random_hand(generator, NOTHING, int(generator.integers(0, len(POSES))), centre, size_px)
    draw_working_hand(canvas, other, 7, 7, 7)


def _shadow(canvas: Canvas, working: WorkingHand, generator: np.random.Generator) -> None:
    size = working.hand.size_px
    shift = -np.array(canvas.light_xy) * size * generator.uniform(0.02, 0.2)
    outlines = [outline + shift for outline in hand_outline(working.hand)]
    cast_shadows(canvas.image_rgb, outlines, generator.uniform(0.1, 0.6), size * generator.uniform(0.03, 0.12))


def _litter(
    canvas: Canvas, generator: np.random.Generator, count: int, size_px: float, first_id: int = 10
) -> dict[int, str]:
    height, width = canvas.owner.shape
    names = {}
    for index in range(count):
        canvas.pen = first_id + index
        spot = np.array([generator.uniform(0, width), generator.uniform(0, height)])
        turn = generator.uniform(0, 2 * np.pi)
        if generator.random() < 0.35:
            half = generator.uniform(0.1, 0.9, 2)
            corners = np.array([[-half[0], -half[1]], [half[0], -half[1]], [half[0], half[1]], [-half[0], half[1]]])
            canvas.slab(turned(corners, spot, turn, size_px), random_colour(generator), size_px * 0.03)
        else:
            kind = str(generator.choice(list(DRAWN)))
            names[canvas.pen] = kind
            colours = (random_colour(generator), random_colour(generator))
            draw_thing(canvas, Thing(kind, colours, 1.0, int(generator.integers(0, 1000))), spot, turn, size_px)
    return names


def _draw_target(canvas: Canvas, generator: np.random.Generator, target: str, spot: np.ndarray, size_px: float) -> None:
    canvas.pen = 4
    turn = generator.uniform(0, 2 * np.pi)
    colour, second = random_colour(generator), random_colour(generator)

    def slab(x1: float, y1: float, x2: float, y2: float, value: Colour) -> None:
        corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        canvas.slab(turned(corners, spot, turn, size_px), value, size_px * 0.03)

    if target == "button":
        slab(-0.5, -0.35, 0.9, 0.35, colour)
        pitch = generator.uniform(0.24, 0.36)
        for column in range(-1, 3):
            canvas.disc(turned(np.array([[column * pitch, 0.0]]), spot, turn, size_px)[0], size_px * 0.09, second)
    elif target == "edge":
        slab(-3.0, 0.0, 3.0, 3.0, colour)
        slab(-3.0, -0.09, 3.0, 0.05, second)
        slab(-0.55, -0.06, 0.55, 0.08, shade(second, 0.6))
    elif target == "slot":
        slab(-0.9, -0.5, 0.9, 0.5, colour)
        slab(-0.6, -0.1, 0.6, 0.1, (24, 24, 26))
    elif target == "screw":
        slab(-0.8, -0.6, 0.8, 0.6, colour)
        for x, y in ((0.0, 0.0), (0.6, 0.42), (-0.6, -0.42), (0.6, -0.42)):
            centre = turned(np.array([[x, y]]), spot, turn, size_px)[0]
            canvas.disc(centre, size_px * 0.07, (176, 178, 184))
            canvas.line(np.stack([centre - size_px * 0.04, centre + size_px * 0.04]), (60, 60, 64), 1)
    elif target == "panel":
        slab(-1.6, -1.2, 1.6, 1.2, colour)
        for y in (-0.5, 0.4):
            ends = turned(np.array([[-1.5, y], [1.5, y]]), spot, turn, size_px)
            canvas.line(ends, shade(colour, 0.75), size_px * 0.02)
    elif target == "hole":
        canvas.disc(spot, size_px * 0.75, colour)
        canvas.disc(spot, size_px * 0.58, (34, 34, 38))


def _surface(generator: np.random.Generator, size_wh: tuple[int, int]) -> np.ndarray:
    width, height = size_wh
    first, second = np.array(random_colour(generator)), np.array(random_colour(generator))
    if generator.random() < 0.6:  # most surfaces have one colour and a weak pattern
        second = first * generator.uniform(0.75, 1.25)
    kind = generator.integers(0, 5)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    turn, pitch = generator.uniform(0, np.pi), generator.uniform(6, 60)
    along = xs * np.cos(turn) + ys * np.sin(turn)
    if kind == 0:
        mix = along / max(width, height) + 0.2
    elif kind == 1:
        mix = 0.5 + 0.5 * np.sign(np.sin(along / pitch * np.pi))
    elif kind == 2:
        across = ys * np.cos(turn) - xs * np.sin(turn)
        mix = ((np.floor(along / pitch) + np.floor(across / pitch)) % 2).astype(np.float32)
    else:
        cells = int(generator.integers(3, 24))
        coarse = generator.random((cells, cells)).astype(np.float32)
        mix = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        if kind == 4:
            mix = (mix > 0.5).astype(np.float32)
    mix = np.clip(mix, 0, 1)[..., None].astype(np.float32)
    image = first.astype(np.float32) * (1 - mix) + second.astype(np.float32) * mix
    grain = generator.normal(0, generator.uniform(0, 10), (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    image += cv2.resize(grain, (width, height))[..., None]
    return np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))


def _finish(image_rgb: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    image = image_rgb.astype(np.float32)
    gains = generator.uniform(0.75, 1.2) * generator.uniform(0.92, 1.08, 3)
    image = image * gains.astype(np.float32) + generator.uniform(-12, 18)
    ramp = np.linspace(generator.uniform(0.75, 1.0), generator.uniform(0.9, 1.2), image.shape[1], dtype=np.float32)
    image *= ramp[None, :, None]
    if generator.random() < 0.75:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), generator.uniform(0.3, 1.1)), np.float32)
    image += generator.normal(0, generator.uniform(0.5, 7), image.shape).astype(np.float32)
    image_rgb = np.clip(image, 0, 255).astype(np.uint8)
    if generator.random() < 0.5:
        quality = int(generator.integers(35, 90))
        encoded = cv2.imencode(".jpg", image_rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image_rgb = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return image_rgb
