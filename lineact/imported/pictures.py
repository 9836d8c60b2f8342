"""Writes the pictures of an imported YOLO folder: the detector's, with all boxes as hands, and the held-out ones."""

import shutil
from pathlib import Path

from lineact.dataset.detection import DETECTOR_SPLITS, begin_detection_set, yolo_lines
from lineact.decisions import NG
from lineact.exchange import Picture as Labelled
from lineact.exchange.yolo import data_yaml, label_text
from lineact.imported.parts import ImportedParts
from lineact.imported.reading import Picture, decode_picture
from lineact.png import encode_png

HELD_OUT = "test"  # YOLO's word for what measures
COPIED_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})  # other formats are written as PNG, which loses nothing


def write_detection(parts: ImportedParts, folder: Path) -> None:
    """Writes the detector's training and validation pictures, all boxes as hands."""
    begin_detection_set(folder)
    for split in DETECTOR_SPLITS:
        for picture in parts.of[split]:
            stem = _write_picture(picture, folder / "images" / split)
            boxes = tuple(hand.box_xyxy_px for hand in picture.hands)
            lines = yolo_lines(boxes, picture.size_wh_px)
            (folder / "labels" / split / f"{stem}.txt").write_text("".join(f"{line}\n" for line in lines))


def write_holdout(parts: ImportedParts, actions: tuple[str, ...], folder: Path) -> None:
    """Writes the held-out pictures as a YOLO folder whose classes are the actions, and NG."""
    labels = (*actions, NG)
    for kind in ("images", "labels"):
        (folder / kind / HELD_OUT).mkdir(parents=True)
    (folder / "data.yaml").write_text(data_yaml(labels, (HELD_OUT,)))
    for picture in parts.of["holdout"]:
        stem = _write_picture(picture, folder / "images" / HELD_OUT)
        said = Labelled(stem, picture.size_wh_px, picture.hands)
        (folder / "labels" / HELD_OUT / f"{stem}.txt").write_text(label_text(said, labels))


def _write_picture(picture: Picture, folder: Path) -> str:
    """Returns the file's stem."""
    path = picture.listed.path
    stem = f"{path.stem}_{picture.sha256[:12]}"
    if path.suffix.lower() in COPIED_SUFFIXES:
        shutil.copyfile(path, folder / f"{stem}{path.suffix.lower()}")
    else:
        (folder / f"{stem}.png").write_bytes(encode_png(decode_picture(path)))
    return stem
