"""A line's data set from folders of crops: one folder per class, as classification data sets are shared."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from lineact.decisions import NG, HandBox
from lineact.errors import InputError
from lineact.imported import PICTURE_SUFFIXES, ImportParams, Listed, Part, SizeWh
from lineact.imported.parts import into_parts
from lineact.imported.reading import read_pictures, refuse_many_bad
from lineact.imported.writing import tell, write_crops, write_report

PART_FOLDERS: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "test": "holdout"}


@dataclass(frozen=True)
class ImportCropsParams(ImportParams):
    """Settings of the stage `import_crops`."""


def import_crops(params: ImportCropsParams, raw: Path, dataset: Path, out: Path) -> None:
    """Writes the line's data set.

    Args:
        params: the settings.
        raw: CLASS/.../picture, or PART/CLASS/.../picture with the parts train, val and test.
        dataset: gets crops.parquet (train, val) and holdout_crops.parquet.
        out: gets metrics.json, problems.csv and recordings.csv.

    Raises:
        InputError: on a class that is no action, an action without pictures, too many broken files, too little to
            split, or parts that leak.
    """
    listed = list_crops(raw)
    classes = {_class_of(one) for one in listed}
    if unknown := sorted(classes - {*params.actions, NG}):
        raise InputError(
            f"{raw}: folder {', '.join(unknown)} is none of the actions {', '.join(params.actions)}; add it to "
            "`actions` in the line's file, or call it NG where it means nothing"
        )
    reading = read_pictures(listed, params, context=1.0, stage="import_crops")
    refuse_many_bad(reading, len(listed), params, raw)
    parts = into_parts(reading.pictures, params)
    tell(reading, parts, "import_crops")
    write_crops(parts, dataset)
    write_report(reading, parts, params.actions, out)


def list_crops(raw: Path) -> list[Listed]:
    """All pictures in class folders.

    Raises:
        InputError: where there is none.
    """
    tops = sorted(path.name for path in raw.iterdir() if path.is_dir()) if raw.is_dir() else []
    has_parts = bool(tops) and set(tops) <= set(PART_FOLDERS)
    depth = 2 if has_parts else 1
    listed = []
    for path in sorted(raw.rglob("*")) if tops else []:
        below = PurePosixPath(path.relative_to(raw).as_posix()).parts
        if path.suffix.lower() not in PICTURE_SUFFIXES or len(below) <= depth:
            continue
        given = PART_FOLDERS[below[0]] if has_parts else None
        label = partial(_whole_picture, action=below[depth - 1])
        listed.append(Listed("/".join(below), path, "/".join(below[depth:]), given, label))
    if not listed:
        raise InputError(f"{raw}: expected a folder with pictures for each class, found none")
    return listed


def classes_in(raw: Path) -> list[str]:
    """Names of the class folders, without NG, in the order of their names.

    Raises:
        InputError: where there is no picture in one.
    """
    return sorted({_class_of(one) for one in list_crops(raw)} - {NG})


def _class_of(listed: Listed) -> str:
    return listed.hands_of((1, 1))[0].action


def _whole_picture(size_wh_px: SizeWh, action: str) -> tuple[HandBox, ...]:
    return (HandBox((0.0, 0.0, float(size_wh_px[0]), float(size_wh_px[1])), action),)
