"""A comparison on what a classifier has never seen: each recording, or each line, left out in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pyarrow as pa

from lineact.compare.classifiers.heldout import FILE, held_out_crops
from lineact.compare.classifiers.trials import Line
from lineact.files import cache_folder, sha256_of_file, write_whole
from lineact.leave_one_out import By, Fold, leave_one_out
from lineact.schema import LABELLED_CROPS, read_table, write_table
from lineact.splits import ValidationParams

CODE_VERSION = 1  # raise it where a change of the code changes the folds
KIND = "folds"  # of the cache
SEED = 0  # of the validation crops, the same for every choice
CROPS = "crops.parquet"


def leave_out(
    lines: Sequence[Line], by: By, validation: Mapping[str, ValidationParams]
) -> tuple[tuple[Line, ...], dict[str, str]]:
    """Lines to compare on, one for each thing left out; their test crops are all that was left out.

    Args:
        lines: with all their crops, the test crops too.
        by: "recording": each recording of a line out of that line; "line": each line out of all of them.
        validation: of each line, by name: how validation crops are split off where recordings are left out.

    Returns:
        The folds as lines, named by what is left out; and of what cannot be left out the reason.

    Raises:
        InputError: where parts leak, naming the nearest pair; or where nothing can be left out, with the reasons.
    """
    groups = [lines] if by == "line" else [[line] for line in lines]
    folds: list[Line] = []
    refused: dict[str, str] = {}
    for group in groups:
        gap_s = max(line.split_gap_s for line in group)
        tables = {line.name: _all_crops(line) for line in group}
        found = leave_one_out(tables, by, validation[group[0].name], gap_s, SEED)
        key = {
            "code": CODE_VERSION,
            "crops": {line.name: [line.crops_sha256, line.held_out.sha256] for line in group},
            "by": by,
            "validation": asdict(validation[group[0].name]),
            "gap_s": gap_s,
        }
        folder = cache_folder(KIND, key)
        folds += [_line_of(fold, folder, gap_s) for fold in found.folds]
        refused |= found.refused
    return tuple(folds), refused


def _all_crops(line: Line) -> pa.Table:
    return pa.concat_tables([read_table(path, LABELLED_CROPS) for path in (line.crops, line.held_out.path)])


def _line_of(fold: Fold, folder: Path, gap_s: float) -> Line:
    name = fold.name.replace("/", "-")
    kept = folder / name
    if not kept.is_dir():
        write_whole(kept, partial(_write, fold=fold))
    crops = kept / CROPS
    held_out = held_out_crops(kept / FILE, fold.labels, crops, gap_s, f"all of {fold.name}, left out; {fold.told}")
    return Line(name, fold.labels, crops, sha256_of_file(crops), gap_s, held_out)


def _write(folder: Path, *, fold: Fold) -> None:
    folder.mkdir()
    write_table(pa.concat_tables([fold.train, fold.val]), folder / CROPS, LABELLED_CROPS)
    write_table(fold.test, folder / FILE, LABELLED_CROPS)
