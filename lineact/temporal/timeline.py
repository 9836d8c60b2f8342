"""A picture of segments over time: a row for each action, true and found segments above each other."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lineact.files import write_whole
from lineact.temporal.segments import Segments

INCHES_PER_ROW = 0.42


def draw_timeline(
    path: Path, segments: Mapping[str, Segments], labels: Sequence[str], duration_s: float, title: str
) -> None:
    """Draws one video's segments.

    Args:
        path: PNG.
        segments: by what they are, e.g. "true" and "found"; surer ones are darker.
        labels: actions, from above.
        duration_s: of the video.
        title: above the picture.
    """
    from matplotlib.figure import Figure

    rows = len(labels) * len(segments)
    figure = Figure(figsize=(10, 1.2 + INCHES_PER_ROW * rows), layout="constrained")
    axes = figure.subplots()
    for number, (name, drawn) in enumerate(segments.items()):
        for row, label in enumerate(labels):
            of_label = drawn.take(drawn.labels == label)
            spans = np.stack([of_label.start_s, of_label.end_s - of_label.start_s], axis=1)
            place = row * len(segments) + number
            shades = [(*_rgb(number), 0.25 + 0.75 * min(float(score), 1.0)) for score in of_label.scores]
            axes.broken_barh(spans.tolist(), (place + 0.1, 0.8), facecolors=shades, label=name if not row else None)
    axes.set(xlim=(0, duration_s), ylim=(rows, 0), xlabel="seconds", title=title)
    middles = [(row + 0.5) * len(segments) for row in range(len(labels))]
    axes.set_yticks(middles, labels)
    axes.hlines([row * len(segments) for row in range(1, len(labels))], 0, duration_s, color="0.85", linewidth=0.8)
    if len(segments) > 1:
        axes.legend(loc="upper right", fontsize="small")
    write_whole(path, partial(figure.savefig, dpi=120))


def _rgb(number: int) -> tuple[float, float, float]:
    from matplotlib import colormaps

    red, green, blue, _ = colormaps["tab10"](number % 10)
    return red, green, blue
