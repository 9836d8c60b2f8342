"""Writes sets of pictures as the folder that a tool imports."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from lineact.exchange import Picture, cvat, label_studio
from lineact.exchange.coco import to_coco
from lineact.exchange.pictures import PictureSet
from lineact.exchange.yolo import data_yaml, label_text

WHOLE = "default"  # the subset of pictures that are not split, as CVAT calls it
SUBSETS = ("train", "val", "test")


def write_label_studio(sets: Sequence[PictureSet], folder: Path) -> None:
    """NAME.json with tasks (pictures within) and NAME.xml with the labelling interface, per set."""
    for one in sets:
        kind = label_studio.BOXES if one.has_boxes else label_studio.CHOICE
        (folder / f"{one.name}.xml").write_text(label_studio.labelling_interface(one.labels, kind), encoding="utf-8")
        with (folder / f"{one.name}.json").open("w", encoding="utf-8") as stream:
            opening = "[\n"
            for picture, content in one.draw():  # one by one: a long queue does not fit into memory
                stream.write(opening + json.dumps(label_studio.task_of(picture, content), ensure_ascii=False))
                opening = ",\n"
            stream.write("\n]\n")


def write_cvat(sets: Sequence[PictureSet], folder: Path) -> None:
    """NAME/images/, NAME/annotations.xml and NAME/labels.json (the raw form of CVAT's labels), per set."""
    for one in sets:
        place = folder / one.name
        pictures = _written(one, place, lambda _: "images")
        (place / "annotations.xml").write_bytes(cvat.to_cvat(pictures, one.labels))
        kind = "rectangle" if one.has_boxes else "tag"
        (place / "labels.json").write_text(cvat.labels_json(one.labels, kind) + "\n", encoding="utf-8")


def write_coco(sets: Sequence[PictureSet], folder: Path) -> None:
    """images/SUBSET/ and annotations/instances_SUBSET.json; boxes only."""
    (folder / "annotations").mkdir(parents=True)
    for one in sets:
        pictures = _written(one, folder, lambda picture: f"images/{picture.subset or WHOLE}")
        for subset in sorted({picture.subset for picture in pictures}):
            content = to_coco([picture for picture in pictures if picture.subset == subset], one.labels)
            text = json.dumps(content, ensure_ascii=False, indent=1)
            (folder / "annotations" / f"instances_{subset or WHOLE}.json").write_text(text + "\n", encoding="utf-8")


def write_yolo(sets: Sequence[PictureSet], folder: Path) -> None:
    """Of frames data.yaml, images/SUBSET/ and labels/SUBSET/; of crops SUBSET/LABEL/, as YOLO's classifiers read it."""
    for one in sets:
        if not one.has_boxes:
            _written(one, folder, lambda picture: f"{picture.subset}/{picture.label}")
            continue
        pictures = _written(one, folder, lambda picture: f"images/{_subset(picture)}")
        for picture in pictures:
            path = folder / "labels" / _subset(picture) / f"{picture.stem}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(label_text(picture, one.labels), encoding="utf-8")
        used = {_subset(picture) for picture in pictures}
        text = data_yaml(one.labels, [subset for subset in SUBSETS if subset in used])
        (folder / "data.yaml").write_text(text, encoding="utf-8")


WRITERS: dict[str, Callable[[Sequence[PictureSet], Path], None]] = {
    "label_studio": write_label_studio,
    "cvat": write_cvat,
    "coco": write_coco,
    "yolo": write_yolo,
}


def _written(one: PictureSet, folder: Path, below: Callable[[Picture], str]) -> list[Picture]:
    """Writes the pictures into subfolders, one by one, and returns what is said of them."""
    pictures = []
    for picture, content in one.draw():
        path = folder / below(picture) / picture.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        pictures.append(picture)
    return pictures


def _subset(picture: Picture) -> str:
    return picture.subset or SUBSETS[0]  # YOLO knows no data set without a training part
