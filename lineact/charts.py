"""Pictures for people: confusion matrices and precision over recall, as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lineact.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


def draw_confusion(path: Path, confusion: np.ndarray, labels: Sequence[str], title: str = "") -> None:
    """Draws a confusion matrix: counts, on the colour of their share of the actual class.

    Args:
        path: PNG.
        confusion: int, K x K, rows are actual classes; fewer rows where the last labels are never actual ones.
        labels: K names.
        title: above it.
    """
    draw_confusions(path, {title: confusion}, labels)


def draw_confusions(path: Path, confusions: Mapping[str, np.ndarray], labels: Sequence[str], columns: int = 3) -> None:
    """Draws several confusion matrices side by side.

    Args:
        path: PNG.
        confusions: by title, each as in `draw_confusion`.
        labels: K names.
        columns: at most so many in a row.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(confusions))
    rows = -(-len(confusions) // columns)
    side = 2.6 + 0.7 * len(labels)
    figure = Figure(figsize=(columns * side + 0.6, rows * side), layout="constrained")
    all_axes = figure.subplots(rows, columns, squeeze=False)
    for axes in all_axes.flat[len(confusions) :]:
        axes.set_axis_off()
    for axes, (title, confusion) in zip(all_axes.flat, confusions.items(), strict=False):
        image = _draw_counts(axes, confusion, labels, title)
    figure.colorbar(image, ax=all_axes, label="share of the actual class", shrink=0.8 / rows)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))


def _draw_counts(axes: "Axes", confusion: np.ndarray, labels: Sequence[str], title: str) -> "AxesImage":
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="actual", title=title, xticks=range(len(labels)), yticks=range(len(confusion)))
    axes.set_xticklabels(labels, rotation=30, ha="right")
    axes.set_yticklabels(labels[: len(confusion)])
    for (row, column), number in np.ndenumerate(confusion):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(number), ha="center", va="center", color=colour)
    return image


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
