"""Made-up machines for pretraining scenes: housings with panels, racks, buttons, screws and hoses in random colours.

Whoever has only seen hands on bare surfaces takes a row of buttons for fingers. No machine here is a line's product.
"""

import numpy as np

from lineact.foundation.scenes import random_colour
from lineact.simulation.canvas import Canvas, Colour, shade, turned

MACHINE_ID = 5  # owner of a machine's pixels in a scene's canvas
MAX_MACHINES = 2
RIM_PLACES = 4  # of each machine
SIDES = (1.4, 4.5)  # shortest and longest side of a housing or width of a drum, hand lengths


def draw_machines(canvas: Canvas, generator: np.random.Generator, hand_px: float) -> np.ndarray:
    """Draws no to `MAX_MACHINES` machines on a canvas that shows nothing else yet.

    Args:
        canvas: where; its pen is changed.
        generator: all randomness.
        hand_px: length of a hand in this scene.

    Returns:
        Places in view on the machines' rims, where a hand may work: pixels, n x 2 (x, y).
    """
    height, width = canvas.owner.shape
    rims = [np.empty((0, 2))]
    for _ in range(int(generator.integers(0, MAX_MACHINES + 1))):
        centre = np.array([generator.uniform(0.1, 0.9) * width, generator.uniform(0.1, 0.9) * height])
        turn = float(generator.integers(0, 4) * np.pi / 2 + generator.normal(0, 0.05))
        if generator.random() < 0.2:  # some stand askew
            turn = float(generator.uniform(0, 2 * np.pi))
        rims.append(_Machine(canvas, generator, centre, turn, hand_px).draw())
    places = np.concatenate(rims)
    return places[((places >= 0) & (places < [width, height])).all(axis=1)]


class _Machine:
    """One housing; its own frame has its centre as origin and hand lengths as unit."""

    def __init__(
        self, canvas: Canvas, generator: np.random.Generator, centre_xy: np.ndarray, turn_rad: float, hand_px: float
    ) -> None:
        self._canvas, self._generator = canvas, generator
        self._centre_xy, self._turn_rad, self._hand_px = centre_xy, turn_rad, hand_px

    def draw(self) -> np.ndarray:
        self._canvas.pen = MACHINE_ID
        half_w, half_h = self._generator.uniform(*SIDES, 2) / 2
        body = random_colour(self._generator)
        for _ in range(int(self._generator.integers(0, 3))):
            self._hose(float(half_w), float(half_h))
        if self._generator.random() < 0.3:
            radius = float(self._generator.uniform(*SIDES) / 2)
            self._drum(radius, body)
            turns = self._generator.uniform(0, 2 * np.pi, RIM_PLACES)
            return self._at(radius * np.stack([np.cos(turns), np.sin(turns)], axis=1))
        self._slab(-half_w, -half_h, half_w, half_h, body)
        if self._generator.random() < 0.6:
            inset = self._generator.uniform(0.06, 0.2)
            self._slab(-half_w + inset, -half_h + inset, half_w - inset, half_h - inset, self._near(body))
        if self._generator.random() < 0.2:
            self._rack(float(half_w), float(half_h), body)
        for _ in range(int(self._generator.integers(0, 7))):
            self._part(float(half_w), float(half_h), body)
        if self._generator.random() < 0.5:
            self._screws(float(half_w), float(half_h))
        along, side = self._generator.uniform(-1, 1, RIM_PLACES), self._generator.choice([-1.0, 1.0], RIM_PLACES)
        swapped = self._generator.random(RIM_PLACES) < 0.5
        rim = np.where(swapped[:, None], np.stack([side, along], axis=1), np.stack([along, side], axis=1))
        return self._at(rim * np.array([half_w, half_h]))

    def _rack(self, half_w: float, half_h: float, body: Colour) -> None:
        """An opening with bars in front of it, over most of the housing."""
        share_w, share_h = self._generator.uniform(0.5, 0.92, 2)
        corners = (-half_w * share_w, -half_h * share_h, half_w * share_w, half_h * share_h)
        self._slab(*corners, shade(body, self._generator.uniform(0.1, 0.5)))
        self._grille(*corners, shade(body, self._generator.uniform(0.4, 1.2)))

    def _part(self, half_w: float, half_h: float, body: Colour) -> None:
        """A panel with something on it, anywhere inside the housing."""
        size_w, size_h = self._generator.uniform(0.15, 0.55, 2) * 2 * np.array([half_w, half_h])
        x1 = self._generator.uniform(-half_w, half_w - size_w)
        y1 = self._generator.uniform(-half_h, half_h - size_h)
        colour = self._near(body) if self._generator.random() < 0.5 else random_colour(self._generator)
        if self._generator.random() < 0.75:
            self._slab(x1, y1, x1 + size_w, y1 + size_h, colour)
        kind = self._generator.integers(0, 5)
        if kind == 0:
            self._grille(x1, y1, x1 + size_w, y1 + size_h, random_colour(self._generator))
        elif kind in (1, 2):
            self._buttons(x1, y1, size_w, size_h)
        elif kind == 3:
            inset = 0.2 * min(size_w, size_h)
            dark = shade(colour, 0.25)
            self._slab(x1 + inset, y1 + inset, x1 + size_w - inset, y1 + size_h - inset, dark)

    def _grille(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        pitch, width_px = self._generator.uniform(0.1, 0.4), self._hand_px * self._generator.uniform(0.01, 0.06)
        directions = int(self._generator.integers(1, 4))  # bars across, along, or both
        if directions & 1:
            for x in np.arange(x1 + pitch / 2, x2, pitch):
                self._canvas.line(self._at([[x, y1], [x, y2]]), colour, width_px)
        if directions & 2:
            for y in np.arange(y1 + pitch / 2, y2, pitch):
                self._canvas.line(self._at([[x1, y], [x2, y]]), colour, width_px)

    def _buttons(self, x1: float, y1: float, size_w: float, size_h: float) -> None:
        columns, rows = (int(count) for count in self._generator.integers(1, 6, 2))
        radius = self._generator.uniform(0.2, 0.45) * min(size_w / columns, size_h / rows, 0.5)
        colours = [random_colour(self._generator) for _ in range(2)]
        for index in range(columns * rows):
            column, row = index % columns, index // columns
            spot = [x1 + (column + 0.5) * size_w / columns, y1 + (row + 0.5) * size_h / rows]
            self._disc(spot, radius, colours[index % 2])
            if self._generator.random() < 0.3:
                self._disc(spot, radius * 0.4, colours[1 - index % 2])

    def _screws(self, half_w: float, half_h: float) -> None:
        inset = self._generator.uniform(0.08, 0.25)
        colour = random_colour(self._generator)
        for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            spot = np.array([x * (half_w - inset), y * (half_h - inset)])
            self._disc(spot.tolist(), 0.06, colour)
            self._canvas.line(self._at([spot - 0.04, spot + 0.04]), shade(colour, 0.3), 1)

    def _drum(self, radius: float, body: Colour) -> None:
        inner = np.sort(self._generator.uniform(0.1, 1.0, int(self._generator.integers(0, 5))))[::-1]
        for share in (1.0, *inner):
            self._disc([0.0, 0.0], radius * float(share), body)
            body = self._near(body)
        bolt, count = random_colour(self._generator), int(self._generator.integers(0, 9))
        for turn in np.linspace(0, 2 * np.pi, count + 1)[:-1]:
            self._disc([0.6 * radius * np.cos(turn), 0.6 * radius * np.sin(turn)], 0.08 * radius, bolt)

    def _hose(self, half_w: float, half_h: float) -> None:
        reach = max(half_w, half_h)
        points = self._generator.uniform(-1.8, 1.8, (4, 2)) * reach
        colour = random_colour(self._generator)
        width_px = self._hand_px * self._generator.uniform(0.03, 0.14)
        self._canvas.line(self._at(points), shade(colour, 0.6), width_px + 2)
        self._canvas.line(self._at(points), colour, width_px)

    def _near(self, colour: Colour) -> Colour:
        return shade(colour, self._generator.uniform(0.55, 1.3))

    def _slab(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        self._canvas.slab(self._at([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]), colour, self._hand_px * 0.03)

    def _disc(self, centre: list[float], radius: float, colour: Colour) -> None:
        self._canvas.disc(self._at([centre])[0], radius * self._hand_px, colour)

    def _at(self, points: object) -> np.ndarray:
        return turned(np.asarray(points, float), self._centre_xy, self._turn_rad, self._hand_px)
