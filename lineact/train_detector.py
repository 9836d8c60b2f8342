"""The detector: YOLOv5 (ultralytics) on the line's boxes of hands."""

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lineact.errors import ConfigError, InputError
from lineact.files import cache_folder, sha256_of_tree
from lineact.foundation.tiny import MADE
from lineact.foundation.weights import WEIGHTS
from lineact.foundation.yolov5 import STAGE_ENDS, find_start
from lineact.training.start import start_key

CODE_VERSION = 7  # raise it where a change of the code changes the weights: older checkpoints are then left alone
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
STRIDE_PX = 32  # YOLOv5's coarsest grid; sides of the input are multiples of it
BACKBONE_STAGES = len(STAGE_ENDS) - 1


@dataclass(frozen=True)
class TrainDetectorParams:
    """Settings of the stage `train_detector`.

    Attributes:
        foundation: where the start comes from.
        size: of the network, for both foundations; an embedded one has half the width of ultralytics' of that letter.
        hub_model: ultralytics name or folder (detector.yaml, model.safetensors) of a YOLOv5, used where
            `foundation` is "hub".
        nms_iou: of two boxes that overlap by more, the lower-scored one is dropped, 0 to 1; as the release does.
        max_hands: most boxes of a frame; as the release does.
        seed: of the order of images and their variation.
        frozen_stages: so many stages of the backbone, from the picture on, stay as they are, their BatchNorm's
            statistics, too; see `STAGE_ENDS`. 0 trains everything, 5 leaves the neck and the head alone.
        long_side_px: images are scaled so that their longer side is this; a multiple of 32.
        epochs: at most so many passes over the training images.
        patience: epochs without a better average precision at IoU 0.4 on the validation images before training stops.
        batch_size: images per step.
        lr: peak learning rate of AdamW.
        warmup_epochs: epochs in which the rate climbs.
        final_lr_share: the cosine ends at this share of `lr`.
        shift: greatest displacement, share of the image.
        scale: greatest change of size, share.
        hue: greatest change of hue, share of the circle.
        saturation: greatest change of saturation, share.
        brightness: greatest change of brightness, share.
        flip: share of images mirrored left to right.
    """

    foundation: Literal["tiny", "hub"]
    size: Literal["n", "s", "m"]
    hub_model: str
    nms_iou: float
    max_hands: int
    seed: int
    frozen_stages: int
    long_side_px: int
    epochs: int
    patience: int
    batch_size: int
    lr: float
    warmup_epochs: float
    final_lr_share: float
    shift: float
    scale: float
    hue: float
    saturation: float
    brightness: float
    flip: float

    def __post_init__(self) -> None:
        if self.long_side_px < STRIDE_PX or self.long_side_px % STRIDE_PX:
            raise ValueError(f"long_side_px must be a multiple of {STRIDE_PX}, found {self.long_side_px}")
        if min(self.epochs, self.patience, self.batch_size) < 1 or self.warmup_epochs < 0 or not self.lr > 0:
            raise ValueError("epochs, patience and batch_size must be at least 1, warmup_epochs at least 0, lr above 0")
        if not 0 <= self.frozen_stages <= BACKBONE_STAGES:
            raise ValueError(f"frozen_stages must be 0 to {BACKBONE_STAGES}, found {self.frozen_stages}")
        if not 0 < self.nms_iou <= 1 or self.max_hands < 1:
            raise ValueError(
                f"nms_iou must be above 0, at most 1, and max_hands at least 1, found {self.nms_iou}, {self.max_hands}"
            )
        for name in ("final_lr_share", "shift", "scale", "hue", "saturation", "brightness", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, found {getattr(self, name)}")


def train_detector(params: TrainDetectorParams, detection: Path, tiny: Path, out: Path) -> None:
    """Trains the detector.

    Args:
        params: the settings.
        detection: YOLO folder: data.yaml, images/{train,val}, labels/{train,val}; one class.
        tiny: folder of the embedded start, used where `params.foundation` is "tiny".
        out: gets detector.safetensors (float32, unfused), detector.yaml (architecture, names, input_wh,
            score_threshold), metrics.json and plots/.

    Raises:
        InputError: on images, labels or weights that cannot be used.
        ConfigError: see `embedded_start`.
        TrainingDivergedError: where the loss is no longer finite.
    """
    from lineact.training.state import finish_once

    embedded = params.foundation == "tiny"
    start = str(embedded_start(params.size, tiny)) if embedded else find_start(params.hub_model)
    key = {
        "code": CODE_VERSION,
        "params": dataclasses.asdict(params),
        "detection": sha256_of_tree(detection),
        "start": start_key(start),
    }
    folder = cache_folder("train_detector", key).resolve()
    finish_once(folder, out, lambda finished: _train(params, detection, start, folder, finished))


def embedded_start(size: str, committed: Path) -> Path:
    """The folder of the embedded start of a size: n is committed, the others are made on demand and kept in the cache.

    Args:
        size: n, s or m.
        committed: folder of size n.

    Raises:
        ConfigError: where the start of this size was not made.
    """
    if size == "n":
        return committed
    name = f"yolov5{size}"
    if not (MADE / name / WEIGHTS).is_file():
        raise ConfigError(
            f"train_detector.size: {size}: expected its embedded start in {MADE / name}, found nothing; a detector is "
            f"not trained from random weights; ways out: `python -m flows.pretrain_foundation only={name}` makes it, "
            "`size: n` has one, or `foundation: hub`"
        )
    return MADE / name


def input_size(sizes_wh: set[tuple[int, int]], long_side_px: int) -> tuple[int, int]:
    """The smallest input whose longer side is `long_side_px` and into which all images fit.

    Args:
        sizes_wh: widths and heights of the images, pixels.
        long_side_px: a multiple of 32.

    Returns:
        (width, height), multiples of 32.
    """
    scaled = [(w * long_side_px / max(w, h), h * long_side_px / max(w, h)) for w, h in sizes_wh]
    width, height = (max(side) for side in zip(*scaled, strict=True))
    # A thousandth of a pixel forgives the division, so that 320 does not become 352.
    return _up_to_grid(width - 1e-3), _up_to_grid(height - 1e-3)


def check_detection_set(detection: Path) -> dict[str, list[Path]]:
    """Reads every label and decodes every image.

    Args:
        detection: YOLO folder.

    Returns:
        Split ("train", "val") to its images, sorted.

    Raises:
        InputError: names the file that is missing or broken.
    """
    import yaml

    data_yaml = detection / "data.yaml"
    if not data_yaml.is_file():
        raise InputError(f"{data_yaml}: expected a YOLO data set, found nothing there; run `dvc repro`")
    names = yaml.safe_load(data_yaml.read_text()).get("names")
    if names is None or len(names) != 1:
        raise InputError(f"{data_yaml}: expected one class, found names {names}")
    images = {}
    for split, purpose in (("train", "training"), ("val", "validation")):
        folder = detection / "images" / split
        paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise InputError(f"{folder}: expected {purpose} images, found none; review more frames or recordings")
        boxes = sum(_count_boxes(detection / "labels" / split / f"{path.stem}.txt") for path in paths)
        if not boxes:
            raise InputError(
                f"{detection / 'labels' / split}: expected boxes on at least one of {len(paths)} {purpose} images, "
                "found none; lower detect's thresholds or review more frames"
            )
        images[split] = paths
    return images


def labelled_boxes(image: Path, size_wh: tuple[int, int]) -> np.ndarray:
    """The boxes of one image of a YOLO folder that `check_detection_set` has read.

    Args:
        image: its labels lie in `labels` where it lies in `images`.
        size_wh: of the image, pixels.

    Returns:
        float64, T x 4, x1, y1, x2, y2 in the image's pixels.
    """
    lines = (image.parents[2] / "labels" / image.parent.name / f"{image.stem}.txt").read_text().split()
    shares = np.array(lines, np.float64).reshape(-1, 5)[:, 1:]  # x and y of the centre, width, height
    centre_xy, box_wh = shares[:, :2] * size_wh, shares[:, 2:] * size_wh
    return np.concatenate([centre_xy - box_wh / 2, centre_xy + box_wh / 2], axis=1)


def _up_to_grid(side_px: float) -> int:
    return max(math.ceil(side_px / STRIDE_PX), 1) * STRIDE_PX


def _count_boxes(path: Path) -> int:
    if not path.is_file():
        raise InputError(
            f"{path}: expected labels (empty where the image shows no hand), found nothing; run `dvc repro`"
        )
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            class_id, *numbers = (float(field) for field in line.split())
            if class_id != 0 or len(numbers) != 4 or not all(0 <= value <= 1 for value in numbers):
                raise ValueError
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: expected `0 x_centre y_centre width height` as shares, found {line!r}"
            ) from error
    return len(lines)


def _train(params: TrainDetectorParams, detection: Path, start: str, folder: Path, finished: Path) -> None:
    import torch

    from lineact.training.yolo.data import copy_data
    from lineact.training.yolo.result import judge, write_detector
    from lineact.training.yolo.trainer import fit_detector, load_start

    images = check_detection_set(detection)
    data_yaml, sizes_wh = copy_data(images, folder / "data")
    input_wh = input_size(sizes_wh, params.long_side_px)
    counts = {f"{split}_images": len(paths) for split, paths in images.items()}
    print(f"{counts['train_images']} training and {counts['val_images']} validation images", flush=True)
    torch.manual_seed(params.seed)
    model = load_start(start, params.size)
    as_released = partial(
        judge, images=images["val"], input_wh=input_wh, nms_iou=params.nms_iou, max_hands=params.max_hands
    )
    fit_detector(params, model, as_released, data_yaml, folder)
    write_detector(finished, model, params, input_wh, images["val"], folder, counts)
