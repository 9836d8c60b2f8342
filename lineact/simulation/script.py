"""What both hands do when: takts of ordered steps, pauses, irrelevant movements, and the way in and out of the view."""

from dataclasses import dataclass

import numpy as np

from lineact.simulation.hand import POSES
from lineact.simulation.objects import Thing
from lineact.simulation.palette import THINGS
from lineact.simulation.stations import BASE_WH, NG, Movement, Station


@dataclass(frozen=True)
class Span:
    """One hand doing one thing.

    Attributes:
        start_s, end_s: at the spot; the ways there and back come on top.
        way_in_s, way_out_s: duration of the ways.
        movement: what.
        spot_xy: base units.
        pose: 21 numbers: the movement's pose as done this time.
        thing: held, or None.
        turn_rad: the thing's direction against the hand's.
        tempo: factor on the path's speed.
    """

    start_s: float
    end_s: float
    way_in_s: float
    way_out_s: float
    movement: Movement
    spot_xy: tuple[float, float]
    pose: np.ndarray
    thing: Thing | None
    turn_rad: float
    tempo: float


@dataclass(frozen=True)
class HandState:
    """A hand at an instant.

    Attributes:
        spot_xy: what fingers or thing reach for, base units.
        span: what it is doing.
        pose: 21 numbers.
    """

    spot_xy: np.ndarray
    span: Span
    pose: np.ndarray


def write_script(station: Station, seconds: float, generator: np.random.Generator) -> tuple[list[Span], list[Span]]:
    """Spans of the left and the right hand, in order and not overlapping (ways included), within the recording."""
    hands: tuple[list[Span], list[Span]] = ([], [])
    clock = float(generator.uniform(0.3, 1.2))
    while clock < seconds:
        for step in station.steps:
            if generator.random() < 0.45:
                clock = _irrelevant(station, hands, clock, generator)
            clock = _step(station, step, hands, clock, generator)
        clock += float(generator.uniform(0.6, 2.0))  # the next product arrives
    whole = [[span for span in spans if span.end_s + span.way_out_s < seconds] for spans in hands]
    return whole[0], whole[1]


def state_at(spans: list[Span], time_s: float, rest_xy: tuple[float, float]) -> HandState | None:
    """The hand at a time; None while it is out of view."""
    for span in spans:
        if not span.start_s - span.way_in_s <= time_s < span.end_s + span.way_out_s:
            continue
        rest, spot = np.array(rest_xy), np.array(span.spot_xy)
        if time_s < span.start_s:
            share = _smooth((time_s - span.start_s + span.way_in_s) / span.way_in_s)
        elif time_s >= span.end_s:
            share = _smooth(1 - (time_s - span.end_s) / span.way_out_s)
        else:
            share = 1.0
        arc = np.array([np.sin(share * np.pi) * 14.0 * np.sign(spot[0] - rest[0]), 0.0])
        offset, pose = offset_along(span, time_s)
        return HandState(rest + (spot - rest) * share + arc + offset * share, span, pose)
    return None


def offset_along(span: Span, time_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the movement's path is at a time (base units off the spot), and the pose there."""
    phase = 2 * np.pi * (time_s - span.start_s) * span.tempo
    pose = span.pose.copy()
    path = span.movement.path
    if path == "turn":
        pose[19] += 20 * np.sin(phase * 1.1)
        return np.array([2 * np.sin(phase), 2 * np.cos(phase * 1.1)]), pose
    if path == "circle":
        return np.array([34 * np.cos(phase * 0.6), 18 * np.sin(phase * 0.6)]), pose
    if path == "press":
        return np.array([8 * np.sin(phase * 0.23), 9 * max(0.0, np.sin(phase * 0.8))]), pose
    if path == "slide":
        return np.array([26 * np.sin(phase * 0.35), 8 * np.cos(phase * 0.27)]), pose
    if path == "wave":
        pose[19] += 18 * np.sin(phase * 1.3)
        return np.array([28 * np.sin(phase * 1.3), 6 * np.cos(phase)]), pose
    if path == "scratch":
        return np.array([5 * np.sin(phase * 2.2), 7 * np.cos(phase * 2.2)]), pose
    if path == "lift":
        return np.array([4 * np.sin(phase * 0.4), -22 * max(0.0, np.sin(phase * 0.25))]), pose
    if path == "door":
        return np.array([0.0, -120.0 * door_share(span, time_s)]), pose
    return np.array([2.5 * np.sin(phase * 0.3), 2 * np.cos(phase * 0.21)]), pose  # still


def door_share(span: Span, time_s: float) -> float:
    """How far the door is open at a time of the span that moves it, 0 to 1."""
    share = np.clip((time_s - span.start_s) / (span.end_s - span.start_s), 0, 1)
    return float(np.sin(share * np.pi) ** 2)


def _smooth(share: float) -> float:
    return share * share * (3 - 2 * share)


def _step(
    station: Station, step: Movement, hands: tuple[list[Span], list[Span]], clock: float, generator: np.random.Generator
) -> float:
    spot = step.spots[generator.integers(0, len(step.spots))]
    # The nearer hand works, mostly.
    side = int(spot[0] > BASE_WH[0] / 2) if generator.random() < 0.75 else int(generator.integers(0, 2))
    if step.both:
        side = 0
    span = _span(step, spot, clock, generator)
    hands[side].append(span)
    end = span.end_s + span.way_out_s
    if step.both:
        mirrored = (BASE_WH[0] - spot[0], spot[1])
        other = _span(step, mirrored, clock, generator, seconds=span.end_s - span.start_s)
        hands[1 - side].append(other)
        end = max(end, other.end_s + other.way_out_s)
    else:
        chance = generator.random()
        if chance < 0.6:
            choices = station.holds if chance < 0.42 else station.irrelevant
            movement = choices[generator.integers(0, len(choices))]
            _alongside(movement, 1 - side, hands, (clock, end), spot, generator)
    return end + float(generator.uniform(*station.pause_s))


def _irrelevant(
    station: Station, hands: tuple[list[Span], list[Span]], clock: float, generator: np.random.Generator
) -> float:
    movement = station.irrelevant[generator.integers(0, len(station.irrelevant))]
    spot = movement.spots[generator.integers(0, len(movement.spots))]
    span = _span(movement, spot, clock, generator)
    hands[int(spot[0] > BASE_WH[0] / 2)].append(span)
    return span.end_s + span.way_out_s + float(generator.uniform(0.1, 0.6))


def _alongside(
    movement: Movement,
    side: int,
    hands: tuple[list[Span], list[Span]],
    window_s: tuple[float, float],
    other_xy: tuple[float, float],
    generator: np.random.Generator,
) -> None:
    """Adds what the other hand does meanwhile, on its own side and away from the working hand."""
    own_side = [spot for spot in movement.spots if (spot[0] > BASE_WH[0] / 2) == bool(side)] or list(movement.spots)
    spot = max(own_side, key=lambda candidate: abs(candidate[0] - other_xy[0]) + generator.uniform(0, 40))
    start = window_s[0] + float(generator.uniform(0.0, 0.8))
    room = window_s[1] - start - 1.8
    if room < 0.8:
        return
    seconds = min(room, float(generator.uniform(*movement.seconds)))
    hands[side].append(_span(movement, spot, start, generator, seconds=seconds))


def _span(
    movement: Movement,
    spot: tuple[float, float],
    clock: float,
    generator: np.random.Generator,
    seconds: float | None = None,
) -> Span:
    way_in, way_out = generator.uniform(0.45, 0.8, 2)
    if seconds is None:
        seconds = float(generator.uniform(*movement.seconds))
    pose = POSES[movement.pose].copy()
    pose[:19] += generator.normal(0, 3.5, 19)
    pose[19:] += generator.normal(0, 7, 2)
    pose[19] += movement.roll_deg
    thing = None
    if movement.held:
        main, second = generator.choice(len(THINGS), 2, replace=False)
        kind = movement.held[generator.integers(0, len(movement.held))]
        stretch, mark = float(generator.uniform(0.9, 1.12)), int(generator.integers(0, 1000))
        thing = Thing(kind, (THINGS[main], THINGS[second]), stretch, mark)
    jitter = generator.normal(0, 5, 2) if movement.label == NG else generator.normal(0, 2, 2)
    start = clock + float(way_in)
    return Span(
        start_s=start,
        end_s=start + seconds,
        way_in_s=float(way_in),
        way_out_s=float(way_out),
        movement=movement,
        spot_xy=(spot[0] + float(jitter[0]), spot[1] + float(jitter[1])),
        pose=pose,
        thing=thing,
        turn_rad=float(np.deg2rad(movement.turn_deg) + generator.normal(0, 0.12)),
        tempo=float(generator.uniform(0.8, 1.25)),
    )
