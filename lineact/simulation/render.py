"""From script to video: one recording of a station, frame by frame, with its truth."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lineact.simulation.camera import SensorNoise, blur_moving, cast_shadows, relight
from lineact.simulation.canvas import Canvas, capsule, shade, turned
from lineact.simulation.hand import Placed, Skin, hand_outline
from lineact.simulation.objects import Thing, draw_thing
from lineact.simulation.palette import GLOVES, SKIN, THINGS
from lineact.simulation.script import HandState, door_share, state_at, write_script
from lineact.simulation.stations import BASE_WH, Station
from lineact.simulation.worker import WorkingHand, draw_working_hand, visible_box, visible_share

LEAST_VISIBLE_SHARE = 0.25  # hands seen less than this have no truth box
DRAWN_WIDTH_PX = 1280  # larger pictures are drawn so wide and scaled up
MOVED_SHARE = 0.3  # of the things lying about that are somewhere else, or others, in each recording
_STATION_STREAM = 1 << 31  # beside the recordings' numbers: what is random about the station itself
_HANDS = ("left", "right")
_HAND_IDS = (1, 2)
_DOOR_STEPS = 24


@dataclass(frozen=True)
class TruthBox:
    """A visible hand on a frame.

    Attributes:
        index: of the frame.
        hand: "left" or "right".
        box_xyxy_px: pixels of the video.
        action: an action of the line, or NG.
    """

    index: int
    hand: str
    box_xyxy_px: tuple[float, float, float, float]
    action: str


@dataclass(frozen=True)
class View:
    """The camera.

    Attributes:
        size_wh: of the video, pixels.
        fps: frames per second.
        seconds: length of the recording.
        crf: of libx264.
        noise: standard deviation, grey levels.
        live: whether it is encoded as cameras do: no frame waits for a later one, and there is a key frame every 2 s.
    """

    size_wh: tuple[int, int]
    fps: int
    seconds: float
    crf: int
    noise: float
    live: bool = False


def render_frames(station: Station, view: View, seed: tuple[int, int]) -> Iterator[tuple[np.ndarray, list[TruthBox]]]:
    """Draws a recording.

    Args:
        station: what to show.
        view: the camera.
        seed: the line's seed and the recording's number; the number also picks the worker.

    Yields:
        Frames, uint8 H x W x 3 RGB, with the boxes of the hands on them.
    """
    generator = np.random.default_rng(seed)
    width = min(view.size_wh[0], DRAWN_WIDTH_PX)
    scale = width / BASE_WH[0]
    drawn_wh = (width, round(BASE_WH[1] * scale))
    enlarge = view.size_wh[0] / width
    skin = _worker(station, seed[1], generator)
    scripts = write_script(station, view.seconds, generator)
    stage = _Stage(station, scale, drawn_wh, np.random.default_rng((seed[0], _STATION_STREAM)), generator)
    noise = SensorNoise(generator, view.size_wh, view.noise)
    drift = generator.uniform(0, 2 * np.pi, 4)
    elbows = [np.array(elbow) + generator.normal(0, 12, 2) for elbow in station.elbows_xy]
    for index in range(round(view.seconds * view.fps)):
        time_s = index / view.fps
        states = [state_at(spans, time_s, _rest(elbow)) for spans, elbow in zip(scripts, elbows, strict=True)]
        canvas = stage.empty(time_s, states)
        hands = [_working(state, side, skin, elbows[side], station, scale) for side, state in enumerate(states)]
        for working in hands:
            if working is not None:
                _shadow(canvas, working)
        for side, working in enumerate(hands):
            if working is not None:
                before = scripts[side], time_s - 0.4 / view.fps, _rest(elbows[side])
                earlier = state_at(*before)
                _draw(canvas, working, side, states[side], earlier, scale)
        gains = 1.0 + 0.06 * np.sin(time_s / 9 + drift[0]) + 0.012 * np.sin(time_s * 2.1 + drift[1:])
        frame = relight(canvas.image_rgb, gains)
        frame = cv2.GaussianBlur(frame, (3, 3), 0.55 * min(scale, 1.5))
        if enlarge != 1:
            frame = cv2.resize(frame, view.size_wh, interpolation=cv2.INTER_CUBIC)
        yield noise.add(frame, generator), _truth(index, canvas, hands, states, enlarge)


def write_recording(path: Path, station: Station, view: View, seed: tuple[int, int]) -> list[TruthBox]:
    """Renders and encodes a recording (H.264 in MP4; one thread, so that the same settings give the same bytes)."""
    import av

    truth: list[TruthBox] = []
    with av.open(str(path), "w", format="mp4") as container:
        options = {
            "crf": str(view.crf),
            "preset": "veryfast",
            "threads": "1",
            "x264-params": "threads=1:lookahead_threads=1",
        }
        if view.live:
            options |= {"bf": "0", "g": str(2 * view.fps)}
        stream = container.add_stream("libx264", rate=view.fps, options=options)
        stream.width, stream.height = view.size_wh
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, view.fps)
        for index, (frame_rgb, boxes) in enumerate(render_frames(station, view, seed)):
            frame = av.VideoFrame.from_ndarray(frame_rgb, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
            truth += boxes
        container.mux(stream.encode())
    return truth


class _Stage:
    """The station without hands; drawn once for each position of the product's door.

    The camera is fixed and the bench stays: surface, light and most things are the line's, some are the recording's.
    """

    def __init__(
        self,
        station: Station,
        scale: float,
        drawn_wh: tuple[int, int],
        of_line: np.random.Generator,
        of_recording: np.random.Generator,
    ) -> None:
        self._station, self._scale = station, scale
        self._surface = _surface(station, drawn_wh, of_line)
        self._vignette = _vignette(drawn_wh, of_line)
        self._litter = _litter(station, of_line, of_recording)
        self._drawn: dict[int, np.ndarray] = {}

    def empty(self, time_s: float, states: list[HandState | None]) -> Canvas:
        share = 0.0
        for state in states:
            if state is not None and state.span.movement.label == self._station.door:
                share = door_share(state.span, time_s)
        step = round(share * _DOOR_STEPS)
        if step not in self._drawn:
            self._drawn[step] = self._draw(step / _DOOR_STEPS)
        return Canvas(self._drawn[step].copy())

    def _draw(self, open_share: float) -> np.ndarray:
        canvas = Canvas(self._surface.copy())
        for thing, spot, turn in self._litter:
            size = self._station.hand_px * self._scale
            outline = turned(
                np.array([[-0.3, -0.1], [0.5, -0.1], [0.5, 0.1], [-0.3, 0.1]]), spot * self._scale + 3, turn, size
            )
            cast_shadows(canvas.image_rgb, [outline], 0.35, 5 * self._scale)
            draw_thing(canvas, thing, spot * self._scale, turn, size)
        self._station.draw_product(canvas, self._scale, open_share)
        return cv2.multiply(canvas.image_rgb, self._vignette, scale=1 / 255)


def _rest(elbow_xy: np.ndarray) -> tuple[float, float]:
    """Where a hand's target lies while the hand is out of view."""
    return float(elbow_xy[0]), BASE_WH[1] + 150.0


def _worker(station: Station, number: int, generator: np.random.Generator) -> Skin:
    sleeve = station.sleeves[number % len(station.sleeves)]
    tone = SKIN[number % len(SKIN)]
    sleeve_from = float(generator.uniform(0.12, 0.3))
    if number % 2:
        return Skin(tone, False, None, tone, tone, sleeve, sleeve_from)
    glove = GLOVES[number // 2 % 2]
    fingertips = shade(glove, 0.55) if number % 4 == 2 else None
    return Skin(glove, True, fingertips, shade(glove, 0.7), tone, sleeve, sleeve_from)


def _working(
    state: HandState | None, side: int, skin: Skin, elbow_xy: np.ndarray, station: Station, scale: float
) -> WorkingHand | None:
    if state is None:
        return None
    size = station.hand_px
    towards = state.spot_xy - elbow_xy
    angle = float(np.arctan2(towards[1], towards[0]))
    unit = np.array([np.cos(angle), np.sin(angle)])
    wrist = state.spot_xy - unit * state.span.movement.reach * size
    arm = float(np.linalg.norm(wrist - elbow_xy)) + 60
    hand = Placed(side == 0, wrist * scale, angle, angle, size * scale, state.pose)
    turn = state.span.turn_rad * (1 if side else -1)
    return WorkingHand(hand, skin, state.span.thing, turn, arm * scale)


def _shadow(canvas: Canvas, working: WorkingHand) -> None:
    hand = working.hand
    shift = np.array([0.07, 0.09]) * hand.size_px
    back = hand.wrist_xy - np.array([np.cos(hand.arm_angle_rad), np.sin(hand.arm_angle_rad)]) * working.arm_length_px
    arm = capsule(back + shift, hand.wrist_xy + shift, (0.25 * hand.size_px, 0.13 * hand.size_px))
    outlines = [outline + shift for outline in hand_outline(hand)]
    cast_shadows(canvas.image_rgb, [*outlines, arm], 0.38, 0.07 * hand.size_px)


def _draw(
    canvas: Canvas, working: WorkingHand, side: int, state: HandState | None, earlier: HandState | None, scale: float
) -> None:
    before = canvas.owner.copy()
    draw_working_hand(canvas, working, _HAND_IDS[side], 3, 4)
    if state is not None and earlier is not None:
        blur_moving(canvas.image_rgb, canvas.owner != before, (state.spot_xy - earlier.spot_xy) * scale)


def _truth(
    index: int, canvas: Canvas, hands: list[WorkingHand | None], states: list[HandState | None], enlarge: float
) -> list[TruthBox]:
    boxes = []
    for side, (working, state) in enumerate(zip(hands, states, strict=True)):
        if working is None or state is None:
            continue
        box = visible_box(canvas.owner, _HAND_IDS[side])
        if box is None or visible_share(canvas.owner, _HAND_IDS[side], working.hand) < LEAST_VISIBLE_SHARE:
            continue
        x1, y1, x2, y2 = (float(value) * enlarge for value in box)
        boxes.append(TruthBox(index, _HANDS[side], (x1, y1, x2, y2), state.span.movement.label))
    return boxes


def _litter(
    station: Station, of_line: np.random.Generator, of_recording: np.random.Generator
) -> list[tuple[Thing, np.ndarray, float]]:
    """Things along the bench's margins: distractors of the same kinds and colours as those in use."""
    places = [(60, 60), (110, 150), (60, 220), (80, 310), (560, 60), (540, 160), (590, 230), (560, 310), (500, 30)]
    used = of_line.permutation(len(places))[: int(of_line.integers(5, 8))]
    lying = {place: _thing_near(station, places[place], of_line) for place in used}
    for place in used[of_recording.random(len(used)) < MOVED_SHARE]:
        del lying[place]
        free = sorted(set(range(len(places))) - set(lying))
        elsewhere = int(of_recording.choice(free))
        lying[elsewhere] = _thing_near(station, places[elsewhere], of_recording)
    return list(lying.values())


def _thing_near(
    station: Station, place: tuple[int, int], generator: np.random.Generator
) -> tuple[Thing, np.ndarray, float]:
    main, second = generator.choice(len(THINGS), 2, replace=False)
    kind = station.litter[generator.integers(0, len(station.litter))]
    thing = Thing(kind, (THINGS[main], THINGS[second]), 1.0, int(generator.integers(0, 1000)))
    return thing, np.array(place) + generator.normal(0, 12, 2), float(generator.uniform(0, 2 * np.pi))


def _surface(station: Station, size_wh: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    width, height = size_wh
    tone = np.ones((height, width), np.float32)
    if station.surface == "mat":
        spots = generator.normal(0, 0.05, (height // 2, width // 2)).astype(np.float32)
        tone += cv2.resize(spots, size_wh)
        tone[:: max(height // 9, 1)] *= 0.86
        tone[:, :: max(width // 16, 1)] *= 0.86
    elif station.surface == "wood":
        grain = generator.normal(0, 1, (height // 3, 9)).astype(np.float32)
        tone += 0.06 * cv2.resize(grain, size_wh, interpolation=cv2.INTER_CUBIC)
        tone[:: max(height // 4, 1)] *= 0.7
    elif station.surface == "steel":
        brushed = generator.normal(0, 1, (height, 24)).astype(np.float32)
        tone += 0.045 * cv2.resize(brushed, size_wh)
    else:  # rollers
        across = np.abs(np.sin(np.arange(width, dtype=np.float32) / width * np.pi * 26))
        tone *= 0.62 + 0.45 * across[None]
    dirt = cv2.resize(generator.normal(0, 0.05, (9, 16)).astype(np.float32), size_wh, interpolation=cv2.INTER_CUBIC)
    image = np.array(station.bench, np.float32) * (tone + dirt)[..., None]
    return np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))


def _vignette(size_wh: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    width, height = size_wh
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    centre = np.array([width, height]) * generator.uniform(0.35, 0.65, 2)
    distance = np.hypot((xs - centre[0]) / width, (ys - centre[1]) / height)
    return cv2.merge([np.clip(255 * (1.02 - 0.45 * distance**2), 0, 255).astype(np.uint8)] * 3)
