"""Puts pictures into parts: as their data set says, else by blocks of recordings; and refuses parts that leak."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lineact.decisions import NG
from lineact.errors import InputError
from lineact.imported import PARTS, ImportParams, Part
from lineact.imported.copies import refuse_copies
from lineact.imported.names import Place, Places, places_of
from lineact.imported.reading import Picture
from lineact.imported.split import Moment, choose_blocks
from lineact.leaks import Frame, refuse_near_frames


@dataclass(frozen=True)
class ImportedParts:
    """Pictures by part.

    Attributes:
        of: part to pictures, in the order of recordings and numbers.
        places: where each picture comes from, by the name's inner part.
        guard: pictures between the parts that nobody uses.
        chosen: parts that the data set left open.
    """

    of: Mapping[Part, tuple[Picture, ...]]
    places: Places
    guard: int
    chosen: tuple[Part, ...]

    def place_of(self, picture: Picture) -> Place:
        """Recording and file number."""
        return self.places.of[picture.listed.inner]

    def recordings(self) -> dict[str, str]:
        """Name of a recording to the hash of its pictures, which tells it in the tables as a video's hash does."""
        shas: dict[str, list[str]] = defaultdict(list)
        for part in PARTS:
            for picture in self.of[part]:
                shas[self.place_of(picture).recording].append(picture.sha256)
        return {name: hashlib.sha256("".join(sorted(found)).encode()).hexdigest() for name, found in shas.items()}


def into_parts(pictures: Sequence[Picture], params: ImportParams) -> ImportedParts:
    """Splits the pictures; what a data set leaves open is chosen.

    Args:
        pictures: each with its given part, or None.
        params: the settings.

    Raises:
        InputError: where there is too little to split, an action has no picture, or two parts leak.
    """
    _refuse_missing_actions(pictures, params.actions)
    places = places_of(picture.listed.inner for picture in pictures)
    of: dict[Part, list[Picture]] = {part: [] for part in PARTS}
    for picture in pictures:
        of[picture.listed.given or "train"].append(picture)
    guard = 0
    chosen: list[Part] = []
    if not of["holdout"]:
        pool = of["train"] + of["val"]
        of["holdout"], rest = _split_off(pool, places, params, params.split.holdout_share, params.seed)
        of["val"] = [picture for picture in rest if picture.listed.given == "val"]
        of["train"] = [picture for picture in rest if picture.listed.given != "val"]
        guard += len(pool) - len(of["holdout"]) - len(rest)
        chosen.append("holdout")
    if not of["val"]:
        pool = of["train"]
        of["val"], of["train"] = _split_off(pool, places, params, params.split.validation_share, params.seed + 1)
        guard += len(pool) - len(of["val"]) - len(of["train"])
        chosen.append("val")
    ordered = {part: tuple(sorted(found, key=lambda one: _order(one, places))) for part, found in of.items()}
    parts = ImportedParts(ordered, places, guard, tuple(chosen))
    _refuse_leaks(parts, params)
    return parts


def _order(picture: Picture, places: Places) -> tuple[Place, str]:
    return places.of[picture.listed.inner], picture.listed.name


def _refuse_missing_actions(pictures: Sequence[Picture], actions: tuple[str, ...]) -> None:
    there = {hand.action for picture in pictures for hand in picture.hands}
    if missing := [action for action in actions if action not in there]:
        raise InputError(
            f"expected labels of all actions, found none of {', '.join(missing)}; add pictures, or take these out of "
            "`actions` in the line's file"
        )
    if len(there - {NG}) + (NG in there) < 2:
        raise InputError(f"expected labels of at least two classes, found only {', '.join(sorted(there))}")


def _split_off(
    pool: Sequence[Picture], places: Places, params: ImportParams, share: float, seed: int
) -> tuple[list[Picture], list[Picture]]:
    """(what is split off, the rest); what lies in the guard between is in neither."""
    moments: list[Moment] = []
    for picture in pool:
        actions = [hand.action for hand in picture.hands] or [""]
        moments += [(*places.of[picture.listed.inner], action) for action in actions]
    blocks = choose_blocks(moments, params.split, share, seed)
    splits = [blocks.split_of(*places.of[picture.listed.inner]) for picture in pool]
    off = [picture for picture, split in zip(pool, splits, strict=True) if split == "val"]
    rest = [picture for picture, split in zip(pool, splits, strict=True) if split == "train"]
    if not off or not rest:
        raise InputError(
            f"expected pictures on both sides of a split of {share:.0%}, found {len(off)} and {len(rest)} with "
            f"{params.split.guard} file numbers between; add pictures, or set a shorter split.block and split.guard"
        )
    return off, rest


def _refuse_leaks(parts: ImportedParts, params: ImportParams) -> None:
    for name_a, name_b in combinations(PARTS, 2):
        if parts.places.told:  # else the order of given lists means nothing
            frames = [
                [Frame(*parts.place_of(picture), picture.listed.name) for picture in parts.of[name]]
                for name in (name_a, name_b)
            ]
            refuse_near_frames(frames[0], frames[1], (name_a, name_b), params.split.guard, "file numbers")
        names_a, thumbnails_a = _thumbnails(parts.of[name_a])
        names_b, thumbnails_b = _thumbnails(parts.of[name_b])
        refuse_copies(names_a, thumbnails_a, names_b, thumbnails_b, (name_a, name_b), params.copy_below)


def _thumbnails(pictures: Sequence[Picture]) -> tuple[list[str], np.ndarray]:
    names = [picture.listed.name for picture in pictures for _ in picture.hands]
    rows = [picture.thumbnails for picture in pictures if len(picture.hands)]
    return names, np.concatenate(rows) if rows else np.zeros((0, 1), np.float32)
