"""Crops of the same place a moment apart: mostly the same hand in the same action."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.boxes import paired_iou
from lineact.dataset.frames import SIDES

EPSILON_S = 1e-6  # frames' times are not exact: what is a moment apart here must be so an hour later
SAME_PLACE_IOU = 0.3  # a working hand leaves its box within two or three looks


def a_moment_apart(crops: pa.Table, boxes: pa.Table, moment_s: float) -> np.ndarray:
    """Pairs of crops of one recording, at most so many seconds apart, whose boxes overlap by SAME_PLACE_IOU.

    Args:
        crops: recording, time and box id of each.
        boxes: id and sides of at least their boxes.
        moment_s: 0: no pairs.

    Returns:
        int64, P x 2: rows of `crops`, each pair both ways; none of one frame.
    """
    rows = pc.index_in(crops["box_id"], value_set=boxes["box_id"].combine_chunks())
    boxes_xyxy_px = np.stack([boxes[side].take(rows).to_numpy() for side in SIDES], axis=1)
    recordings = crops["video_sha256"].dictionary_encode().combine_chunks().indices.to_numpy()
    times_s = crops["pts_s"].to_numpy()
    order = np.lexsort((times_s, recordings))
    pairs = [np.empty((0, 2), np.int64)]
    for step in range(1, len(order)):
        first, second = order[:-step], order[step:]
        apart_s = times_s[second] - times_s[first]
        is_near = (recordings[first] == recordings[second]) & (apart_s <= moment_s + EPSILON_S)
        if not is_near.any():
            break  # crops further on are further away
        first, second = first[is_near & (apart_s > 0)], second[is_near & (apart_s > 0)]
        overlap = paired_iou(boxes_xyxy_px[first], boxes_xyxy_px[second]) >= SAME_PLACE_IOU
        pairs += [np.stack(pair, axis=1)[overlap] for pair in ((first, second), (second, first))]
    return np.concatenate(pairs)
