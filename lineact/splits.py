"""Who trains, who validates, who measures: by recording or time block, with a gap between, never by random frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np
import pyarrow as pa

from lineact.errors import ConfigError, InputError
from lineact.schema import is_harvested

Part = Literal["train", "guard", "holdout"]
Split = Literal["train", "val", "guard"]
Block = tuple[str, int]  # recording, number of the block in it
MIN_RECORDINGS = 3  # under `auto`, fewer recordings than this are split by time blocks
TRIALS = 400  # candidate sets of validation blocks


@dataclass(frozen=True)
class HoldoutParams:
    """What measures the line and never trains it: whole recordings, or the last part of each.

    Attributes:
        recordings: names of recordings (the file's name, with or without suffix).
        last_share: share of each recording's time at its end, 0 to below 1.
        guard_s: seconds before that part that nobody uses.
    """

    recordings: tuple[str, ...]
    last_share: float
    guard_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.last_share < 1:
            raise ValueError(f"last_share must be from 0 to below 1, found {self.last_share}")
        if self.guard_s < 0:
            raise ValueError(f"guard_s must not be negative, found {self.guard_s}")
        if bool(self.recordings) == bool(self.last_share):
            raise ValueError(
                "exactly one of recordings and last_share must be set: without held-out data nothing measures"
            )


@dataclass(frozen=True)
class ValidationParams:
    """How training data is split from validation data.

    Attributes:
        share: share of the labels that validates, 0 to 1, neither included.
        by: whole recordings, blocks of time, or auto: recordings where at least three train, else time.
        block_s: length of a block, seconds.
        guard_s: seconds around a validation block that nobody uses.
    """

    share: float
    by: Literal["auto", "recording", "time"]
    block_s: float
    guard_s: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie between 0 and 1, found {self.share}")
        if not self.block_s > 0:
            raise ValueError(f"block_s must be above 0, found {self.block_s}")
        if not 0 <= self.guard_s <= self.block_s:
            raise ValueError(f"guard_s must be from 0 to block_s, found {self.guard_s}")


class Holdout:
    """Tells for each moment of a line's recordings whether it trains, is a guard, or is held out."""

    def __init__(self, params: HoldoutParams, videos: pa.Table) -> None:
        """Resolves the settings.

        Args:
            params: the settings.
            videos: schema VIDEOS.

        Raises:
            ConfigError: where a named recording does not exist, or none is left to train on.
        """
        self._from_s: dict[str, float] = {}
        self._guard_s = params.guard_s
        wanted = set(params.recordings)
        found: set[str] = set()
        kept: set[str] = set()
        columns = ("video_sha256", "name", "start_s", "duration_s")
        for sha256, name, start_s, duration_s in zip(*(videos[column].to_pylist() for column in columns), strict=True):
            if is_harvested(name):  # what was hard is no fair measure of the line
                self._from_s[sha256] = np.inf
                kept.add(sha256)
                continue
            names = {name, PurePath(name).name, PurePath(name).stem, str(PurePath(name).with_suffix(""))}
            found |= names & wanted
            if params.last_share:
                self._from_s[sha256] = start_s + duration_s * (1 - params.last_share)
            else:
                self._from_s[sha256] = -np.inf if names & wanted else np.inf
        known = ", ".join(sorted(name for name in videos["name"].to_pylist() if not is_harvested(name)))
        recorded_from_s = [self._from_s[sha256] for sha256 in videos["video_sha256"].to_pylist() if sha256 not in kept]
        if missing := sorted(wanted - found):
            raise ConfigError(f"holdout.recordings: {', '.join(missing)} not found; the line's recordings are {known}")
        if all(start_s == -np.inf for start_s in recorded_from_s):
            raise ConfigError(
                f"holdout.recordings: holds out every recording ({known}), so nothing is left to train on"
            )

    def begins_s(self, video_sha256: str) -> float:
        """When a recording's held-out part begins: -inf where all of it is held out, inf where nothing is.

        Raises:
            InputError: where the recording is not one of the line's.
        """
        if video_sha256 not in self._from_s:
            raise InputError(f"recording {video_sha256[:12]} is not among the ingested videos; run `dvc repro`")
        return self._from_s[video_sha256]

    def part_of(self, video_sha256: str, pts_s: float) -> Part:
        """The part that a frame belongs to.

        Raises:
            InputError: where the recording is not one of the line's.
        """
        start_s = self.begins_s(video_sha256)
        if pts_s >= start_s:
            return "holdout"
        return "guard" if pts_s > start_s - self._guard_s else "train"

    def mask(self, table: pa.Table, part: Part) -> np.ndarray:
        """Which rows of a table keyed by frame lie in a part; bool, one per row.

        Raises:
            InputError: as `part_of`.
        """
        recordings = table["video_sha256"].combine_chunks().dictionary_encode()
        known = recordings.dictionary.to_pylist()
        for sha256 in known:
            self.part_of(sha256, 0.0)
        starts_s = np.array([self._from_s[sha256] for sha256 in known])[recordings.indices.to_numpy()]
        pts_s = table["pts_s"].to_numpy()
        holdout = pts_s >= starts_s
        guard = ~holdout & (pts_s > starts_s - self._guard_s)
        return {"holdout": holdout, "guard": guard, "train": ~holdout & ~guard}[part]


def harvests_of(videos: pa.Table) -> frozenset[str]:
    """Hashes of the recordings whose frames are crops that stations kept, see `lineact.harvest`.

    Args:
        videos: schema VIDEOS.
    """
    rows = zip(videos["video_sha256"].to_pylist(), videos["name"].to_pylist(), strict=True)
    return frozenset(sha256 for sha256, name in rows if is_harvested(name))


def of_harvests(videos: pa.Table, table: pa.Table) -> np.ndarray:
    """Which rows of a table keyed by frame are of such a recording; bool, one per row."""
    harvests = harvests_of(videos)
    return np.array([sha256 in harvests for sha256 in table["video_sha256"].to_pylist()], bool)


@dataclass(frozen=True)
class ValidationBlocks:
    """The blocks that validate.

    Attributes:
        block_s: length of a block, seconds; infinite where whole recordings are blocks.
        guard_s: seconds around a block that nobody uses.
        blocks: (recording, number of the block in it).
    """

    block_s: float
    guard_s: float
    blocks: frozenset[Block]

    def split_of(self, video_sha256: str, pts_s: float) -> Split:
        """Where a frame of the training part belongs: "train", "val", or the guard between."""
        number = _block_number(pts_s, self.block_s)
        if (video_sha256, number) in self.blocks:
            return "val"
        if np.isinf(self.block_s):
            return "train"
        for other in (number - 1, number + 1):
            starts_s, ends_s = other * self.block_s, (other + 1) * self.block_s
            near = starts_s - self.guard_s < pts_s < ends_s + self.guard_s
            if near and (video_sha256, other) in self.blocks:
                return "guard"
        return "train"


def choose_validation(
    moments: Sequence[tuple[str, float, str]], params: ValidationParams, seed: int
) -> ValidationBlocks:
    """Chooses validation blocks so that every label's share in them is close to the set one, and few frames are lost.

    The order of the moments does not matter.

    Args:
        moments: (recording, pts_s, label) of each labelled thing of the training part.
        params: the settings.
        seed: of the candidates.

    Raises:
        InputError: where there are not two blocks with labels.
    """
    moments = sorted(moments)
    recordings = sorted({sha256 for sha256, _, _ in moments})
    whole = params.by == "recording" or (params.by == "auto" and len(recordings) >= MIN_RECORDINGS)
    block_s = np.inf if whole else params.block_s
    blocks = sorted({(sha256, _block_number(pts_s, block_s)) for sha256, pts_s, _ in moments})
    if len(blocks) < 2:
        unit = "recordings" if whole else f"blocks of {block_s:g} s"
        raise InputError(
            f"expected labels in at least two {unit} to split training from validation, found {len(blocks)}; "
            "record more, or set dataset.validation.by: time with a shorter block_s"
        )
    costs = _Costs(moments, blocks, float(block_s), params)
    rng = np.random.default_rng(seed)
    best_cost, best = np.inf, np.zeros(len(blocks), bool)
    for _ in range(TRIALS):
        count = int(np.clip(rng.binomial(len(blocks), params.share), 1, len(blocks) - 1))
        chosen = np.zeros(len(blocks), bool)
        chosen[rng.choice(len(blocks), count, replace=False)] = True
        cost = costs.of(chosen)
        if cost < best_cost:
            best_cost, best = cost, chosen
    validating = frozenset(block for block, chosen in zip(blocks, best, strict=True) if chosen)
    return ValidationBlocks(float(block_s), params.guard_s, validating)


def _block_number(pts_s: float, block_s: float) -> int:
    return 0 if np.isinf(block_s) else int(np.floor(pts_s / block_s))


class _Costs:
    """What a choice of validation blocks costs, without walking the moments in Python for each of the trials."""

    def __init__(
        self, moments: Sequence[tuple[str, float, str]], blocks: list[Block], block_s: float, params: ValidationParams
    ) -> None:
        self._share = params.share
        index = {block: number for number, block in enumerate(blocks)}
        labels = sorted({label for _, _, label in moments})
        self._labels = np.array([labels.index(label) for _, _, label in moments])
        self._totals = np.bincount(self._labels)
        own, before, after = [], [], []
        for sha256, pts_s, _ in moments:
            number = _block_number(pts_s, block_s)
            own.append(index[sha256, number])
            # -1 is a block that is never chosen
            near_before = pts_s < number * block_s + params.guard_s if np.isfinite(block_s) else False
            near_after = pts_s > (number + 1) * block_s - params.guard_s if np.isfinite(block_s) else False
            before.append(index.get((sha256, number - 1), -1) if near_before else -1)
            after.append(index.get((sha256, number + 1), -1) if near_after else -1)
        self._own, self._before, self._after = np.array(own), np.array(before), np.array(after)

    def of(self, chosen: np.ndarray) -> float:
        """Distance of each label's validation share from the set one, plus what the guards lose and what lacks."""
        padded = np.append(chosen, False)  # index -1
        val = padded[self._own]
        guard = ~val & (padded[self._before] | padded[self._after])
        val_counts = np.bincount(self._labels, val, len(self._totals))
        guard_counts = np.bincount(self._labels, guard, len(self._totals))
        cost = np.abs(val_counts / self._totals - self._share).sum() + (guard_counts / self._totals).sum() / 2
        # A label that only one side knows can be neither learned nor checked.
        return float(cost + 10 * (val_counts + guard_counts == self._totals).sum() + 5 * (val_counts == 0).sum())
