"""The detection set where ultralytics may write beside it."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2
import yaml

from lineact.errors import InputError
from lineact.files import write_text


def copy_data(images: Mapping[str, list[Path]], folder: Path) -> tuple[Path, set[tuple[int, int]]]:
    """Copies a checked YOLO set to where ultralytics may write its label caches, decoding every image once.

    Args:
        images: split to images; labels lie in `labels` where the images lie in `images`.
        folder: replaced.

    Returns:
        The data.yaml in there, and all sizes (width, height) in pixels.

    Raises:
        InputError: names an image that cannot be decoded.
    """
    sizes_wh = set()
    if folder.is_dir():
        shutil.rmtree(folder)
    for split, paths in images.items():
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for path in paths:
            image = cv2.imread(str(path))
            if image is None:
                raise InputError(f"{path}: expected an image, found something else; run `dvc repro` for the data set")
            sizes_wh.add((image.shape[1], image.shape[0]))
            labels = path.parents[2] / "labels" / split / f"{path.stem}.txt"
            shutil.copyfile(path, folder / "images" / split / path.name)
            shutil.copyfile(labels, folder / "labels" / split / labels.name)
    description = {"path": str(folder), "train": "images/train", "val": "images/val", "names": {0: "hand"}}
    write_text(folder / "data.yaml", yaml.safe_dump(description))
    return folder / "data.yaml", sizes_wh
