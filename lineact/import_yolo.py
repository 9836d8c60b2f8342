"""A line's data set from a YOLO folder whose classes are actions: crops for the classifier, boxes for the detector."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lineact.decisions import NG, HandBox
from lineact.errors import InputError
from lineact.exchange.yolo import boxes_of
from lineact.files import write_whole
from lineact.imported import ImportParams, Listed, SizeWh
from lineact.imported.parts import into_parts
from lineact.imported.pictures import write_detection, write_holdout
from lineact.imported.reading import read_pictures, refuse_many_bad
from lineact.imported.writing import tell, write_crops, write_report
from lineact.imported.yolo import YoloSet, inner_name, label_file, read_yolo_set


@dataclass(frozen=True)
class ImportYoloParams(ImportParams):
    """Settings of the stage `import_yolo`, beside those that it shares with `import_crops`.

    Attributes:
        context: a crop's side as a multiple of the box's longer side.
    """

    context: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context < 1:
            raise ValueError(f"context must be at least 1, found {self.context}")


def import_yolo(params: ImportYoloParams, raw: Path, dataset: Path, out: Path) -> None:
    """Writes the line's data set.

    Args:
        params: the settings.
        raw: the YOLO folder.
        dataset: gets crops.parquet (train, val), holdout_crops.parquet, detection/ and holdout/ (pictures).
        out: gets metrics.json, problems.csv and recordings.csv.

    Raises:
        InputError: on a class that is no action, an action without boxes, too many broken files, too little to split,
            or parts that leak.
    """
    found = read_yolo_set(raw)
    if unknown := sorted(set(found.names.values()) - {*params.actions, NG}):
        raise InputError(
            f"{raw / 'data.yaml'}: class {', '.join(unknown)} is none of the actions {', '.join(params.actions)}; add "
            "it to `actions` in the line's file, or call it NG where it means nothing"
        )
    listed = _listed(found)
    reading = read_pictures(listed, params, params.context, "import_yolo")
    refuse_many_bad(reading, len(listed), params, raw)
    parts = into_parts(reading.pictures, params)
    tell(reading, parts, "import_yolo")
    write_crops(parts, dataset)
    write_whole(dataset / "detection", lambda folder: write_detection(parts, folder))
    write_whole(dataset / "holdout", lambda folder: write_holdout(parts, params.actions, folder))
    write_report(reading, parts, params.actions, out)


def _listed(found: YoloSet) -> list[Listed]:
    return [
        Listed(
            name,
            found.base / name,
            inner_name(name),
            part,
            partial(_hands_of, labels=found.base / label_file(name), names=found.names),
        )
        for name, part in found.pictures
    ]


def _hands_of(size_wh_px: SizeWh, labels: Path, names: dict[int, str]) -> tuple[HandBox, ...]:
    if not labels.is_file():
        raise ValueError(f"expected labels in {labels.name}, found no file (an empty one says that there is no hand)")
    try:
        return boxes_of(labels.read_text(encoding="utf-8"), size_wh_px, names)
    except ValueError as error:
        raise ValueError(f"{labels.name}: {error}") from error
