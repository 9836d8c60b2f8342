"""Do two samples of blocks come from one distribution? A permutation test with a stated rate of false alarms.

The statistic is the energy distance (Szekely and Rizzo 2013), of each group of numbers alone. Where nothing changed,
blocks may change places, and the p-value is exact however few they are; so of looks at a level a, however they depend
on each other (all share the reference), a share of at most a is false on average. The level follows from how many false
alarms a year are borne and how often one looks, and is shared out among the groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from lineact.drift.blocks import GROUPS, Blocks, TooLittleVideoError
from lineact.drift.policy import Rate
from lineact.errors import InputError

RESAMPLES_PER_LEVEL = (
    20  # so many permutations are expected beyond the threshold: the verdict hardly depends on the seed
)
BATCH = 2000
MOST_BLOCKS = 120  # of either sample, evenly chosen: the distances are held in memory
NAMED = 3


@dataclass(frozen=True)
class Finding:
    """What a look found in one group of numbers.

    Attributes:
        group: see `lineact.drift.blocks`.
        p_value: of the test; None where too few blocks have such numbers to ever alarm.
        distance: energy distance, in standard deviations of both samples together.
        alarm: whether it is beyond what chance gives.
        moved: the numbers that moved most, with by how many standard deviations.
    """

    group: str
    p_value: float | None
    distance: float
    alarm: bool
    moved: tuple[tuple[str, float], ...]

    def words(self) -> str:
        """In a line."""
        if self.p_value is None:
            return f"{self.group}: too few blocks to say"
        moved = ", ".join(f"{name} {by:+.1f} sd" for name, by in self.moved)
        return f"{self.group}: {'changed' if self.alarm else 'as before'} (p = {self.p_value:.2g}): {moved}"


def judge(reference: Blocks, current: Blocks, rate: Rate, seed: int = 0) -> list[Finding]:
    """Holds what a station sees now against what it saw.

    Args:
        reference: of the release.
        current: the same kind of rows.
        rate: of false alarms.
        seed: of the permutations.

    Raises:
        TooLittleVideoError: where there are too few blocks for any alarm.
        InputError: where they are of another release's labels.
    """
    if reference.names["actions"] != current.names["actions"]:
        raise InputError(
            f"expected rows of the labels {reference.names['actions']}, found {current.names['actions']}: take the "
            "reference anew"
        )
    level = rate.level / len(GROUPS)
    if (
        1 / comb(min(len(reference), MOST_BLOCKS) + min(len(current), MOST_BLOCKS), min(len(current), MOST_BLOCKS))
        > level
    ):
        raise TooLittleVideoError(
            f"expected more blocks, found {len(reference)} of the reference and {len(current)} now: with so few chance "
            f"alone goes beyond a level of {level:.2g}; look at more video"
        )
    return [_test(group, reference, current, level, seed) for group in GROUPS]


def _test(group: str, reference: Blocks, current: Blocks, level: float, seed: int) -> Finding:
    from scipy.stats import permutation_test

    before, now = (_usable(blocks.groups[group]) for blocks in (reference, current))
    if not len(before) or not len(now) or 1 / comb(len(before) + len(now), len(now)) > level:
        return Finding(group, None, 0.0, False, ())
    rows = np.concatenate([before, now])
    spread = rows.std(axis=0)
    # scaled by both samples together: whichever of them a block is in, it is the same
    scaled = (rows - rows.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0) / np.sqrt(rows.shape[1])
    distances = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    places = np.arange(len(rows))
    found = permutation_test(
        (places[len(before) :], places[: len(before)]),
        lambda ours, theirs, axis: _energy(distances, ours, axis),  # noqa: ARG005 - named as scipy calls it
        permutation_type="independent",
        n_resamples=int(np.ceil(RESAMPLES_PER_LEVEL / level)),
        batch=BATCH,
        vectorized=True,
        alternative="greater",
        random_state=np.random.default_rng(seed),
    )
    shifts = (now.mean(axis=0) - before.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    most = np.argsort(-np.abs(shifts))[:NAMED]
    names = reference.names[group]
    moved = tuple((names[index], round(float(shifts[index]), 2)) for index in most)
    p_value = float(found.pvalue)
    return Finding(group, p_value, float(found.statistic), p_value <= level, moved)


def _usable(rows: np.ndarray) -> np.ndarray:
    """Rows without a gap, at most `MOST_BLOCKS`, evenly chosen."""
    whole = rows[~np.isnan(rows).any(axis=1)]
    if len(whole) <= MOST_BLOCKS:
        return whole
    return whole[np.linspace(0, len(whole) - 1, MOST_BLOCKS).round().astype(int)]


def _energy(distances: np.ndarray, ours: np.ndarray, axis: int) -> np.ndarray:
    """Energy distance of the rows in `ours` to all others, for many choices of them at once.

    Args:
        distances: N x N.
        ours: row numbers, ... x n along `axis`.
        axis: of the choices' members.
    """
    chosen = np.moveaxis(ours, axis, -1).astype(np.intp)  # scipy makes floats of them
    count, others = chosen.shape[-1], len(distances) - chosen.shape[-1]
    inside = distances[chosen[..., :, None], chosen[..., None, :]].sum(axis=(-1, -2))
    reached = distances.sum(axis=1)[chosen].sum(axis=-1)
    between = reached - inside
    outside = distances.sum() - 2 * between - inside
    return 2 * between / (count * others) - inside / count**2 - outside / others**2


def alarms(findings: Sequence[Finding]) -> list[Finding]:
    """Those that alarm."""
    return [finding for finding in findings if finding.alarm]
