"""The report as one HTML page: no script, no network, nothing about single workers."""

import base64
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple

import numpy as np

from lineact.bundle.work import IRRELEVANT, WorkSettings
from lineact.runtime.shift.clips import Clip
from lineact.runtime.shift.drawing import Clock, Mark, colour_of, histogram, timeline
from lineact.runtime.shift.figures import Figures
from lineact.runtime.shift.reading import Finding, Recording
from lineact.runtime.work.events import DEVIATIONS

KINDS = {
    "missing_step": "missing step",
    "wrong_order": "wrong order",
    "repeated_step": "repeated step",
    "extra_step": "extra step",
    "step_too_short": "step too short",
    "step_too_long": "step too long",
    "cycle_too_long": "over takt",
    "idle": "idle",
}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; media-src data:; img-src data:; base-uri 'none'; form-action 'none'"
)
STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 0 1rem 3rem; color: #1d2730; }
h1 { font-size: 1.5rem; margin: 1.2rem 0 0.2rem; } h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
.about { color: #55616c; margin: 0; }
.tiles { display: flex; flex-wrap: wrap; gap: 0.7rem; margin: 1rem 0; }
.tile { background: #f1f4f7; border-radius: 0.5rem; padding: 0.6rem 0.9rem; min-width: 7.5rem; }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.tile.wrong { background: #fbe9e6; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.35rem 1rem 0.35rem 0; border-bottom: 1px solid #e2e7ec; vertical-align: top; }
td.n, th.n { text-align: right; }
.wide { overflow-x: auto; }
svg.strip { width: 100%; min-width: 44rem; display: block; } svg.histogram { width: 100%; max-width: 35rem; }
svg text { font: 12px system-ui, sans-serif; fill: #38434d; } svg .time, svg .axis { fill: #69757f; font-size: 11px; }
svg .axis { text-anchor: middle; } svg .tick { stroke: #e2e7ec; } svg .takt { stroke: #c2504a; stroke-dasharray: 5 4; }
svg .mark { fill: #c2302a; } svg .touch { fill: transparent; } svg .cycle { stroke: #b9c5d1; }
.swatch { display: inline-block; width: 0.8rem; height: 0.8rem; border-radius: 0.2rem; margin-right: 0.4rem; }
tr:target { background: #fff3c4; }
video { width: 15rem; max-width: 100%; display: block; background: #000; border-radius: 0.3rem; }
.none { color: #55616c; }
@media print { video { display: none; } h2 { break-after: avoid; } tr, svg { break-inside: avoid; } }
"""


class Part(NamedTuple):
    """A recording's part of the page.

    Attributes:
        recording: what was done; with at least one action.
        figures: of it.
        marks: its deviations, numbered over the page.
        clips: by the number of the deviation.
        left_out: so many deviations have no clip because the page would get too large.
    """

    recording: Recording
    figures: Figures
    marks: tuple[Mark, ...]
    clips: dict[int, Clip]
    left_out: int


def page(parts: Sequence[Part], work: WorkSettings | None, idle_s: float) -> str:
    """The page.

    Args:
        parts: one for each camera or video.
        work: the standard, where it is known.
        idle_s: what counts as idle.
    """
    lines = sorted({part.recording.line for part in parts} - {""})
    title = "Shift report" + (f": {', '.join(lines)}" if lines else "")
    body = "".join(_part(part, work, idle_s) for part in parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def clock_of(recording: Recording) -> Clock:
    """How the recording's times are written: time of day here, or minutes and seconds of a video."""
    if recording.is_utc:
        return lambda at_s: datetime.fromtimestamp(at_s).astimezone().strftime("%H:%M:%S")
    return lambda at_s: f"{int(at_s // 60)}:{at_s % 60:04.1f}"


def _part(part: Part, work: WorkSettings | None, idle_s: float) -> str:
    recording, figures = part.recording, part.figures
    clock = clock_of(recording)
    actions = _lanes(recording, work)
    takt_s = work.takt_s if work else None
    drawn = timeline(recording, figures, actions, part.marks, clock)
    sections = [
        f'<p class="about">{_about(recording, figures, clock)}</p>',
        _tiles(part, takt_s, idle_s),
        f'<h2>What was done when</h2><div class="wide">{drawn}</div>',
        _legend(part),
        _deviations(part, work, clock),
        _cycles(figures, takt_s, work),
        _counts(figures, actions),
    ]
    return f"<section>{''.join(sections)}</section>"


def _lanes(recording: Recording, work: WorkSettings | None) -> list[str]:
    """Actions in the standard's order, then others, irrelevant movements last."""
    standard = list(dict.fromkeys(step.action for step in work.steps)) if work else []
    others = sorted({act.action for act in recording.acts} - {*standard, IRRELEVANT})
    irrelevant = [IRRELEVANT] if any(act.action == IRRELEVANT for act in recording.acts) else []
    return [*standard, *others, *irrelevant]


def _about(recording: Recording, figures: Figures, clock: Clock) -> str:
    name = f"{'Camera' if recording.is_utc else 'Video'} <b>{escape(recording.name)}</b>"
    period = f"{clock(figures.from_s)} to {clock(figures.to_s)}"
    if recording.is_utc:
        begin = datetime.fromtimestamp(figures.from_s).astimezone()
        period = f"{begin:%d %B %Y}, {period} ({begin:%Z})"
    bundles = f", bundle {escape(', '.join(recording.bundles))}" if recording.bundles else ""
    return f"{name}, {period}, from the first to the last thing seen{bundles}."


def _tiles(part: Part, takt_s: float | None, idle_s: float) -> str:
    figures = part.figures
    cycles = figures.cycles_s
    seconds = figures.seconds or 1.0  # a single frame has no length
    steps = sum(mark.finding.kind != "idle" for mark in part.marks)
    tiles = [_tile(str(len(cycles)), "cycles seen whole")]
    if len(cycles):
        tiles.append(_tile(f"{np.median(cycles):.1f} s", "median cycle"))
        tiles.append(_tile(f"{np.percentile(cycles, 90):.1f} s", "90 % of cycles take at most"))
        if takt_s is not None:
            over = int((cycles > takt_s).sum())
            tiles.append(_tile(str(over), f"cycles over the takt of {takt_s:g} s", wrong=over > 0))
    tiles.append(_tile(str(steps), "deviations from the standard", wrong=steps > 0))
    tiles.append(_tile(_length(figures.idle_s), f"idle: no step for {idle_s:g} s or more ({len(figures.idle)} times)"))
    tiles.append(_tile(f"{100 * figures.work_s / seconds:.0f} %", "of the time a step goes on"))
    if figures.irrelevant_s:
        tiles.append(_tile(f"{100 * figures.irrelevant_s / seconds:.0f} %", "irrelevant movements alone (NG)"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(figure: str, words: str, wrong: bool = False) -> str:
    return f'<div class="tile{" wrong" if wrong else ""}"><b>{escape(figure)}</b>{escape(words)}</div>'


def _legend(part: Part) -> str:
    if not part.marks:
        return ""
    return (
        '<p class="about">Red marks are deviations; a click leads to the table. Cycles with one are red, too. '
        "Point at a bar to see its times.</p>"
    )


def _deviations(part: Part, work: WorkSettings | None, clock: Clock) -> str:
    heading = "<h2>Deviations</h2>"
    if not part.marks:
        known = work is not None or part.recording.findings
        none = "None." if known else "The line has no standard work, so nothing is compared."
        return f'{heading}<p class="none">{none}</p>'
    shows_product = any(mark.finding.product for mark in part.marks)
    rows = []
    for number, finding in part.marks:
        clip = part.clips.get(number)
        shown = "" if clip is None else _video(clip)
        product = f"<td>{escape(finding.product)}</td>" if shows_product else ""
        rows.append(
            f'<tr id="d{number}"><td class="n">{number}</td><td>{clock(finding.start_s)}</td>'
            f"<td>{KINDS.get(finding.kind, escape(finding.kind))}</td><td>{_words(finding, part.figures)}</td>"
            f'<td class="n">{finding.cycle}</td>{product}<td>{shown}</td></tr>'
        )
    product = "<th>product</th>" if shows_product else ""
    head = (
        '<tr><th class="n">no.</th><th>time</th><th>kind</th><th>what</th><th class="n">cycle</th>'
        f"{product}<th>{'clip' if part.clips else ''}</th></tr>"
    )
    left_out = f'<p class="none">{part.left_out} further deviations have no clip here.</p>' if part.left_out else ""
    sums = ", ".join(
        f"{KINDS[kind]} {count}"
        for kind in DEVIATIONS
        if (count := sum(mark.finding.kind == kind for mark in part.marks))
    )
    return f'{heading}<p class="about">{sums}</p><div class="wide"><table>{head}{"".join(rows)}</table></div>{left_out}'


def _video(clip: Clip) -> str:
    video, still = (base64.b64encode(content).decode() for content in clip)
    return (
        f'<video controls muted playsinline preload="none" poster="data:image/jpeg;base64,{still}" '
        f'src="data:video/mp4;base64,{video}"></video>'
    )


def _words(finding: Finding, figures: Figures) -> str:
    """What is said of a deviation; of idle time how long it was in the end."""
    if finding.kind != "idle":
        return escape(finding.words)
    whole_s = next(
        (end_s - start_s for start_s, end_s in figures.idle if start_s <= finding.end_s <= end_s + 1e-3), 0.0
    )
    return escape(f"no step for {_length(whole_s)}" if whole_s else finding.words)


def _cycles(figures: Figures, takt_s: float | None, work: WorkSettings | None) -> str:
    heading = "<h2>Cycle times</h2>"
    if not len(figures.cycles_s):
        why = "No cycle was seen whole." if work else "None: the line has no standard work."
        return f'{heading}<p class="none">{why}</p>'
    cycles = figures.cycles_s
    said = f"{len(cycles)} cycles from {cycles.min():.1f} to {cycles.max():.1f} s"
    partial = f"; {figures.partial} more whose begin or end was not seen are left out" if figures.partial else ""
    return f'{heading}<p class="about">{said}{partial}.</p>{histogram(cycles, takt_s)}'


def _counts(figures: Figures, actions: Sequence[str]) -> str:
    rows = "".join(
        f'<tr><td><span class="swatch" style="background:{colour_of(one.action, actions)}"></span>{escape(one.action)}'
        f'</td><td class="n">{one.times}</td><td class="n">{one.median_s:.1f}</td><td class="n">{one.p90_s:.1f}</td>'
        f'<td class="n">{_length(one.total_s)}</td></tr>'
        for one in figures.counts
    )
    head = (
        '<tr><th>action</th><th class="n">times</th><th class="n">median, s</th><th class="n">90 % within, s</th>'
        '<th class="n">in all</th></tr>'
    )
    return f"<h2>Actions</h2><table>{head}{rows}</table>"


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
