"""The detector's files: a YOLO folder with one class."""

from pathlib import Path
from typing import Literal

import yaml

HAND = 0  # the detector's only class
DETECTOR_SPLITS: tuple[Literal["train", "val"], ...] = ("train", "val")
BoxPx = tuple[float, float, float, float]


def begin_detection_set(folder: Path) -> None:
    """Makes the folders, and data.yaml."""
    for split in DETECTOR_SPLITS:
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
    # No `path`: ultralytics then takes the folder that holds the file.
    content = {"train": "images/train", "val": "images/val", "names": {HAND: "hand"}}
    (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def yolo_lines(boxes_xyxy_px: tuple[BoxPx, ...], size_wh: tuple[int, int]) -> list[str]:
    """Labels in YOLO's format: class, centre x, centre y, width, height, as shares of the picture, clipped to it.

    Args:
        boxes_xyxy_px: pixels of the frame.
        size_wh: of the frame, pixels.
    """
    lines = []
    for x1, y1, x2, y2 in boxes_xyxy_px:
        left, right = (min(max(value / size_wh[0], 0.0), 1.0) for value in (x1, x2))
        top, bottom = (min(max(value / size_wh[1], 0.0), 1.0) for value in (y1, y2))
        if right > left and bottom > top:
            numbers = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            lines.append(f"{HAND} " + " ".join(f"{number:.6f}" for number in numbers))
    return lines
