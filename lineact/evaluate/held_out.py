"""Held-out pictures of a line without recordings, each with what its data set says of it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lineact.errors import InputError
from lineact.evaluate.truth import TruthFrame
from lineact.exchange.yolo import boxes_of
from lineact.files import sha256_of_file
from lineact.imported.reading import decode_picture
from lineact.imported.yolo import label_file, read_yolo_set


def held_out_pictures(folder: Path) -> Iterator[tuple[TruthFrame, np.ndarray]]:
    """Pictures (uint8, H x W x 3) with their truth, in the order of their names.

    Args:
        folder: a YOLO folder whose classes are actions, as `import_yolo` writes it; a picture counts as a recording
            of one frame at 0 s.

    Raises:
        InputError: where there are no pictures, or one or its labels cannot be read.
    """
    found = read_yolo_set(folder)
    for name, _ in found.pictures:
        path, labels = found.base / name, found.base / label_file(name)
        try:
            image_rgb = decode_picture(path)
            height, width = image_rgb.shape[:2]
            hands = boxes_of(labels.read_text(encoding="utf-8"), (width, height), found.names)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: expected a picture and its labels, found {error}; run `dvc repro`") from error
        boxes = np.array([hand.box_xyxy_px for hand in hands], np.float64).reshape(-1, 4)
        yield TruthFrame(sha256_of_file(path), 0.0, boxes, tuple(hand.action for hand in hands)), image_rgb
