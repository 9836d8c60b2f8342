"""The simulated stations as data: what stands there, what the worker does, and with what.

Coordinates are base units: a picture is 640 wide and 360 high whatever the camera's resolution.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lineact.simulation.canvas import Canvas, Colour, shade
from lineact.simulation.objects import DARK, STEEL
from lineact.simulation.palette import BENCHES, PRODUCTS, SLEEVES

BASE_WH = (640.0, 360.0)
NG = "NG"


@dataclass(frozen=True)
class Movement:
    """Something a hand does for a while.

    Attributes:
        label: one of the line's actions, or NG.
        pose: a name of `lineact.simulation.hand.POSES`.
        held: kinds of things, one of which is held; empty for none.
        spots: base units: where the fingers or the thing's end go; one is chosen.
        path: how the hand moves there, see `lineact.simulation.script.offset_along`.
        reach: distance from the wrist to the spot, hand lengths.
        seconds: shortest and longest duration.
        turn_deg: the thing's direction against the hand's.
        roll_deg: added to the pose's roll.
        both: both hands do it, the second at the spot's mirror image.
    """

    label: str
    pose: str
    held: tuple[str, ...]
    spots: tuple[tuple[float, float], ...]
    path: str
    reach: float
    seconds: tuple[float, float] = (2.5, 4.5)
    turn_deg: float = 0.0
    roll_deg: float = 0.0
    both: bool = False


@dataclass(frozen=True)
class Station:
    """A work place in front of a fixed camera.

    Attributes:
        bench: its colour.
        surface: "mat", "wood", "steel" or "rollers".
        draw_product: draws the product; the number is how far its door is open, 0 to 1.
        sleeves: colours of work jackets; close to the bench, as on antistatic mats.
        hand_px: length of a hand, base units.
        elbows_xy: where the forearms of the left and the right hand come from, base units.
        steps: the takt's actions in order.
        holds: what the other hand may do meanwhile.
        irrelevant: movements that are no action.
        litter: kinds of things lying about.
        door: the action that opens the product's door, or None.
        pause_s: shortest and longest time between two steps in which nobody needs to be there.
    """

    bench: Colour
    surface: str
    draw_product: Callable[[Canvas, float, float], None]
    sleeves: tuple[Colour, ...]
    hand_px: float
    elbows_xy: tuple[tuple[float, float], tuple[float, float]]
    steps: tuple[Movement, ...]
    holds: tuple[Movement, ...]
    irrelevant: tuple[Movement, ...]
    litter: tuple[str, ...]
    door: str | None = None
    pause_s: tuple[float, float] = (0.1, 0.8)


class _Pen:
    """Draws in base units."""

    def __init__(self, canvas: Canvas, scale: float) -> None:
        self.canvas, self.scale = canvas, scale

    def slab(self, x1: float, y1: float, x2: float, y2: float, colour: Colour, edge: float = 2.0) -> None:
        corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) * self.scale
        self.canvas.slab(corners, colour, edge * self.scale)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.canvas.disc(np.array([x, y]) * self.scale, radius * self.scale, colour)

    def line(self, points: list[tuple[float, float]], colour: Colour, width: float = 1.0) -> None:
        self.canvas.line(np.array(points) * self.scale, colour, width * self.scale)

    def screw(self, x: float, y: float) -> None:
        self.disc(x, y, 5.5, STEEL)
        self.line([(x - 3, y - 2), (x + 3, y + 2)], DARK)
        self.line([(x - 2, y + 3), (x + 2, y - 3)], DARK)


_SCREWS = ((238.0, 92.0), (402.0, 92.0), (238.0, 208.0), (402.0, 208.0))


def _control_box(canvas: Canvas, scale: float, _open: float) -> None:
    pen = _Pen(canvas, scale)
    pen.slab(216, 72, 424, 230, PRODUCTS[1], 4)
    pen.slab(226, 82, 414, 220, PRODUCTS[3], 1.5)
    for x, y in _SCREWS:
        pen.screw(x, y)
    pen.slab(262, 96, 330, 140, PRODUCTS[2], 2)
    pen.line([(268, 128), (282, 112), (296, 122), (322, 104)], (120, 190, 140), 1.5)
    for column in range(3):
        pen.disc(352 + column * 18, 110, 6, (PRODUCTS[0], PRODUCTS[2], (186, 56, 48))[column])
    pen.slab(262, 160, 380, 204, shade(PRODUCTS[3], 0.9), 1)
    pen.line([(200, 120), (216, 124)], DARK, 5)
    pen.line([(150, 62), (184, 96), (200, 120)], DARK, 4)


def _dishwasher(canvas: Canvas, scale: float, open_share: float) -> None:
    pen = _Pen(canvas, scale)
    pen.slab(150, 20, 490, 250, PRODUCTS[0], 4)
    pen.slab(168, 34, 472, 236, shade(PRODUCTS[2], 0.8), 3)
    for x in range(184, 466, 18):
        pen.line([(x, 44), (x, 200)], PRODUCTS[1], 1.5)
    for y in range(54, 210, 26):
        pen.line([(176, y), (464, y)], shade(PRODUCTS[1], 0.8), 1.5)
    edge = 226 - open_share * 120  # the door's upper edge: closed it lies at the front
    pen.slab(158, edge, 482, edge + 46 + open_share * 70, PRODUCTS[0], 3)
    pen.slab(266, edge + 8, 374, edge + 20, DARK, 2)
    pen.slab(424, 40, 480, 62, PRODUCTS[3], 2)
    pen.slab(430, 48, 474, 54, (24, 24, 26), 1)


def _dispenser(canvas: Canvas, scale: float, _open: float) -> None:
    pen = _Pen(canvas, scale)
    pen.slab(190, 30, 450, 250, PRODUCTS[0], 5)
    pen.slab(206, 42, 434, 92, PRODUCTS[2], 3)
    for column in range(5):
        pen.disc(240 + column * 40, 67, 10, (PRODUCTS[1], PRODUCTS[0])[column % 2])
        pen.disc(240 + column * 40, 67, 3, (44, 92, 160))
    pen.slab(250, 106, 390, 186, shade(PRODUCTS[2], 0.7), 4)
    pen.disc(290, 132, 9, STEEL)
    pen.disc(350, 132, 9, STEEL)
    pen.slab(278, 200, 362, 232, shade(PRODUCTS[0], 0.92), 1)
    pen.slab(404, 120, 440, 200, PRODUCTS[3], 2)
    pen.slab(414, 130, 420, 190, (24, 24, 26), 1)


def _tank(canvas: Canvas, scale: float, _open: float) -> None:
    pen = _Pen(canvas, scale)
    pen.slab(120, 150, 520, 176, shade(STEEL, 0.7), 3)
    pen.disc(320, 150, 98, PRODUCTS[0])
    pen.disc(320, 150, 74, shade(PRODUCTS[0], 0.92))
    pen.disc(320, 150, 22, STEEL)
    for turn in np.linspace(0, 2 * np.pi, 7)[:-1]:
        pen.disc(320 + 52 * np.cos(turn), 150 + 52 * np.sin(turn), 5, DARK)
    pen.slab(206, 138, 228, 162, DARK, 2)
    pen.slab(412, 138, 434, 162, DARK, 2)
    pen.slab(512, 46, 576, 96, PRODUCTS[1], 3)
    pen.disc(544, 70, 13, (186, 56, 48))


_WIDE = ((90.0, 250.0), (170.0, 300.0), (470.0, 300.0), (550.0, 250.0), (320.0, 290.0))


def _irrelevant(free: tuple[tuple[float, float], ...]) -> tuple[Movement, ...]:
    """What workers everywhere do besides their work."""
    return (
        Movement(NG, "grip", ("bottle",), free, "lift", 0.7, (1.6, 3.0), turn_deg=-60.0),
        Movement(NG, "cup", ("phone",), free, "still", 0.7, (2.0, 4.0), roll_deg=172.0),
        Movement(NG, "spread", (), free, "wave", 0.6, (1.2, 2.2)),
        Movement(NG, "fist", (), free, "scratch", 0.5, (1.2, 2.4)),
        Movement(NG, "grip", ("wrench",), free, "slide", 0.7, (1.6, 2.8), turn_deg=20.0),
        Movement(NG, "hook", (), free, "slide", 0.6, (1.2, 2.4)),
    )


_BOTTOM = ((205.0, 520.0), (435.0, 520.0))
_LITTER = ("screwdriver", "cloth", "label", "bottle", "phone", "wrench", "pen", "box", "cup", "cable", "tape")

STATIONS: dict[str, Station] = {
    "demo": Station(
        bench=BENCHES[0],
        surface="mat",
        draw_product=_control_box,
        sleeves=SLEEVES[:1],
        hand_px=92.0,
        elbows_xy=_BOTTOM,
        steps=(
            Movement("screw", "grip", ("screwdriver",), _SCREWS, "turn", 1.25, (3.0, 5.0), turn_deg=10.0),
            Movement("wipe", "flat", ("cloth",), ((296, 136), (344, 150), (320, 180)), "circle", 0.75, (2.5, 4.5)),
            Movement("label", "pinch", ("label",), ((300, 178), (340, 180)), "press", 0.9, (2.5, 4.0), turn_deg=0.0),
        ),
        holds=(
            Movement(NG, "cup", (), ((222, 150), (418, 150), (230, 220), (410, 220)), "still", 0.8, (2.0, 4.0)),
            Movement(NG, "fist", (), ((214, 200), (426, 200)), "still", 0.5, (2.0, 4.0)),
        ),
        irrelevant=_irrelevant(_WIDE),
        litter=_LITTER,
    ),
    "gi_d": Station(
        bench=BENCHES[2],
        surface="rollers",
        draw_product=_dishwasher,
        sleeves=SLEEVES[1:3],
        hand_px=70.0,
        elbows_xy=((190.0, 500.0), (450.0, 500.0)),
        steps=(
            Movement("door_open_close", "hook", (), ((296, 236), (346, 236)), "door", 0.62, (3.0, 5.0)),
            Movement("check", "point", (), ((250, 110), (330, 90), (400, 150)), "press", 0.95, (2.5, 5.0)),
            Movement("instructions_insertion", "pinch", ("booklet",), ((452, 52), (446, 60)), "press", 1.1, (2.5, 4.0)),
        ),
        holds=(
            Movement(NG, "cup", (), ((160, 180), (482, 180)), "still", 0.8, (2.0, 4.0)),
            Movement(NG, "fist", (), ((170, 250), (470, 250)), "still", 0.5, (2.0, 4.0)),
        ),
        irrelevant=_irrelevant(((80.0, 270.0), (150.0, 300.0), (500.0, 300.0), (560.0, 270.0))),
        litter=("wrench", "bottle", "tape", "booklet", "pen", "box"),
        door="door_open_close",
    ),
    "gi_wd": Station(
        bench=BENCHES[1],
        surface="wood",
        draw_product=_dispenser,
        sleeves=SLEEVES[2:4],
        hand_px=72.0,
        elbows_xy=_BOTTOM,
        steps=(
            Movement(
                "instructions_insertion", "pinch", ("booklet",), ((417, 150), (417, 170)), "press", 1.1, (2.5, 4.0)
            ),
            Movement(
                "top_buttons_pressing",
                "point",
                (),
                ((240, 67), (280, 67), (320, 67), (360, 67), (400, 67)),
                "press",
                0.95,
                (3.0, 5.0),
            ),
            Movement("logo_paste", "thumb_press", ("plate",), ((312, 214), (330, 216)), "still", 0.7, (2.5, 4.0)),
            Movement("inner_check", "grip", ("lamp",), ((300, 150), (340, 150)), "slide", 1.2, (2.5, 4.5)),
        ),
        holds=(
            Movement(NG, "cup", (), ((196, 170), (446, 190)), "still", 0.8, (2.0, 4.0)),
            Movement(NG, "fist", (), ((190, 240), (450, 240)), "still", 0.5, (2.0, 4.0)),
        ),
        irrelevant=_irrelevant(_WIDE),
        litter=("lamp", "plate", "booklet", "bottle", "cloth", "screwdriver", "cup"),
    ),
    "ttp_wh": Station(
        bench=BENCHES[3],
        surface="steel",
        draw_product=_tank,
        sleeves=(SLEEVES[0], SLEEVES[3]),
        hand_px=74.0,
        elbows_xy=((150.0, 500.0), (490.0, 500.0)),
        steps=(
            Movement("tank_lifting", "hook", (), ((222, 152),), "lift", 0.62, (3.0, 5.0), both=True),
            Movement("light", "thumb_press", (), ((544, 74), (540, 70)), "press", 0.62, (2.0, 3.5)),
            Movement("tank_localization", "flat", (), ((236, 120), (404, 120), (320, 96)), "slide", 0.85, (3.0, 5.0)),
        ),
        holds=(
            Movement(NG, "cup", (), ((420, 190), (220, 190)), "still", 0.8, (2.0, 4.0)),
            Movement(NG, "fist", (), ((150, 176), (490, 176)), "still", 0.5, (2.0, 4.0)),
        ),
        irrelevant=_irrelevant(_WIDE),
        litter=("wrench", "hammer", "bottle", "cable", "tape", "cup"),
    ),
    "ua": Station(  # short steps in a fixed order, far apart in time
        bench=BENCHES[3],
        surface="steel",
        draw_product=_control_box,
        sleeves=SLEEVES[1:3],
        hand_px=84.0,
        elbows_xy=_BOTTOM,
        steps=(
            Movement("place_plate", "flat", ("plate",), ((300, 130), (340, 130)), "slide", 0.85, (1.2, 2.2)),
            Movement("bolt", "grip", ("driver",), _SCREWS[:2], "turn", 1.25, (1.2, 2.2), turn_deg=10.0),
            Movement("clip", "thumb_press", (), ((300, 180), (340, 180)), "press", 0.75, (1.2, 2.0)),
            Movement("scan", "grip", ("scanner",), ((270, 200), (370, 200)), "still", 1.1, (1.2, 2.0)),
        ),
        holds=(
            Movement(NG, "cup", (), ((222, 150), (418, 150), (230, 220), (410, 220)), "still", 0.8, (2.0, 4.0)),
            Movement(NG, "fist", (), ((214, 200), (426, 200)), "still", 0.5, (2.0, 4.0)),
        ),
        irrelevant=_irrelevant(_WIDE),
        litter=("driver", "plate", "scanner", "bottle", "wrench", "box", "cup"),
        pause_s=(8.0, 18.0),
    ),
}
