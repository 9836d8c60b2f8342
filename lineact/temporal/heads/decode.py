"""A pyramid's answers as segments of a video."""

import numpy as np
import torch

from lineact.temporal.features import Features
from lineact.temporal.heads import DecodeParams
from lineact.temporal.heads.pyramid import Answers
from lineact.temporal.heads.soft_nms import soft_nms
from lineact.temporal.heads.targets import Points
from lineact.temporal.segments import Row, Segments, segments_of


def decode(
    answers: Answers,
    points: Points,
    labels: tuple[str, ...],
    features: Features,
    params: DecodeParams,
) -> Segments:
    """Segments of one video, in falling order of scores.

    Args:
        answers: of a batch of this video alone.
        points: of it.
        labels: of the logits, K.
        features: of the video: when its rows are, and when it ends.
        params: see `DecodeParams`.
    """
    scores = answers.logits[0].sigmoid() * answers.mask[0, :, None]  # P x K
    flat = scores.flatten()
    count = min(params.most_before, int((flat >= max(params.min_score, torch.finfo(flat.dtype).tiny)).sum()))
    surest, places = flat.topk(count)
    point, kind = places // len(labels), (places % len(labels)).numpy()
    reach = answers.distances[0, point] * points.strides[point, None]  # n x 2, rows of the features
    centre = points.places[point]
    start_s = np.clip(features.seconds_at((centre - reach[:, 0]).double().numpy()), 0.0, features.duration_s)
    end_s = np.clip(features.seconds_at((centre + reach[:, 1]).double().numpy()), 0.0, features.duration_s)
    long_enough = end_s - start_s > params.min_duration_s
    rows: list[Row] = []
    for number, label in enumerate(labels):
        chosen = long_enough & (kind == number)
        found = soft_nms(start_s[chosen], end_s[chosen], surest.double().numpy()[chosen], params)
        rows += [(features.video, start, end, label, score) for start, end, score in np.stack(found, axis=1).tolist()]
    rows.sort(key=lambda row: -row[4])
    return segments_of(rows[: params.most_after])
