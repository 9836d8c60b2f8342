"""Names every crop by the named crops nearest to it.

Named are the templates of the groups that a person named (mixed ones apart) and each crop that a person decided, the
audits apart: what a person says of them judges the labels and names nothing. S_ia is the mean cosine of crop i to its k
nearest named crops of action a. An action lasts: where the same place shows something a moment before or after, S_ia is
the mean of the crop's own and of theirs together. The label is argmax_a S_ia, and its certainty S_i1 + (S_i1 - S_i2) -
DISSENT * (1 - G_i): how near the best action is, by how much it beats the second, and how many of the crops a moment
away, G_i, would get the same label by themselves. Below lambda a crop is rejected: it may show a true action, and it
is never taken for NG.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.boxes import iou_matrix, match_one_to_one
from lineact.dataset import DatasetParams
from lineact.dataset.labels import Found, Resolved
from lineact.dataset.moments import a_moment_apart
from lineact.decisions import MIXED, frame_key
from lineact.embeddings import Embeddings, mean_of
from lineact.similarity import centred
from lineact.splits import Holdout

ROWS_AT_ONCE = 1024  # crops compared with the named ones at a time
PAIRS_AT_ONCE = 1_000_000  # fewer crops, where so many are named
NO_RIVAL = -1.0  # least possible cosine: of an action without a second
DISSENT = 0.6  # certainty lost where all crops a moment away would be named otherwise
ALONE = 0.5  # agreement of a crop with none a moment away, where others have some


@dataclass(frozen=True)
class Matches:
    """What crops were named, a column for each thing told of them.

    Attributes:
        rows: int64, M: rows of `Found.embedded`, ascending.
        names: actions of the named crops, sorted.
        actions: int16, M: places in `names`.
        similarity: float64, M: S_i1, -1 to 1.
        margin: float64, M: S_i1 - S_i2, 0 to 2.
        agreement: float64, M: G_i, 0 to 1; ALONE where nothing is a moment away, 1 for all where that holds for all.
    """

    rows: np.ndarray
    names: tuple[str, ...]
    actions: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray
    agreement: np.ndarray

    @property
    def likeness(self) -> np.ndarray:
        """Similarity and margin together: float64, M, -1 to 3."""
        return self.similarity + self.margin

    @property
    def certainty(self) -> np.ndarray:
        """Likeness, and what dissent leaves of it: float64, M, -1 - DISSENT to 3."""
        return self.likeness - DISSENT * (1 - self.agreement)

    def places_of(self, rows: np.ndarray) -> np.ndarray:
        """Where rows of `Found.embedded` are: int64 places in these columns, -1 for a row that was not matched."""
        places = np.searchsorted(self.rows, rows)
        found = places < len(self.rows)
        found[found] = self.rows[places[found]] == rows[found]
        return np.where(found, places, -1)


def match_to_named(found: Found, resolved: Resolved, holdout: Holdout, params: DatasetParams) -> Matches:
    """Every crop of the training part matched to the named ones; none where nothing is named.

    Args:
        found: the tables and embeddings.
        resolved: names and decisions.
        holdout: resolved from the settings.
        params: the settings.
    """
    trains = holdout.mask(found.embedded, "train")
    named = named_crops(found, resolved, params.min_iou)
    ids = pa.array(named.keys(), pa.string())
    rows = np.flatnonzero(trains & pc.is_in(found.embedded["box_id"], ids).to_numpy())
    if not len(rows):
        return Matches(rows, (), np.empty(0, np.int16), np.empty(0), np.empty(0), np.empty(0))
    mean = mean_of(found.embeddings, trains) if params.labels.centre else None
    actions = [named[box_id] for box_id in found.embedded["box_id"].take(rows).to_pylist()]
    wanted = np.flatnonzero(trains)
    near = nearness(found.embeddings, wanted, rows, actions, params.labels.nearest, mean)
    pairs = a_moment_apart(found.embedded.take(wanted), found.boxes, params.labels.moment_s)
    return best_actions(wanted, tuple(sorted(set(actions))), near, pairs)


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


def looking_alike(found: Found, matches: Matches, min_certainty: float) -> set[str]:
    """Box ids of the crops that look like a named one, whatever that is: most of them show a hand."""
    return set(found.embedded["box_id"].take(matches.rows[matches.likeness >= min_certainty]).to_pylist())


def nearness(
    embeddings: np.ndarray | Embeddings,
    wanted: np.ndarray,
    rows: np.ndarray,
    actions: Sequence[str],
    nearest: int,
    mean: np.ndarray | None = None,
) -> np.ndarray:
    """How near each action is to crops by themselves; a named crop does not count for itself, but for its neighbours.

    Args:
        embeddings: float, N x D, of unit length where there is no mean; never all in memory at once.
        wanted: int, W: rows to be matched, ascending.
        rows: int, T: rows of the named crops, T at least 1.
        actions: T names.
        nearest: k; where an action has fewer named crops, all of them.
        mean: D; the embeddings' directions about it are compared.

    Returns:
        float64, W x A, -1 to 1: a column for each of the actions, sorted.
    """
    names = tuple(sorted(set(actions)))
    columns = [np.flatnonzero([action == name for action in actions]) for name in names]

    def directions(some: np.ndarray) -> np.ndarray:
        return embeddings[some] if mean is None else centred(embeddings[some], mean)

    blocks = [directions(rows[start : start + ROWS_AT_ONCE]) for start in range(0, len(rows), ROWS_AT_ONCE)]
    named = np.concatenate(blocks)  # T x D
    near = np.empty((len(wanted), len(names)))
    at_once = max(min(ROWS_AT_ONCE, PAIRS_AT_ONCE // len(rows)), 1)
    for start in range(0, len(wanted), at_once):
        part = wanted[start : start + at_once]
        cosine = directions(part) @ named.T  # W x T
        cosine[part[:, None] == rows[None]] = np.nan
        means = [_mean_of_best(cosine[:, column], nearest) for column in columns]
        near[start : start + len(part)] = np.stack(means, axis=1)
    return near


def best_actions(rows: np.ndarray, names: tuple[str, ...], near: np.ndarray, pairs: np.ndarray) -> Matches:
    """Matches crops to the nearest action, together with those a moment away.

    Args:
        rows: int64, W: rows of the crops, ascending.
        names: A actions.
        near: W x A, see `nearness`.
        pairs: int64, P x 2: places of crops a moment apart, each pair both ways.
    """
    alone = near.argmax(axis=1)
    this, other = pairs.T
    count = np.bincount(this, minlength=len(rows))
    sums = np.stack([np.bincount(this, column[other], len(rows)) for column in near.T], axis=1)
    around = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], near)
    together = (near + around) / 2
    order = np.argsort(-together, axis=1, kind="stable")
    ranked = np.take_along_axis(together, order, axis=1)
    best = order[:, 0]
    second = ranked[:, 1] if len(names) > 1 else NO_RIVAL
    same = np.bincount(this, alone[other] == best[this], len(rows))
    agreement = np.where(count > 0, same / np.maximum(count, 1), ALONE if len(pairs) else 1.0)
    return Matches(rows, names, best.astype(np.int16), ranked[:, 0], ranked[:, 0] - second, agreement)


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
        placed = found.placed_boxes.on(frame_key(*frame))
        if hands and placed:
            iou = iou_matrix(np.array([box for _, box in placed]), np.array([hand.box_xyxy_px for hand in hands]))
            for row, column in match_one_to_one(iou, min_iou):
                again[placed[row][0]] = hands[column].action
    return again
