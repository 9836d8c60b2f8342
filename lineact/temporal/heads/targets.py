"""What a pyramid should answer at each of its points."""

from typing import NamedTuple

import torch
from torch.nn import functional

FINEST = 4.0  # the lowest level learns actions that reach so many rows from the point; each further level twice as far


class Points(NamedTuple):
    """Where a pyramid's points lie, in rows of the features.

    Attributes:
        places: float, P.
        strides: float, P: rows of the features for each row of the point's level.
        least: float, P: the farther end of an action that the point learns is at least so far, in rows.
        most: float, P: and less than this.
    """

    places: torch.Tensor
    strides: torch.Tensor
    least: torch.Tensor
    most: torch.Tensor


class Targets(NamedTuple):
    """What a video's points should answer.

    Attributes:
        classes: float, P x K, 0 or 1.
        distances: float, P x 2, in rows of the point's level; of points with an action.
        has_action: bool, P.
    """

    classes: torch.Tensor
    distances: torch.Tensor
    has_action: torch.Tensor


def points_of(rows: int, levels: int) -> Points:
    """Points of a video of so many rows (a multiple of 2 to the power of levels less 1)."""
    parts = []
    for level in range(levels):
        stride = 2**level
        places = torch.arange(0, rows, stride, dtype=torch.float32)
        least = 0.0 if level == 0 else FINEST * stride / 2
        most = torch.inf if level == levels - 1 else FINEST * stride
        parts.append([places, *(torch.full_like(places, value) for value in (float(stride), least, most))])
    return Points(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def targets_of(
    points: Points, intervals: torch.Tensor, classes: torch.Tensor, class_count: int, radius: float
) -> Targets:
    """What points should answer where actions are known; a point in several learns the shortest.

    Args:
        points: of the video.
        intervals: float, N x 2, start and end in rows.
        classes: int64, N.
        class_count: K.
        radius: a point learns an action whose centre is so near, in rows of the point's level.
    """
    count = len(points.places)
    if not len(intervals):
        nothing = torch.zeros(count, class_count), torch.zeros(count, 2), torch.zeros(count, dtype=torch.bool)
        return Targets(*nothing)
    place = points.places[:, None]
    distances = torch.stack([place - intervals[:, 0], intervals[:, 1] - place], dim=2)  # P x N x 2
    farther = distances.amax(dim=2)
    near = (place - intervals.mean(dim=1)).abs() <= radius * points.strides[:, None]
    learns = (distances.amin(dim=2) > 0) & near & (farther >= points.least[:, None]) & (farther < points.most[:, None])
    lengths = torch.where(learns, intervals[:, 1] - intervals[:, 0], torch.inf)
    shortest, chosen = lengths.min(dim=1)
    has_action = shortest.isfinite()
    one_hot = functional.one_hot(classes[chosen], class_count).float() * has_action[:, None]
    own = distances[torch.arange(count), chosen] / points.strides[:, None]
    return Targets(one_hot, own * has_action[:, None], has_action)
