"""Recall and accuracy over both thresholds, as maps and as the papers' surfaces."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lineact.compare.choice import Row, ScoredDetector
from lineact.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPPED = {
    "recall": "recall",
    "accuracy": "accuracy (duplicates count as right)",
    "one_to_one_precision": "one-to-one precision",
}
# LRIHAR figure 7: Grounding DINO green, the line's own YOLOv5 blue, the general one orange.
COLOURS = {"grounding_dino": "tab:green", "yolov5_own": "tab:blue", "yolov5_general": "tab:orange"}
LABEL: Any = {"color": "red", "bbox": {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}}
VIEW = {"elev": 30, "azim": -120}  # one of the three in LRIHAR figure 7


def draw_maps(path: Path, detectors: Sequence[ScoredDetector], rows: Sequence[Row], index: int) -> None:
    """Draws a map per figure and detector; where nothing is predicted, accuracy is a grey gap.

    Args:
        path: PNG.
        detectors: those with thresholds.
        rows: the pairs to mark, those of this T_IoU chosen on the validation frames.
        index: of the T_IoU.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.2 + 3.6 * len(detectors), 0.6 + 3.2 * len(MAPPED)), layout="constrained")
    axes = figure.subplots(len(MAPPED), len(detectors), squeeze=False)
    marked = {row.name: row.pair for row in rows}
    image: Any = None
    for (row, column), one in np.ndenumerate(axes):
        detector, name = detectors[column], list(MAPPED)[row]
        image = _draw_map(one, detector, getattr(detector.held_out, name)[index], marked[detector.name])
        one.set_title(f"{detector.title}\n{MAPPED[name]}" if row == 0 else MAPPED[name], fontsize=10)
    figure.colorbar(image, ax=axes, label="share", shrink=0.5)
    min_iou = detectors[0].held_out.min_ious[index]
    figure.suptitle(
        f"held-out frames, T_IoU = {min_iou}; ring: chosen on the validation frames; grey: nothing predicted"
    )
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=110))


def draw_surfaces(path: Path, detectors: Sequence[ScoredDetector], index: int) -> None:
    """Draws recall and accuracy of all detectors over both thresholds, one surface each, as LRIHAR figure 7 does.

    Args:
        path: PNG.
        detectors: those with thresholds.
        index: of the T_IoU.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(12, 5.6), layout="constrained")
    for number, name in enumerate(("recall", "accuracy"), 1):
        axes: Any = figure.add_subplot(1, 2, number, projection="3d")
        for detector in detectors:
            second, first = np.meshgrid(detector.second, detector.first)
            values = getattr(detector.held_out, name)[index]
            style = {
                "color": COLOURS[detector.name],
                "alpha": 0.55,
                "linewidth": 0.3,
                "edgecolor": "white",
                "shade": False,
            }
            axes.plot_surface(first, second, values, rcount=len(first), ccount=len(second), **style)
        axes.set(xlabel="Box or Conf", ylabel="Text or NMS", zlabel=name, xlim=(0, 1), ylim=(0, 1), zlim=(0, 1))
        axes.set_title(name)
        axes.view_init(**VIEW)
    handles = [Patch(color=COLOURS[detector.name], label=detector.title) for detector in detectors]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.suptitle(f"held-out frames, T_IoU = {detectors[0].held_out.min_ious[index]}")
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=110))


def _draw_map(axes: "Axes", detector: ScoredDetector, values: np.ndarray, pair: tuple[int, int] | None) -> Any:
    assert detector.axes is not None
    image = axes.pcolormesh(
        detector.second, detector.first, np.ma.masked_invalid(values), vmin=0, vmax=1, cmap="viridis"
    )
    if pair is not None:
        at = (detector.second[pair[1]], detector.first[pair[0]])
        axes.plot(*at, marker="o", markersize=9, markerfacecolor="none", markeredgecolor="white", markeredgewidth=3)
        axes.plot(*at, marker="o", markersize=9, markerfacecolor="none", markeredgecolor="red", markeredgewidth=1.5)
        aside = (9, "left") if pair[1] < len(detector.second) / 2 else (-9, "right")  # inside the map
        axes.annotate(
            _figure(values[pair]), at, (aside[0], 0), textcoords="offset points", ha=aside[1], va="center", **LABEL
        )
    axes.set(xlabel=detector.axes[1], ylabel=detector.axes[0], facecolor="0.8")
    return image


def _figure(share: float) -> str:
    return "undefined" if np.isnan(share) else f"{share:.2f}"
