"""Generated folders of labelled pictures, as a user brings them: crops in class folders, and YOLO folders."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lineact.import_crops import ImportCropsParams
from lineact.import_yolo import ImportYoloParams
from lineact.imported.split import FileSplitParams

ACTIONS = ("open", "closed")


def split_params(**changes) -> FileSplitParams:
    """Small blocks."""
    settings: dict[str, Any] = {
        "by": "auto",
        "block": 10,
        "guard": 2,
        "holdout_share": 0.25,
        "validation_share": 0.25,
    }
    return FileSplitParams(**(settings | changes))


def crops_params(split: FileSplitParams | None = None, **changes) -> ImportCropsParams:
    """Settings of `import_crops`."""
    settings: dict[str, Any] = {
        "actions": ACTIONS,
        "crop_px": 32,
        "max_bad_share": 0.05,
        "copy_below": 1.0,
        "split": split or split_params(),
        "seed": 0,
    }
    return ImportCropsParams(**(settings | changes))


def yolo_params(split: FileSplitParams | None = None, **changes) -> ImportYoloParams:
    """Settings of `import_yolo`."""
    return ImportYoloParams(**(vars(crops_params(split)) | {"context": 1.5} | changes))


def draw(seed: int, size_wh: tuple[int, int] = (40, 30)) -> np.ndarray:
    """A picture that no other seed gives: uint8, H x W x 3, RGB."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (5, 6, 3)).astype(np.uint8)
    return cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC)


def write_picture(path: Path, seed: int, size_wh: tuple[int, int] = (40, 30)) -> Path:
    """A file that decodes to `draw`, where its format loses nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw(seed, size_wh)[..., ::-1])
    return path


def write_class_folders(folder: Path, count: int = 80, actions: Iterable[str] = ACTIONS) -> Path:
    """CLASS/img_NUMBER.png, all of one recording, classes in turn."""
    actions = list(actions)
    for number in range(count):
        write_picture(folder / actions[number % len(actions)] / f"img_{number:04d}.png", number)
    return folder


def write_yolo_folder(folder: Path, recordings: Iterable[str] = "abcd", count: int = 8) -> Path:
    """images/RECORDING_NUMBER.png with one or no box; test.txt lists the last recording, train.txt the others."""
    recordings = list(recordings)
    lists: dict[str, list[str]] = {"train": [], "test": []}
    (folder / "labels").mkdir(parents=True)
    for index, recording in enumerate(recordings):
        for number in range(count):
            stem = f"{recording}_{number:03d}"
            write_picture(folder / "images" / f"{stem}.png", 1000 * index + number)
            line = "" if number == count - 1 else f"{number % 2} 0.5 0.5 0.4 0.6\n"
            (folder / "labels" / f"{stem}.txt").write_text(line)
            lists["test" if recording == recordings[-1] else "train"].append(f"images/{stem}.png")
    for name, listed in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{one}\n" for one in listed))
    (folder / "data.yaml").write_text("train: train.txt\ntest: test.txt\nnames: [open, closed]\n")
    return folder
