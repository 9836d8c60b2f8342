"""Names every crop by the named crops nearest to it.

S_ia is the mean cosine of crop i to its k nearest named crops of action a. An action lasts: where the same place shows
something a moment before or after, S_ia is the mean of the crop's own and of theirs together. The label is argmax_a
S_ia, and its certainty S_i1 + (S_i1 - S_i2) - DISSENT * (1 - G_i): how near the best action is, by how much it beats
the second, and how many of the crops a moment away, G_i, would get the same label by themselves. Below lambda a crop is
rejected: it may show a true action, and it is never taken for NG. So is one whose label an audit contradicts: of all
audited crops the one most like it was said to show another action, and it is nearly as like as S_i1 by itself or more.

Audited crops name others, and calibrate: so each is matched to what is named without it, as are the crops a moment away
for its sake. What other audits say counts: they were drawn at random, and are as likely a moment from any other crop.
"""

from dataclasses import dataclass, replace

import numpy as np

from lineact.dataset import DatasetParams
from lineact.dataset.labels import Found, Resolved
from lineact.dataset.moments import a_moment_apart
from lineact.dataset.named import Named, named_crops, named_of
from lineact.embeddings import Embeddings, mean_of
from lineact.similarity import centred
from lineact.splits import Holdout

ROWS_AT_ONCE = 1024  # crops compared with the named ones at a time
PAIRS_AT_ONCE = 1_000_000  # fewer crops, where so many are named
NO_RIVAL = -1.0  # least possible cosine: of an action without a second
DISSENT = 0.6  # certainty lost where all crops a moment away would be named otherwise
ALONE = 0.5  # agreement of a crop with none a moment away, where others have some
NEARLY = 0.1  # an audit contradicts a label whose named crops are nearer by no more, cosine
NOBODY = -1  # in place of an action where no audit speaks


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
        is_contradicted: bool, M: whether the audit most like the crop shows another action, and is nearly as like.
    """

    rows: np.ndarray
    names: tuple[str, ...]
    actions: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray
    agreement: np.ndarray
    is_contradicted: np.ndarray

    @property
    def likeness(self) -> np.ndarray:
        """Similarity and margin together: float64, M, -1 to 3."""
        return self.similarity + self.margin

    @property
    def certainty(self) -> np.ndarray:
        """Likeness, and what dissent leaves of it: float64, M, -1 - DISSENT to 3."""
        return self.likeness - DISSENT * (1 - self.agreement)

    def with_rows_of(self, other: "Matches", places: np.ndarray) -> "Matches":
        """These, where at some places stand the first ones of others."""
        columns = {}
        for column in ("actions", "similarity", "margin", "agreement", "is_contradicted"):
            columns[column] = getattr(self, column).copy()
            columns[column][places] = getattr(other, column)[: len(places)]
        return replace(self, **columns)

    def places_of(self, rows: np.ndarray) -> np.ndarray:
        """Where rows of `Found.embedded` are: int64 places in these columns, -1 for a row that was not matched."""
        places = np.searchsorted(self.rows, rows)
        found = places < len(self.rows)
        found[found] = self.rows[places[found]] == rows[found]
        return np.where(found, places, -1)


NOTHING_NAMED = Matches(
    np.empty(0, np.int64), (), np.empty(0, np.int16), np.empty(0), np.empty(0), np.empty(0), np.empty(0, bool)
)


@dataclass(frozen=True)
class Near:
    """How near crops are to what is named, each by itself.

    Attributes:
        actions: float64, W x A, -1 to 1: a column for each of `Named.names`.
        heard: int64, W: what the audit most like the crop shows, a place in `Named.names`; NOBODY without an audit.
        heard_from: float64, W: how near that audit is, -1 to 1; less without an audit.
    """

    actions: np.ndarray
    heard: np.ndarray
    heard_from: np.ndarray

    def of(self, places: np.ndarray) -> "Near":
        """Some of them."""
        return Near(self.actions[places], self.heard[places], self.heard_from[places])

    def and_then(self, other: "Near") -> "Near":
        """These, and others after them."""
        columns = ((getattr(self, name), getattr(other, name)) for name in ("actions", "heard", "heard_from"))
        return Near(*(np.concatenate(both) for both in columns))


@dataclass(frozen=True)
class TrainingCrops:
    """The crops of a line's training part, which are matched.

    Attributes:
        embeddings: float, N x D, see `nearness`.
        rows: int64, W: their rows, ascending.
        pairs: int64, P x 2: places in `rows` of crops a moment apart, each pair both ways.
        nearest: k.
        mean: D, or None, see `nearness`.
    """

    embeddings: np.ndarray | Embeddings
    rows: np.ndarray
    pairs: np.ndarray
    nearest: int
    mean: np.ndarray | None = None

    def match(self, named: Named) -> Matches:
        """Matches them to the named crops, and the audited ones each to what is named without it."""
        if not len(named.rows):
            return NOTHING_NAMED
        near = self._near(self.rows, named)
        alone = ALONE if len(self.pairs) else 1.0
        matches = best_actions(self.rows, named.names, near, self.pairs, alone)
        audited = np.searchsorted(self.rows, named.rows[named.is_audit])
        audit, other = self.pairs[np.isin(self.pairs[:, 0], audited)].T  # places: audited, and a moment away from it
        without = self._near(self.rows[other], named, self.rows[audit])
        judged = np.unique(audit)
        links = np.stack([np.searchsorted(judged, audit), len(judged) + np.arange(len(other))], axis=1)
        rows = self.rows[np.concatenate([judged, other])]
        fair = best_actions(rows, named.names, near.of(judged).and_then(without), links, alone)
        return matches.with_rows_of(fair, judged)

    def _near(self, rows: np.ndarray, named: Named, withheld: np.ndarray | None = None) -> Near:
        return nearness(self.embeddings, rows, named, self.nearest, self.mean, withheld)


def training_crops(found: Found, holdout: Holdout, params: DatasetParams) -> TrainingCrops:
    """The crops of a line's training part.

    Args:
        found: the tables and embeddings.
        holdout: resolved from the settings.
        params: the settings.
    """
    trains = holdout.mask(found.embedded, "train")
    rows = np.flatnonzero(trains)
    pairs = a_moment_apart(found.embedded.take(rows), found.boxes, params.labels.moment_s)
    mean = mean_of(found.embeddings, trains) if params.labels.centre and len(rows) else None
    return TrainingCrops(found.embeddings, rows, pairs, params.labels.nearest, mean)


def match_to_named(
    found: Found, resolved: Resolved, audited: np.ndarray, holdout: Holdout, params: DatasetParams
) -> Matches:
    """Every crop of the training part matched to the named ones; none where nothing is named.

    Args:
        found: the tables and embeddings.
        resolved: names and decisions.
        audited: int64: rows of the crops that calibrate, see `Sample`; each is matched to what is named without it.
        holdout: resolved from the settings.
        params: the settings.
    """
    crops = training_crops(found, holdout, params)
    return crops.match(named_of(found, named_crops(found, resolved, params.min_iou), crops.rows, audited))


def looking_alike(found: Found, matches: Matches, min_certainty: float) -> set[str]:
    """Box ids of the crops that look like a named one, whatever that is: most of them show a hand."""
    return set(found.embedded["box_id"].take(matches.rows[matches.likeness >= min_certainty]).to_pylist())


def nearness(
    embeddings: np.ndarray | Embeddings,
    wanted: np.ndarray,
    named: Named,
    nearest: int,
    mean: np.ndarray | None = None,
    withheld: np.ndarray | None = None,
) -> Near:
    """How near each action is to crops by themselves; a named crop does not count for itself, but for its neighbours.

    Args:
        embeddings: float, N x D, of unit length where there is no mean; never all in memory at once.
        wanted: int, W: rows to be matched.
        named: T crops, at least 1.
        nearest: k; where an action has fewer named crops, all of them.
        mean: D; the embeddings' directions about it are compared.
        withheld: int, W: rows; for each of `wanted` the named crop that does not count for it either.
    """
    names, rows = named.names, named.rows
    columns = [np.flatnonzero([action == name for action in named.actions]) for name in names]
    audits = np.flatnonzero(named.is_audit)
    said = np.array([names.index(named.actions[audit]) for audit in audits], np.int64)

    def directions(some: np.ndarray) -> np.ndarray:
        return embeddings[some] if mean is None else centred(embeddings[some], mean)

    blocks = [directions(rows[start : start + ROWS_AT_ONCE]) for start in range(0, len(rows), ROWS_AT_ONCE)]
    directions_named = np.concatenate(blocks)  # T x D
    near = Near(np.empty((len(wanted), len(names))), np.full(len(wanted), NOBODY), np.full(len(wanted), -np.inf))
    at_once = max(min(ROWS_AT_ONCE, PAIRS_AT_ONCE // len(rows)), 1)
    for start in range(0, len(wanted), at_once):
        part = slice(start, start + at_once)
        cosine = directions(wanted[part]) @ directions_named.T  # W x T
        cosine[wanted[part, None] == rows] = np.nan
        if withheld is not None:
            cosine[withheld[part, None] == rows] = np.nan
        near.actions[part] = np.stack([_mean_of_best(cosine[:, column], nearest) for column in columns], axis=1)
        if len(audits):
            heard = np.where(np.isnan(cosine[:, audits]), -np.inf, cosine[:, audits])
            nearest_audit, near.heard_from[part] = heard.argmax(axis=1), heard.max(axis=1)
            near.heard[part] = np.where(near.heard_from[part] > -np.inf, said[nearest_audit], NOBODY)
    return near


def best_actions(rows: np.ndarray, names: tuple[str, ...], near: Near, pairs: np.ndarray, alone: float) -> Matches:
    """Matches crops to the nearest action, together with those a moment away.

    Args:
        rows: int64, W: rows of the crops.
        names: A actions.
        near: see `nearness`.
        pairs: int64, P x 2: places of crops and of those a moment away that have a say in them.
        alone: agreement of a crop with none a moment away, 0 to 1.
    """
    own_best = near.actions.argmax(axis=1)
    this, other = pairs.T
    count = np.bincount(this, minlength=len(rows))
    sums = np.stack([np.bincount(this, column[other], len(rows)) for column in near.actions.T], axis=1)
    around = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], near.actions)
    together = (near.actions + around) / 2
    order = np.argsort(-together, axis=1, kind="stable")
    ranked = np.take_along_axis(together, order, axis=1)
    best = order[:, 0]
    second = ranked[:, 1] if len(names) > 1 else NO_RIVAL
    same = np.bincount(this, own_best[other] == best[this], len(rows))
    agreement = np.where(count > 0, same / np.maximum(count, 1), alone)
    by_itself = np.take_along_axis(near.actions, best[:, None], axis=1)[:, 0]
    is_contradicted = (near.heard != NOBODY) & (near.heard != best) & (near.heard_from >= by_itself - NEARLY)
    margin = ranked[:, 0] - second
    return Matches(rows, names, best.astype(np.int16), ranked[:, 0], margin, agreement, is_contradicted)


def _mean_of_best(cosine: np.ndarray, nearest: int) -> np.ndarray:
    """Mean of each row's greatest values, NaN left out; the least possible cosine where there is none."""
    best = -cosine
    if nearest < best.shape[1]:
        best = np.partition(best, nearest - 1, axis=1)[:, :nearest]  # NaN come last
    best = -np.sort(best, axis=1)
    counted = ~np.isnan(best)
    sums = np.where(counted, best, 0.0).sum(axis=1)
    return np.where(counted.any(axis=1), sums / np.maximum(counted.sum(axis=1), 1), NO_RIVAL)
