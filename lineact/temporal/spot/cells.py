"""Videos of any length as cells of equal time, as many for each."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from lineact.temporal.features import Features
from lineact.temporal.segments import Segments


class Truth(NamedTuple):
    """What the cells of a video should answer.

    Attributes:
        classes: int64, L; the number of actions stands for background.
        masks: float, L x L: [t, j] is 1 where cells t and j lie in the same action.
    """

    classes: torch.Tensor
    masks: torch.Tensor


def cell_rows(rows: torch.Tensor, scale: int) -> torch.Tensor:
    """Rows, T x D, at `scale` cells of equal time, scale x D, interpolated."""
    return functional.interpolate(rows.T[None], scale, mode="linear", align_corners=False)[0].T


def edges_s(features: Features, scale: int) -> np.ndarray:
    """Where cells begin and the last one ends: seconds, scale + 1, within the video."""
    places = np.linspace(-0.5, len(features.times_s) - 0.5, scale + 1)
    return np.clip(features.seconds_at(places), 0.0, features.duration_s)


def truth_of(features: Features, segments: Segments, labels: tuple[str, ...], scale: int) -> Truth:
    """What cells should answer: a cell lies in an action where its middle does; of several the shortest.

    Args:
        features: of the video.
        segments: of it; others' and those of other labels are ignored.
        labels: actions.
        scale: cells.
    """
    edges = edges_s(features, scale)
    middles = (edges[:-1] + edges[1:]) / 2
    classes, masks = torch.full((scale,), len(labels)), torch.zeros(scale, scale)
    known = segments.take((segments.videos == features.video) & np.isin(segments.labels, np.array(labels)))
    for row in np.argsort(known.start_s - known.end_s, kind="stable"):  # longest first
        inside = (middles >= known.start_s[row]) & (middles < known.end_s[row])
        if not inside.any():  # shorter than a cell
            inside[np.abs(middles - (known.start_s[row] + known.end_s[row]) / 2).argmin()] = True
        cells = torch.from_numpy(inside)
        classes[cells] = labels.index(str(known.labels[row]))
        masks[cells] = cells.float()
    return Truth(classes, masks)
