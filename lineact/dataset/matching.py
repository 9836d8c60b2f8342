"""Names every crop by the named crops nearest to it.

Named are the templates of the groups that a person named (mixed ones apart) and each crop that a person decided, the
audits apart: what a person says of them judges the labels and names nothing. S_ia is the mean cosine of crop i to its k
nearest named crops of action a. The label is argmax_a S_ia, and its certainty S_i1 + (S_i1 - S_i2): how near the best
action is, and by how much it beats the second. Below lambda a crop is rejected: it may show a true action, and it is
never taken for NG.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lineact.boxes import iou_matrix, match_one_to_one
from lineact.dataset import DatasetParams
from lineact.dataset.labels import Found, Resolved
from lineact.decisions import MIXED
from lineact.similarity import centred
from lineact.splits import Holdout

ROWS_AT_ONCE = 4096  # crops compared with all named ones at a time
NO_RIVAL = -1.0  # least possible cosine: of an action without a second


@dataclass(frozen=True)
class Match:
    """What a crop was named.

    Attributes:
        action: one of the named crops' actions.
        similarity: S_i1, -1 to 1.
        margin: S_i1 - S_i2, 0 to 2.
    """

    action: str
    similarity: float
    margin: float

    @property
    def certainty(self) -> float:
        """Similarity and margin together, -1 to 3."""
        return self.similarity + self.margin


def match_to_named(found: Found, resolved: Resolved, holdout: Holdout, params: DatasetParams) -> dict[str, Match]:
    """Every crop of the training part, by box id, matched to the named ones.

    Args:
        found: the tables and embeddings.
        resolved: names and decisions.
        holdout: resolved from the settings.
        params: the settings.

    Returns:
        Box id to what it was named; empty where nothing is named.
    """
    frames = zip(found.embedded["video_sha256"].to_pylist(), found.embedded["pts_s"].to_pylist(), strict=True)
    trains = np.array([holdout.part_of(*frame) == "train" for frame in frames], bool)
    box_ids = found.embedded["box_id"].to_pylist()
    named = named_crops(found, resolved, params.min_iou)
    rows = np.array([row for row, box_id in enumerate(box_ids) if box_id in named and trains[row]], np.int64)
    if not len(rows):
        return {}
    mean = np.mean(found.embeddings, axis=0, where=trains[:, None]) if params.labels.centre else None
    actions = [named[box_ids[row]] for row in rows]
    wanted = np.flatnonzero(trains)
    matches = nearest_actions(found.embeddings, wanted, rows, actions, params.labels.nearest, mean)
    return {box_ids[row]: match for row, match in zip(wanted, matches, strict=True)}


def named_crops(found: Found, resolved: Resolved, min_iou: float) -> dict[str, str]:
    """Box id to action, of the crops that name others.

    Args:
        found: the tables.
        resolved: names and decisions.
        min_iou: a box stands for a hand that a person drew on its frame from this IoU on, one to one.
    """
    named = {}
    for template in found.templates.to_pylist():
        name = resolved.names.get(template["group"], MIXED)
        if name != MIXED:
            named[template["box_id"]] = name
    audits = found.asked.audits
    named |= {box_id: action for box_id, action in resolved.crop_actions.items() if box_id not in audits}
    named |= _hands_found_again(found, resolved, min_iou)
    return named


def looking_alike(matches: Mapping[str, Match], min_certainty: float) -> set[str]:
    """Box ids of the crops that look like a named one, whatever that is: most of them show a hand."""
    return {box_id for box_id, match in matches.items() if match.certainty >= min_certainty}


def nearest_actions(
    embeddings: np.ndarray,
    wanted: np.ndarray,
    rows: np.ndarray,
    actions: Sequence[str],
    nearest: int,
    mean: np.ndarray | None = None,
) -> list[Match]:
    """Matches crops to named ones; a named crop does not count for itself.

    Args:
        embeddings: float, N x D, of unit length where there is no mean; never all in memory at once.
        wanted: int, W: rows to be matched.
        rows: int, T: rows of the named crops, T at least 1.
        actions: T names.
        nearest: k; where an action has fewer named crops, all of them.
        mean: D; the embeddings' directions about it are compared.

    Returns:
        One match per wanted row.
    """
    names = sorted(set(actions))
    columns = [np.flatnonzero([action == name for action in actions]) for name in names]

    def directions(some: np.ndarray) -> np.ndarray:
        return embeddings[some] if mean is None else centred(embeddings[some], mean)

    named = directions(rows)
    matches: list[Match] = []
    for start in range(0, len(wanted), ROWS_AT_ONCE):
        part = wanted[start : start + ROWS_AT_ONCE]
        cosine = directions(part) @ named.T  # W x T
        cosine[part[:, None] == rows[None]] = np.nan
        means = np.stack([_mean_of_best(cosine[:, column], nearest) for column in columns], axis=1)  # W x actions
        order = np.argsort(-means, axis=1, kind="stable")
        ranked = np.take_along_axis(means, order, axis=1)
        second = ranked[:, 1] if len(names) > 1 else np.full(len(part), NO_RIVAL)
        matches += [
            Match(names[best], float(first), float(first - rival))
            for best, first, rival in zip(order[:, 0], ranked[:, 0], second, strict=True)
        ]
    return matches


def _mean_of_best(cosine: np.ndarray, nearest: int) -> np.ndarray:
    """Mean of each row's greatest values, NaN left out; the least possible cosine where there is none."""
    best = -cosine
    if nearest < best.shape[1]:
        best = np.partition(best, nearest - 1, axis=1)[:, :nearest]  # NaN come last
    best = -np.sort(best, axis=1)
    counted = ~np.isnan(best)
    sums = np.where(counted, best, 0.0).sum(axis=1)
    return np.where(counted.any(axis=1), sums / np.maximum(counted.sum(axis=1), 1), NO_RIVAL)


def _hands_found_again(found: Found, resolved: Resolved, min_iou: float) -> Mapping[str, str]:
    """Box id to action, of the boxes that stand for a hand that a person drew."""
    again = {}
    for frame, hands in resolved.hands.items():
        placed = found.placed_boxes.get(frame, [])
        if hands and placed:
            iou = iou_matrix(np.array([box for _, box in placed]), np.array([hand.box_xyxy_px for hand in hands]))
            for row, column in match_one_to_one(iou, min_iou):
                again[placed[row][0]] = hands[column].action
    return again
