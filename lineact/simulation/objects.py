"""Things that hands hold, stations show and benches are littered with, each drawn from above.

A thing's own frame: origin where a hand holds it, x along its length, unit = a hand's length.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lineact.simulation.canvas import Canvas, Colour, shade, turned

STEEL: Colour = (168.0, 172.0, 176.0)
DARK: Colour = (44.0, 46.0, 50.0)
PAPER: Colour = (232.0, 230.0, 222.0)


@dataclass(frozen=True)
class Thing:
    """A thing in a picture.

    Attributes:
        kind: a name of `DRAWN`.
        colours: main and second colour.
        stretch: length factor, about 1.
        seed: decides prints, folds and other small marks.
    """

    kind: str
    colours: tuple[Colour, Colour]
    stretch: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class _Place:
    canvas: Canvas
    origin_xy: np.ndarray
    angle_rad: float
    scale: float
    thing: Thing

    def at(self, points: object) -> np.ndarray:
        return turned(np.asarray(points, float) * [self.thing.stretch, 1.0], self.origin_xy, self.angle_rad, self.scale)

    def rod(
        self, start: tuple[float, float], end: tuple[float, float], radius: float, colour: Colour, taper: float = 1.0
    ) -> None:
        ends = self.at([start, end])
        self.canvas.rod(ends[0], ends[1], (radius * self.scale, radius * taper * self.scale), colour)

    def slab(self, points: object, colour: Colour, edge: float = 0.02) -> None:
        self.canvas.slab(self.at(points), colour, max(edge * self.scale, 0.8))

    def line(self, points: object, colour: Colour, width: float = 0.02) -> None:
        self.canvas.line(self.at(points), colour, width * self.scale)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        self.canvas.disc(self.at([centre])[0], radius * self.scale, colour)


def _box(x1: float, y1: float, x2: float, y2: float) -> list[tuple[float, float]]:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _screwdriver(place: _Place) -> None:
    main, second = place.thing.colours
    place.rod((0.2, 0.0), (0.82, 0.0), 0.026, STEEL)
    place.rod((0.78, 0.0), (0.86, 0.0), 0.034, shade(STEEL, 0.8), 0.6)
    place.rod((-0.3, 0.0), (0.22, 0.0), 0.088, main, 0.8)
    place.rod((0.14, 0.0), (0.2, 0.0), 0.09, second)
    place.line([(-0.28, -0.02), (0.1, -0.02)], shade(main, 0.55), 0.025)


def _driver(place: _Place) -> None:
    main, second = place.thing.colours
    place.rod((-0.1, 0.02), (-0.22, 0.42), 0.1, second)
    place.rod((-0.32, -0.02), (0.3, -0.02), 0.14, main)
    place.rod((0.28, -0.02), (0.46, -0.02), 0.075, DARK)
    place.rod((0.46, -0.02), (0.7, -0.02), 0.028, STEEL)


def _cloth(place: _Place) -> None:
    main, second = place.thing.colours
    generator = np.random.default_rng(place.thing.seed)
    angles = np.linspace(0, 2 * np.pi, 15)[:-1]
    radii = 0.42 * (1 + 0.16 * np.sin(3 * angles + generator.uniform(0, 6)) + generator.uniform(-0.08, 0.08, 14))
    outline = np.stack([np.cos(angles) * radii * 1.15 + 0.1, np.sin(angles) * radii], 1)
    place.canvas.polygon(place.at(outline), shade(main, 0.7), convex=False)
    place.canvas.polygon(place.at(outline * 0.93), main, convex=False)
    for _ in range(5):
        fold = generator.uniform(-0.33, 0.33, (3, 2)) * [1.2, 1.0] + [0.1, 0.0]
        place.line(fold, shade(main, 0.8), 0.03)
    place.line(outline[2:9] * 0.86, second, 0.03)


def _sponge(place: _Place) -> None:
    main, second = place.thing.colours
    place.slab(_box(-0.3, -0.22, 0.4, 0.22), main, 0.04)
    place.slab(_box(-0.3, 0.1, 0.4, 0.22), second, 0.02)


def _label(place: _Place) -> None:
    generator = np.random.default_rng(place.thing.seed)
    place.slab(_box(-0.12, -0.2, 0.5, 0.2), PAPER, 0.015)
    place.slab(_box(-0.1, -0.18, 0.48, -0.08), place.thing.colours[0], 0.005)
    for x in np.cumsum(generator.uniform(0.03, 0.07, 7)):
        place.line([(x, -0.02), (x, 0.13)], DARK, 0.012 + 0.02 * generator.random())


def _plate(place: _Place) -> None:
    main, second = place.thing.colours
    place.slab(_box(-0.1, -0.12, 0.46, 0.12), main, 0.03)
    place.line([(0.0, 0.06), (0.08, -0.06), (0.16, 0.06), (0.24, -0.06), (0.34, 0.05)], second, 0.035)


def _booklet(place: _Place) -> None:
    generator = np.random.default_rng(place.thing.seed)
    place.slab(_box(-0.15, -0.36, 0.75, 0.36), PAPER, 0.02)
    place.slab(_box(-0.12, -0.33, 0.1, 0.33), place.thing.colours[0], 0.01)
    for x in (0.2, 0.3, 0.4, 0.5, 0.6):
        place.line([(x, -0.28), (x, generator.uniform(0.0, 0.28))], (120, 120, 124), 0.02)
    place.line([(0.3, -0.36), (0.3, 0.36)], (190, 188, 180), 0.015)


def _phone(place: _Place) -> None:
    main, second = place.thing.colours
    place.slab(_box(-0.36, -0.19, 0.4, 0.19), main, 0.03)
    place.slab(_box(-0.3, -0.16, 0.34, 0.16), shade(DARK, 0.8), 0.01)
    place.slab(_box(-0.2, -0.12, 0.05, 0.12), shade(second, 0.9), 0.01)
    place.line([(0.1, -0.1), (0.1, 0.08)], (150, 160, 170), 0.02)


def _bottle(place: _Place) -> None:
    main, second = place.thing.colours
    place.rod((-0.38, 0.0), (0.3, 0.0), 0.17, main)
    place.rod((-0.2, 0.0), (0.05, 0.0), 0.172, PAPER)
    place.rod((0.4, 0.0), (0.5, 0.0), 0.075, main)
    place.rod((0.52, 0.0), (0.6, 0.0), 0.082, second)


def _wrench(place: _Place) -> None:
    main = place.thing.colours[0]
    steel = shade(STEEL, 0.9)
    place.rod((-0.4, 0.0), (0.4, 0.0), 0.045, steel)
    place.rod((-0.3, 0.0), (0.15, 0.0), 0.055, main)
    place.disc((0.48, 0.0), 0.12, steel)
    place.slab([(0.46, -0.045), (0.64, -0.07), (0.64, 0.07), (0.46, 0.045)], DARK, 0.01)
    place.disc((-0.44, 0.0), 0.09, steel)
    place.disc((-0.44, 0.0), 0.045, DARK)


def _pen(place: _Place) -> None:
    main, second = place.thing.colours
    place.rod((-0.4, 0.0), (0.22, 0.0), 0.032, main)
    place.rod((0.22, 0.0), (0.34, 0.0), 0.026, second, 0.3)


def _carton(place: _Place) -> None:
    main, second = place.thing.colours
    place.slab(_box(-0.3, -0.42, 0.62, 0.42), main, 0.03)
    place.slab(_box(-0.3, -0.07, 0.62, 0.07), shade(second, 1.0), 0.01)
    place.line([(0.3, -0.42), (0.3, 0.42)], shade(main, 0.7), 0.015)


def _cup(place: _Place) -> None:
    main, second = place.thing.colours
    place.disc((0.08, 0.0), 0.26, main)
    place.disc((0.08, 0.0), 0.2, shade(second, 0.7))


def _cable(place: _Place) -> None:
    main, second = place.thing.colours
    generator = np.random.default_rng(place.thing.seed)
    along = np.linspace(0, 1, 14)
    bend = generator.uniform(-0.5, 0.5, 2)
    curve = np.stack([0.1 - along * 0.9, bend[0] * along**2 + bend[1] * np.sin(along * 5) * 0.4], 1)
    place.line(curve, shade(main, 0.6), 0.07)
    place.line(curve, main, 0.04)
    place.slab(_box(0.02, -0.08, 0.3, 0.08), second, 0.02)


def _lamp(place: _Place) -> None:
    main, second = place.thing.colours
    place.slab([(0.42, -0.14), (1.0, -0.34), (1.0, 0.34), (0.42, 0.14)], (250, 246, 214), 0.05)
    place.rod((-0.4, 0.0), (0.3, 0.0), 0.085, main)
    place.rod((0.28, 0.0), (0.42, 0.0), 0.13, second)
    place.disc((0.5, 0.0), 0.1, (255, 252, 236))


def _wheel(place: _Place) -> None:
    main, second = place.thing.colours
    place.disc((0.2, 0.0), 0.4, main)
    place.disc((0.2, 0.0), 0.26, second)
    for turn in np.linspace(0, np.pi, 4)[:-1] + place.thing.seed:
        step = np.array([np.cos(turn), np.sin(turn)]) * 0.25
        place.line([(0.2 - step[0], -step[1]), (0.2 + step[0], step[1])], shade(second, 0.6), 0.04)
    place.disc((0.2, 0.0), 0.07, main)


def _tape(place: _Place) -> None:
    main, second = place.thing.colours
    place.disc((0.12, 0.0), 0.3, main)
    place.disc((0.12, 0.0), 0.19, shade(second, 0.8))
    place.slab(_box(0.12, 0.22, 0.62, 0.3), main, 0.01)


def _hammer(place: _Place) -> None:
    main = place.thing.colours[0]
    place.rod((-0.42, 0.0), (0.55, 0.0), 0.055, main)
    place.slab(_box(0.5, -0.26, 0.68, 0.22), shade(STEEL, 0.75), 0.03)


def _pliers(place: _Place) -> None:
    main = place.thing.colours[0]
    place.rod((-0.42, -0.13), (0.22, -0.02), 0.055, main)
    place.rod((-0.42, 0.13), (0.22, 0.02), 0.055, main)
    place.rod((0.22, 0.03), (0.55, 0.025), 0.05, STEEL, 0.5)
    place.rod((0.22, -0.03), (0.55, -0.025), 0.05, STEEL, 0.5)


def _scanner(place: _Place) -> None:
    main, second = place.thing.colours
    place.rod((-0.28, 0.12), (0.0, 0.0), 0.09, main)
    place.slab([(-0.02, -0.13), (0.4, -0.2), (0.4, 0.2), (-0.02, 0.13)], second, 0.03)
    place.slab(_box(0.36, -0.16, 0.42, 0.16), (150, 40, 44), 0.01)


DRAWN: dict[str, Callable[[_Place], None]] = {
    "screwdriver": _screwdriver,
    "driver": _driver,
    "cloth": _cloth,
    "sponge": _sponge,
    "label": _label,
    "plate": _plate,
    "booklet": _booklet,
    "phone": _phone,
    "bottle": _bottle,
    "wrench": _wrench,
    "pen": _pen,
    "box": _carton,
    "cup": _cup,
    "cable": _cable,
    "lamp": _lamp,
    "wheel": _wheel,
    "tape": _tape,
    "hammer": _hammer,
    "pliers": _pliers,
    "scanner": _scanner,
}


def draw_thing(canvas: Canvas, thing: Thing, origin_xy: np.ndarray, angle_rad: float, scale: float) -> None:
    """Draws a thing.

    Args:
        canvas: the picture.
        thing: what.
        origin_xy: where a hand would hold it, pixels.
        angle_rad: direction of its length; y down.
        scale: pixels per hand length.
    """
    DRAWN[thing.kind](_Place(canvas, np.asarray(origin_xy, float), angle_rad, scale, thing))
