"""Made-up machines of pretraining scenes, and the hands at their rims."""

import numpy as np

from lineact.foundation.corpus import NAMES
from lineact.foundation.machines import MACHINE_ID, MAX_MACHINES, RIM_PLACES, draw_machines
from lineact.foundation.scenes import AT_PLACES, render_scene
from lineact.simulation.canvas import Canvas

SIZE_WH = (240, 135)
HAND_PX = 30.0


def test_rim_places_are_in_view_and_at_the_edge_of_a_machine():
    at_edge = []
    for seed in range(40):
        canvas = Canvas(np.full((*SIZE_WH[::-1], 3), 7, np.uint8))
        places = draw_machines(canvas, np.random.default_rng(seed), HAND_PX)
        assert len(places) <= MAX_MACHINES * RIM_PLACES
        assert ((places >= 0) & (places < SIZE_WH)).all()
        for x, y in places.astype(int):
            around = canvas.owner[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4] == MACHINE_ID
            at_edge.append(around.any() and not around.all())
    assert len(at_edge) > 40
    assert np.mean(at_edge) > 0.8  # some rims lie below another machine


def test_so_many_hands_are_at_the_places_that_stand_out():
    place = np.array([[60.0, 90.0]])
    near = {}
    for name, places in (("with", place), ("without", np.empty((0, 2)))):
        found = []
        for seed in range(60):
            _, things = render_scene(
                np.random.default_rng(seed), SIZE_WH, (0.15, 0.2), lambda *_, places=places: places, 0.0
            )
            boxes = np.array([thing.box_xyxy_px for thing in things if thing.name in NAMES[:2]]).reshape(-1, 4)
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            found += (np.linalg.norm(centres - place, axis=1) < 30).tolist()
        near[name] = np.mean(found)
    assert near["without"] + AT_PLACES / 3 < near["with"] < near["without"] + 1.5 * AT_PLACES
