"""Models over time, as SVG."""

from collections.abc import Sequence
from html import escape

from flows.report_facts import Run
from flows.report_figures import OVER_TIME

COLOURS = ("#2f6db3", "#e08a1e", "#3d9a5f", "#a04fa0", "#c2504a")
WIDTH_PX, HEIGHT_PX, LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 860, 260, 44, 220, 12, 28


def chart(runs: Sequence[Run], addresses: Sequence[str]) -> str:
    """Headline figures of each run, 0 to 1; each point leads to its run.

    Args:
        runs: the oldest first.
        addresses: of their pages.
    """
    names = [name for name in OVER_TIME if any(name in run.metrics for run in runs)]
    if not names:
        return ""
    wide, high = WIDTH_PX - LEFT_PX - RIGHT_PX, HEIGHT_PX - TOP_PX - BOTTOM_PX
    step = wide / max(len(runs) - 1, 1)
    drawn = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = TOP_PX + high * (1 - share)
        drawn.append(f'<line class="grid" x1="{LEFT_PX}" x2="{LEFT_PX + wide}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{LEFT_PX - 8}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>')
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        points = [
            (LEFT_PX + index * step, TOP_PX + high * (1 - min(max(run.metrics[name], 0.0), 1.0)), index)
            for index, run in enumerate(runs)
            if name in run.metrics
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, index in points:
            run = runs[index]
            told = f"{OVER_TIME[name]} {run.metrics[name]:.3f}, {run.started_at:%Y-%m-%d %H:%M}"
            dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{escape(told)}</title></circle>'
            drawn.append(f'<a href="{escape(addresses[index])}">{dot}</a>')
        y = TOP_PX + 14 + 20 * number
        drawn.append(f'<rect x="{LEFT_PX + wide + 20}" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
        drawn.append(f'<text x="{LEFT_PX + wide + 38}" y="{y}">{escape(OVER_TIME[name])}</text>')
    for anchor, run, x in (("start", runs[0], LEFT_PX), ("end", runs[-1], LEFT_PX + wide))[: min(len(runs), 2)]:
        drawn.append(f'<text x="{x}" y="{HEIGHT_PX - 6}" text-anchor="{anchor}">{run.started_at:%Y-%m-%d}</text>')
    size = f'viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}"'
    return f'<div class="wide"><svg {size} role="img" aria-label="models over time">{"".join(drawn)}</svg></div>'
