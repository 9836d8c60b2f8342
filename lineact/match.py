"""Groups crops without names, takes templates from each group, and matches every crop to its nearest template.

The label of a crop is the name of the group of argmax_k S_ik, where S_ik = cos(psi(R_i), psi(T_k)) against templates
T_k and max_k S_ik >= lambda; below lambda it is rejected (LRIHAR, section on template matching). Names come later, from
a person. Where all crops look alike to the encoder, psi may be taken about the line's mean (`centre`).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lineact.errors import InputError
from lineact.schema import CROPS, TEMPLATES, table_of
from lineact.similarity import centred
from lineact.splits import HoldoutParams

MAX_CANDIDATES = 2000  # crops of a group among which its templates are sought: the search is quadratic
SILHOUETTE_SAMPLE = 2000  # likewise, for the number of groups
KMEANS_STARTS = 8
LEAST_GROUPS = 2
CROPS_PER_GROUP = 4  # mean size below which there are fewer groups than asked for
SILHOUETTE_MIN = 3  # fewer crops than this have no silhouette


@dataclass(frozen=True)
class MatchParams:
    """Settings of the stage.

    Attributes:
        group_counts: how many groups to try; the count with the best silhouette is taken. Of few crops fewer groups are
            made.
        centre: subtract the training part's mean embedding before the cosine. False is the papers' formula; one
            camera's crops share so much that their raw cosines all come near 1, and lambda then tells nothing apart.
        templates_per_group: medoids per group.
        min_similarity: the cosine below which a crop is rejected by its group, -1 to 1.
        holdout: what never makes groups or templates.
        seed: of the grouping.
    """

    group_counts: tuple[int, ...]
    centre: bool
    templates_per_group: int
    min_similarity: float
    holdout: HoldoutParams
    seed: int

    def __post_init__(self) -> None:
        if not self.group_counts or min(self.group_counts) < 2:
            raise ValueError(f"group_counts must be numbers from 2 up, found {list(self.group_counts)}")
        if self.templates_per_group < 1:
            raise ValueError(f"templates_per_group must be at least 1, found {self.templates_per_group}")
        if not -1 <= self.min_similarity <= 1:
            raise ValueError(f"min_similarity must be from -1 to 1, found {self.min_similarity}")


@dataclass(frozen=True)
class Matched:
    """Result of `match_crops`.

    Attributes:
        crops: schema CROPS, in the order of the input.
        templates: schema TEMPLATES, by group and rank.
    """

    crops: pa.Table
    templates: pa.Table


def match_crops(box_ids: list[str], embeddings: np.ndarray, trains: np.ndarray, params: MatchParams) -> Matched:
    """Groups the training part's crops, picks templates, matches all crops. The order of the crops does not matter.

    Args:
        box_ids: one per crop, each once.
        embeddings: float32, N x D, L2-normalised.
        trains: bool, N: which crops may make groups and templates.
        params: the settings.

    Raises:
        InputError: where fewer than two different crops train.
    """
    order = np.argsort(np.array(box_ids, dtype=object), kind="stable")
    fit_rows = order[trains[order]]
    if params.centre and len(fit_rows):
        embeddings = centred(embeddings, embeddings[fit_rows].mean(axis=0))
    fit = embeddings[fit_rows]
    different = len(np.unique(fit, axis=0))
    if different < LEAST_GROUPS:
        raise InputError(
            f"expected at least {LEAST_GROUPS} different crops outside the held-out part to group, found {different} "
            f"({len(box_ids)} crops in all, {np.count_nonzero(~trains)} of them held out); record more, or let "
            "`detect` find more boxes"
        )
    most = max(different // CROPS_PER_GROUP, LEAST_GROUPS)  # to name nearly as many groups as crops helps nobody
    counts = sorted({min(count, most) for count in params.group_counts})
    groups = _largest_first(_grouped(fit, counts, params.seed))
    templates = [
        (group, rank, int(fit_rows[member]))
        for group in range(groups.max() + 1)
        for rank, member in enumerate(_medoids(fit, np.flatnonzero(groups == group), params))
    ]
    template_groups = np.array([group for group, _, _ in templates])
    similarity_to = embeddings @ embeddings[[row for _, _, row in templates]].T  # N x T, cosine
    similarity, margin, group_of = _best(similarity_to, template_groups)
    status = np.where(similarity >= params.min_similarity, "accepted", "rejected").astype(object)
    crops = [
        {
            "box_id": box_id,
            "group": int(group_of[row]),
            "row": row,
            "similarity": float(similarity[row]),
            "margin": float(margin[row]),
            "status": status[row],
        }
        for row, box_id in enumerate(box_ids)
    ]
    rows = [{"group": group, "rank": rank, "row": row, "box_id": box_ids[row]} for group, rank, row in templates]
    return Matched(table_of(crops, CROPS), table_of(rows, TEMPLATES))


def count_metrics(matched: Matched) -> dict[str, float | int | None]:
    """Flat numbers for `metrics.json`. Coverage is the share of crops that their group accepts."""
    status = matched.crops["status"].to_pylist()
    counts = {name: status.count(name) for name in ("accepted", "rejected")}
    return {
        "crops": len(status),
        "groups": len(set(matched.templates["group"].to_pylist())),
        "templates": matched.templates.num_rows,
        "coverage": counts["accepted"] / len(status),
        "mean_similarity": float(np.mean(matched.crops["similarity"].to_numpy())),
        "mean_margin": float(np.mean(matched.crops["margin"].to_numpy())),
        **counts,
    }


def _grouped(fit: np.ndarray, counts: list[int], seed: int) -> np.ndarray:
    """Group number of each crop by k-means, with the count whose silhouette is best."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    best_score, best = -np.inf, np.zeros(len(fit), np.int64)
    for count in counts:
        groups = KMeans(count, n_init=KMEANS_STARTS, random_state=seed).fit_predict(fit)
        if len(counts) == 1:
            return groups
        sample = np.random.default_rng(seed).permutation(len(fit))[:SILHOUETTE_SAMPLE]
        measurable = len(sample) >= SILHOUETTE_MIN and 1 < len(set(groups[sample])) < len(sample)
        score = float(silhouette_score(fit[sample], groups[sample], metric="cosine")) if measurable else -1.0
        if score > best_score:
            best_score, best = score, groups
    return best


def _largest_first(groups: np.ndarray) -> np.ndarray:
    """Renumbers groups by size, so that number 0 is the largest; ties go by first member."""
    numbers, first, counts = np.unique(groups, return_index=True, return_counts=True)
    ranked = numbers[np.lexsort((first, -counts))]
    new_number = {int(number): rank for rank, number in enumerate(ranked)}
    return np.array([new_number[int(group)] for group in groups])


def _medoids(fit: np.ndarray, members: np.ndarray, params: MatchParams) -> list[int]:
    """Members that together are nearest to all members: greedy facility location over cosine, the medoid first."""
    rng = np.random.default_rng(params.seed)
    if len(members) > MAX_CANDIDATES:
        members = np.sort(rng.choice(members, MAX_CANDIDATES, replace=False))
    cosine = fit[members] @ fit[members].T  # n x n
    nearest = np.full(len(members), -1.0)
    chosen: list[int] = []
    for _ in range(min(params.templates_per_group, len(members))):
        gains = np.maximum(cosine, nearest).sum(axis=1)
        gains[chosen] = -np.inf
        best = int(gains.argmax())
        chosen.append(best)
        nearest = np.maximum(nearest, cosine[best])
    return [int(members[index]) for index in chosen]


def _best(similarity_to: np.ndarray, template_groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best cosine, its lead over the best template of another group, and the group, of each crop.

    Args:
        similarity_to: N x T.
        template_groups: T.
    """
    best = similarity_to.argmax(axis=1)
    similarity = np.clip(similarity_to[np.arange(len(best)), best], -1, 1)
    group_of = template_groups[best]
    others = np.where(template_groups[None] == group_of[:, None], -np.inf, similarity_to).max(axis=1)
    # With one group alone there is no rival; the lead over the least possible cosine is then the margin.
    return similarity, similarity - np.maximum(others, -1), group_of
