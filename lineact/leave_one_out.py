"""Leave one out: how a classifier does on a recording, or on a line, that it has never seen.

Works on tables of labelled crops (schema LABELLED_CROPS). What a fold tests on is kept apart from what it trains on:
parts that share a crop, or come close to each other in a recording, are refused.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.decisions import NG
from lineact.errors import InputError
from lineact.leaks import frames_of, refuse_near_frames, refuse_same_crops
from lineact.splits import ValidationParams, choose_validation

By = Literal["recording", "line"]
SHOWN = 12  # characters of a recording's hash


@dataclass(frozen=True)
class Fold:
    """One thing left out.

    Attributes:
        name: what is left out: "LINE/RECORDING" (the hash's first characters), or "LINE".
        labels: class names of the crops in all three parts, NG last.
        train: trains, split "train".
        val: validates, split "val".
        test: what is left out, split "holdout".
        told: what is compared, in words.
    """

    name: str
    labels: tuple[str, ...]
    train: pa.Table
    val: pa.Table
    test: pa.Table
    told: str


@dataclass(frozen=True)
class Folds:
    """All that can be left out.

    Attributes:
        folds: in the order of their names.
        refused: name of what cannot be left out to the reason.
    """

    folds: tuple[Fold, ...]
    refused: Mapping[str, str]


def leave_one_out(
    tables: Mapping[str, pa.Table], by: By, validation: ValidationParams, split_gap_s: float, seed: int
) -> Folds:
    """Leaves each recording of a line out of its line, or each line out of all of them.

    By recording, the validation crops are chosen anew among the recordings that stay. By line, every line keeps its own
    split of training and validation crops, and only actions that both sides have are compared, and NG: a classifier
    cannot know others.

    Args:
        tables: line to its crops, schema LABELLED_CROPS, splits "train" and "val"; rows of other splits are left out
            of training by line, and count as all others by recording.
        by: what is left out.
        validation: how validation is split off, by recording.
        split_gap_s: seconds (of imported pictures: file numbers) that must lie between parts of one recording.
        seed: of the split.

    Raises:
        InputError: where parts leak, naming the nearest pair; or where nothing can be left out, with the reasons.
    """
    folds: list[Fold] = []
    refused: dict[str, str] = {}
    for line in sorted(tables):
        left_out = _recordings_of(tables[line]) if by == "recording" else [""]
        for recording in left_out:
            name = f"{line}/{recording[:SHOWN]}" if recording else line
            try:
                if by == "recording":
                    folds.append(_without_recording(name, tables[line], recording, validation, seed))
                else:
                    folds.append(_without_line(name, tables))
            except InputError as error:
                refused[name] = str(error)
    if not folds:
        raise InputError("nothing can be left out: " + "; ".join(f"{name}: {why}" for name, why in refused.items()))
    for fold in folds:
        _refuse_leaks(fold, split_gap_s)
    return Folds(tuple(folds), refused)


def _recordings_of(table: pa.Table) -> list[str]:
    return sorted(set(table["video_sha256"].to_pylist()))


def _without_recording(name: str, table: pa.Table, recording: str, validation: ValidationParams, seed: int) -> Fold:
    """Raises InputError, in words, where too little stays."""
    is_out = pc.equal(table["video_sha256"], recording)
    test, rest = table.filter(is_out), table.filter(pc.invert(is_out))
    if not len(rest):
        raise InputError("it is the only recording, so nothing is left to train on")
    moments = list(zip(*(rest[column].to_pylist() for column in ("video_sha256", "pts_s", "action")), strict=True))
    blocks = choose_validation(moments, validation, seed)
    splits = np.array([blocks.split_of(sha256, pts_s) for sha256, pts_s, _ in moments])
    train, val = (_as_split(rest.filter(pa.array(splits == split)), split) for split in ("train", "val"))
    return _fold(name, train, val, _as_split(test, "holdout"), "all classes that train")


def _without_line(name: str, tables: Mapping[str, pa.Table]) -> Fold:
    """Raises InputError, in words, where the line shares no action with the others."""
    others = pa.concat_tables([table for line, table in tables.items() if line != name] or [tables[name].slice(0, 0)])
    train, val = (others.filter(pc.equal(others["split"], split)) for split in ("train", "val"))
    mine, theirs = _actions(tables[name]), _actions(others)
    if not mine & theirs:
        raise InputError(f"it shares no action with the other lines: it has {_named(mine)}, they have {_named(theirs)}")
    labels = pa.array([*sorted(mine & theirs), NG])
    parts = [part.filter(pc.is_in(part["action"], labels)) for part in (train, val, tables[name])]
    lost = _named((mine | theirs) - (mine & theirs))
    told = f"the actions that {name} shares with the other lines, {_named(mine & theirs)}, and NG; left out: {lost}"
    return _fold(name, parts[0], parts[1], _as_split(parts[2], "holdout"), told)


def _fold(name: str, train: pa.Table, val: pa.Table, test: pa.Table, told: str) -> Fold:
    """Leaves out of the test what does not train: no classifier can know it."""
    counts = Counter(train["action"].to_pylist())
    if len(counts) < 2:
        raise InputError(f"expected at least two classes to train on, found {_named(set(counts))}")
    unknown = sorted(set(test["action"].to_pylist()) - set(counts))
    known = pa.array(sorted(counts))
    test, val = (part.filter(pc.is_in(part["action"], known)) for part in (test, val))
    if not len(test) or not len(val):
        raise InputError(f"expected crops to validate and to test on, found {len(val)} and {len(test)}")
    if unknown:
        told += f"; not tested, since no other has it: {', '.join(unknown)}"
    labels = (*sorted(set(counts) - {NG}), NG)
    return Fold(name, labels, train, val, test, told)


def _refuse_leaks(fold: Fold, split_gap_s: float) -> None:
    parts = {"training": fold.train, "validation": fold.val, f"left-out {fold.name}": fold.test}
    names = list(parts)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pair = names[first], names[second]
        table_a, table_b = (parts[name] for name in pair)
        refuse_near_frames(frames_of(table_a), frames_of(table_b), pair, split_gap_s, "s (or file numbers)")
        refuse_same_crops(table_a, table_b, pair)


def _as_split(table: pa.Table, split: str) -> pa.Table:
    column = table.schema.get_field_index("split")
    return table.set_column(column, table.schema.field(column), pa.array([split] * len(table), pa.string()))


def _actions(table: pa.Table) -> set[str]:
    return set(table["action"].to_pylist()) - {NG}


def _named(actions: set[str]) -> str:
    return ", ".join(sorted(actions)) or "none"
