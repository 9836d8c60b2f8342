"""Pictures for people: confusion matrices and precision over recall, as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lineact.files import write_whole


def draw_confusion(path: Path, confusion: np.ndarray, labels: Sequence[str], title: str = "") -> None:
    """Draws a confusion matrix: counts, on the colour of their share of the actual class.

    Args:
        path: PNG.
        confusion: int, K x K, rows are actual classes.
        labels: K names.
        title: above it.
    """
    from matplotlib.figure import Figure

    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    side = 2.6 + 0.7 * len(labels)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="actual", title=title, xticks=range(len(labels)), yticks=range(len(labels)))
    axes.set_xticklabels(labels, rotation=30, ha="right")
    axes.set_yticklabels(labels)
    for (row, column), number in np.ndenumerate(confusion):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(number), ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes, label="share of the actual class", shrink=0.8)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))


def draw_precision_recall(path: Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str) -> None:
    """Draws precision over recall.

    Args:
        path: PNG.
        curves: by label: (precision, recall), one point per prediction in falling order of score.
        title: above it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for label, (precision, recall) in curves.items():
        axes.plot(recall, precision, label=label)
    axes.set(xlabel="recall", ylabel="precision", title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))
