"""The report's pictures, as SVG: what was done when, and how long cycles took."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from lineact.bundle.work import IRRELEVANT
from lineact.runtime.shift.figures import Figures
from lineact.runtime.shift.reading import Finding, Recording
from lineact.runtime.work.events import CYCLE

COLOURS = ("#2f6db3", "#e08a1e", "#3d9a5f", "#a04fa0", "#c2504a", "#5f7d8c", "#8a6d2f", "#4aa3a8")
IRRELEVANT_COLOUR = "#b8b8b8"
CYCLE_COLOUR, WRONG_COLOUR = "#dfe6ee", "#f6cdc6"
WIDTH_PX, LABEL_PX, LANE_PX, MARK_PX = 900, 120, 22, 18
STRIPS_S = (30, 60, 120, 300, 600, 900, 1800, 3600, 7200)  # a strip's length is one of these
MOST_STRIPS = 12
TICKS = 8
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
BINS = 20
BAR_WIDTH_PX, BAR_HEIGHT_PX = 560, 150


class Mark(NamedTuple):
    """A numbered deviation."""

    number: int
    finding: Finding


Clock = Callable[[float], str]


def colour_of(action: str, actions: Sequence[str]) -> str:
    """The colour of an action."""
    return IRRELEVANT_COLOUR if action == IRRELEVANT else COLOURS[list(actions).index(action) % len(COLOURS)]


def timeline(
    recording: Recording, figures: Figures, actions: Sequence[str], marks: Sequence[Mark], clock: Clock
) -> str:
    """Lanes of actions over time, one strip below the other.

    Args:
        recording: what was done.
        figures: of it.
        actions: lanes from above.
        marks: deviations, which lead to their rows of the table.
        clock: how a time is written.
    """
    longest_s = next((one for one in STRIPS_S if figures.seconds <= MOST_STRIPS * one), STRIPS_S[-1])
    strip_s = float(longest_s) if figures.seconds > longest_s else max(figures.seconds, 1.0)
    starts_s = np.arange(figures.from_s, max(figures.to_s, figures.from_s + 1e-3), strip_s)
    return "\n".join(_strip(recording, float(start_s), strip_s, actions, marks, clock) for start_s in starts_s)


def _strip(
    recording: Recording, from_s: float, length_s: float, actions: Sequence[str], marks: Sequence[Mark], clock: Clock
) -> str:
    lanes = {action: MARK_PX + LANE_PX * (row + 1) for row, action in enumerate(actions)}
    height = MARK_PX + LANE_PX * (len(actions) + 1)

    def x(at_s: float) -> float:
        share = min(max((at_s - from_s) / length_s, 0.0), 1.0)
        return LABEL_PX + share * (WIDTH_PX - LABEL_PX - 8)

    def inside(start_s: float, end_s: float) -> bool:
        return start_s < from_s + length_s and end_s > from_s

    parts = [_text(4, MARK_PX + 15, "cycles", "lane")]
    parts += [_text(4, y + 15, action, "lane") for action, y in lanes.items()]
    for at_s in _ticks(from_s, length_s):
        parts.append(f'<line x1="{x(at_s):.1f}" x2="{x(at_s):.1f}" y1="{MARK_PX}" y2="{height}" class="tick"/>')
        parts.append(_text(x(at_s), height + 13, clock(at_s), "time"))
    wrong = {mark.finding.cycle for mark in marks if mark.finding.kind != "idle"}
    for one in recording.findings:
        if one.kind == CYCLE and inside(one.start_s, one.end_s):
            says = f"{one.words}, {clock(one.start_s)}"
            parts.append(
                _bar(
                    x(one.start_s),
                    x(one.end_s),
                    MARK_PX,
                    WRONG_COLOUR if one.cycle in wrong else CYCLE_COLOUR,
                    says,
                    "cycle",
                )
            )
            if x(one.end_s) - x(one.start_s) > 26 and one.start_s >= from_s:
                parts.append(_text(x(one.start_s) + 4, MARK_PX + 14, str(one.cycle), "number"))
    for act in recording.acts:
        if inside(act.start_s, act.end_s):
            says = f"{act.action}, {act.end_s - act.start_s:.1f} s, {clock(act.start_s)}"
            parts.append(
                _bar(x(act.start_s), x(act.end_s), lanes[act.action], colour_of(act.action, actions), says, "")
            )
    for mark in marks:
        at_s = mark.finding.start_s
        if from_s <= at_s < from_s + length_s:
            parts.append(_mark(mark, x(at_s)))
    return f'<svg viewBox="0 0 {WIDTH_PX} {height + 18}" role="img" class="strip">{"".join(parts)}</svg>'


def _mark(mark: Mark, at: float) -> str:
    """A triangle with the deviation's number, large enough for a finger, that leads to its row."""
    return (
        f'<a href="#d{mark.number}"><rect x="{at - 9:.1f}" y="0" width="36" height="{MARK_PX}" class="touch"/>'
        f'<path d="M{at - 7:.1f} 2h14l-7 14z" class="mark"/><title>{escape(mark.finding.words)}</title>'
        f"{_text(at + 9, 13, str(mark.number), 'number')}</a>"
    )


def histogram(cycles_s: np.ndarray, takt_s: float | None) -> str:
    """How often cycles took how long."""
    low, high = float(cycles_s.min()), float(cycles_s.max())
    step_s = next((one for one in STEPS_S if (high - low) / one <= BINS), STEPS_S[-1])
    begin_s = math.floor(low / step_s) * step_s
    edges_s = np.arange(begin_s, high + step_s, step_s)
    if len(edges_s) < 2 or edges_s[-1] <= high:
        edges_s = np.append(edges_s, edges_s[-1] + step_s)
    counts, _ = np.histogram(cycles_s, edges_s)
    wide = (BAR_WIDTH_PX - 40) / len(counts)
    parts = []
    for row, count in enumerate(counts):
        tall = count / counts.max() * (BAR_HEIGHT_PX - 20)
        at = 30 + row * wide
        says = f"{edges_s[row]:g} to {edges_s[row + 1]:g} s: {count}"
        place = f'x="{at + 1:.1f}" width="{max(wide - 2, 1):.1f}" y="{BAR_HEIGHT_PX - tall:.1f}" height="{tall:.1f}"'
        parts.append(f'<rect {place} fill="{COLOURS[0]}"><title>{says}</title></rect>')
        if count:
            parts.append(_text(at + wide / 2 - 3, BAR_HEIGHT_PX - tall - 4, str(count), "number"))
    every = max(len(edges_s) // 8, 1)
    for row in range(0, len(edges_s), every):
        parts.append(_text(24 + row * wide, BAR_HEIGHT_PX + 15, f"{edges_s[row]:g}", "time"))
    parts.append(_text(BAR_WIDTH_PX / 2, BAR_HEIGHT_PX + 32, "seconds, first step's start to last step's end", "axis"))
    if takt_s is not None and edges_s[0] <= takt_s <= edges_s[-1]:
        at = 30 + (takt_s - edges_s[0]) / step_s * wide
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="4" y2="{BAR_HEIGHT_PX}" class="takt"/>')
        parts.append(_text(at + 4, 12, f"takt {takt_s:g} s", "number"))
    return f'<svg viewBox="0 0 {BAR_WIDTH_PX} {BAR_HEIGHT_PX + 38}" role="img" class="histogram">{"".join(parts)}</svg>'


def _ticks(from_s: float, length_s: float) -> list[float]:
    step_s = next((one for one in STEPS_S if length_s / one <= TICKS), STEPS_S[-1])
    first = math.ceil(from_s / step_s)
    return [number * step_s for number in range(first, math.floor((from_s + length_s) / step_s) + 1)]


def _bar(left: float, right: float, top: float, colour: str, says: str, kind: str) -> str:
    place = f'x="{left:.1f}" y="{top + 2}" width="{max(right - left, 1.0):.1f}" height="{LANE_PX - 4}"'
    return f'<rect {place} fill="{colour}" class="{kind}"><title>{escape(says)}</title></rect>'


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'
