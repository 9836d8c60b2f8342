"""All colours of the simulated stations. Pretraining scenes keep away from them (`lineact.foundation.scenes`)."""

from lineact.simulation.canvas import Colour

SKIN: tuple[Colour, ...] = ((222, 178, 150), (198, 148, 116), (150, 104, 78))
GLOVES: tuple[Colour, ...] = ((92, 112, 142), (196, 194, 186), (74, 78, 84), (176, 150, 104))
SLEEVES: tuple[Colour, ...] = ((58, 66, 84), (96, 100, 98), (120, 92, 70), (70, 84, 72))
BENCHES: tuple[Colour, ...] = ((74, 82, 96), (164, 140, 108), (136, 140, 140), (96, 104, 100))
PRODUCTS: tuple[Colour, ...] = ((212, 212, 206), (150, 156, 160), (60, 62, 66), (176, 172, 160))
# Held things of actions and of irrelevant movements share these, so that no colour tells an action.
THINGS: tuple[Colour, ...] = (
    (186, 56, 48),
    (44, 92, 160),
    (214, 170, 52),
    (60, 128, 82),
    (72, 74, 80),
    (206, 204, 196),
    (184, 144, 104),
    (206, 112, 48),
)
ALL: tuple[Colour, ...] = SKIN + GLOVES + SLEEVES + BENCHES + PRODUCTS + THINGS
