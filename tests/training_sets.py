"""Small generated training sets and start weights for the tests of the training stages."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from lineact.classifiers.settings import ClassifierParams, DistillationParams, Family
from lineact.distil import DistilParams
from lineact.files import write_json
from lineact.foundation.resnet import build_resnet
from lineact.foundation.tiny import save_tensors, save_vit, save_yolov5, yolov5_description
from lineact.foundation.tiny_clip import clip_pair, save_clip
from lineact.foundation.vit import build_vit
from lineact.foundation.yolov5 import build_yolov5
from lineact.schema import LABELLED_CROPS, table_of, write_table
from lineact.train_detector import TrainDetectorParams
from lineact.train_teacher import TrainTeacherParams
from lineact.training.crops import CropSet
from lineact.training.settings import AugmentParams, FitParams

ACTIONS = ("screw", "wipe")
LABELS = (*ACTIONS, "NG")
SIDE_PX = 24
VIT = {"img_size": SIDE_PX, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0}
AUGMENT = AugmentParams(
    shift=0.05,
    scale=0.1,
    brightness=0.05,
    contrast=0.1,
    saturation=0.1,
    blur=0.1,
    erase=0.1,
    flip=0.0,
    sided=(),
    mixup=0.0,
)


def fit_params(**changes) -> FitParams:
    """Settings of a training of a second or two."""
    settings: dict[str, Any] = {
        "epochs": 6,
        "patience": 6,
        "stop_on": "val_macro_f1",
        "batch_size": 16,
        "crops_at_once": None,
        "mixed_precision": True,
        "lr": 0.005,
        "warmup_epochs": 0.5,
        "final_lr_share": 0.1,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "label_smoothing": 0.0,
        "class_weight_power": 0.5,
    }
    return FitParams(**(settings | changes))


def teacher_params(fit: FitParams | None = None, **changes) -> TrainTeacherParams:
    """Settings of a small teacher."""
    settings: dict[str, Any] = {
        "actions": ACTIONS,
        "foundation": "tiny",
        "hub_model": "none",
        "hub_revision": None,
        "seed": 1,
        "lora_r": 4,
        "lora_dropout": 0.0,
        "lora_targets": ("qkv", "proj"),
        "lora_head": True,
        "teach_epochs": 2,
        "split_gap_s": 0.5,
        "side_px": None,
        "head_start": "random",
        "fit": fit or fit_params(),
        "augment": AUGMENT,
    }
    return TrainTeacherParams(**(settings | changes))


def distil_params(fit: FitParams | None = None, **changes) -> DistilParams:
    """Settings of a small student."""
    settings: dict[str, Any] = {
        "actions": ACTIONS,
        "foundation": "tiny",
        "hub_model": "none",
        "hub_revision": None,
        "seed": 1,
        "student": "fixed",
        "depth": None,
        "teacher_temperature": 0.07,
        "student_temperature": 1.0,
        "soft_share": 0.5,
        "feature_share": 0.0,
        "relation_share": 0.0,
        "teacher_sees": "clean",
        "split_gap_s": 0.5,
        "side_px": None,
        "head_start": "random",
        "fit": fit or fit_params(lr=0.002),
        "augment": AUGMENT,
    }
    return DistilParams(**(settings | changes))


def detector_params(**changes) -> TrainDetectorParams:
    """Settings of a small detector."""
    settings: dict[str, Any] = {
        "foundation": "tiny",
        "size": "n",
        "hub_model": "none",
        "nms_iou": 0.5,
        "max_hands": 8,
        "seed": 3,
        "frozen_stages": 0,
        "long_side_px": 64,
        "epochs": 3,
        "patience": 3,
        "batch_size": 4,
        "lr": 0.002,
        "warmup_epochs": 1.0,
        "final_lr_share": 0.1,
        "shift": 0.05,
        "scale": 0.1,
        "hue": 0.01,
        "saturation": 0.2,
        "brightness": 0.2,
        "flip": 0.0,
    }
    return TrainDetectorParams(**(settings | changes))


def draw_crop(action: str, rng: np.random.Generator) -> np.ndarray:
    """A noisy crop: `screw` has an upright bar, `wipe` a lying one, NG none; colours say nothing.

    Returns:
        uint8, SIDE_PX x SIDE_PX x 3.
    """
    crop = np.full((SIDE_PX, SIDE_PX, 3), rng.integers(20, 90, 3), np.int64)
    shade, at = rng.integers(150, 255, 3), int(rng.integers(9, 13))
    if action == "screw":
        crop[3:21, at : at + 4] = shade
    if action == "wipe":
        crop[at : at + 4, 3:21] = shade
    return np.clip(crop + rng.normal(0, 8, crop.shape), 0, 255).astype(np.uint8)


def write_crops(path: Path, count: int = 90, seed: int = 0) -> Path:
    """A LABELLED_CROPS table with whole videos as training and validation split."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        action, split = LABELS[index % 3], "val" if index % 5 == 0 else "train"
        png = cv2.imencode(".png", draw_crop(action, rng)[..., ::-1])[1].tobytes()
        box = {"x1": 0.0, "y1": 0.0, "x2": 9.0, "y2": 9.0}
        frame = {"video_sha256": f"video-{split}", "pts_s": index * 0.4, "box_id": f"box-{index}"}
        rows.append(frame | box | {"action": action, "split": split, "decided_by": "person", "crop_png": png})
    write_table(table_of(rows, LABELLED_CROPS), path, LABELLED_CROPS)
    return path


def write_vit(folder: Path, seed: int = 0, **changes) -> Path:
    """A start folder of a small ViT with random weights."""
    arguments = VIT | changes
    torch.manual_seed(seed)
    config = {"architecture": "vit_small_patch16_224", "model_args": arguments}
    save_vit(build_vit(config, "test"), arguments, folder, "for tests\n")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace("96,\n      96", f"{SIDE_PX},\n      {SIDE_PX}"))
    return folder


def write_detector_start(folder: Path, seed: int = 0, size: str = "n") -> Path:
    """A start folder of the tiny YOLOv5 with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    (folder / "detector.yaml").write_text(yaml.safe_dump(yolov5_description(size)))
    save_yolov5(build_yolov5(folder / "detector.yaml"), folder, "for tests\n", size)
    return folder


def write_detection_set(folder: Path, train_count: int = 10, val_count: int = 4, seed: int = 0) -> Path:
    """A YOLO set of 128 x 72 images with bright discs as hands; every fifth image is empty."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train_count), ("val", val_count)):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 60, (72, 128, 3)).astype(np.uint8)
            line = ""
            if index % 5 != 4:
                x, y, radius = int(rng.integers(20, 108)), int(rng.integers(20, 52)), int(rng.integers(8, 14))
                cv2.circle(image, (x, y), radius, (150, 200, 230), -1)
                line = f"0 {x / 128:.6f} {y / 72:.6f} {2 * radius / 128:.6f} {2 * radius / 72:.6f}\n"
            cv2.imwrite(str(folder / "images" / split / f"{index:03d}.png"), image)
            (folder / "labels" / split / f"{index:03d}.txt").write_text(line)
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: {0: hand}\n")
    return folder


def classifier_params(family: Family, fit: FitParams | None = None, **changes) -> ClassifierParams:
    """Settings of a small classifier without variation of its crops."""
    settings: dict[str, Any] = {
        "family": family,
        "foundation": "tiny",
        "tiny": "start",
        "hub_model": None,
        "hub_revision": None,
        "trains": "all",
        "stages": (),
        "depth": None,
        "side_px": None,
        "head_start": "random",
        "lora": None,
        "distil": None,
        "prompts": {},
        "fit": fit or fit_params(),
        "augment": AugmentParams(0, 0, 0, 0, 0, 0, 0, 0, (), 0),
    }
    return ClassifierParams(**(settings | changes))


def distillation_params(**changes) -> DistillationParams:
    """How a small student learns."""
    settings: dict[str, Any] = {
        "teacher": "any",
        "teacher_temperature": 0.5,
        "student_temperature": 1.0,
        "soft_share": 0.5,
        "feature_share": 0.0,
        "relation_share": 0.0,
        "teach_epochs": 2,
        "teacher_sees": "clean",
    }
    return DistillationParams(**(settings | changes))


def crop_set(count: int, seed: int = 0, labels: tuple[str, ...] = LABELS) -> CropSet:
    """Drawn crops of the labels in turn."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % len(labels)
    return CropSet(np.stack([draw_crop(labels[index], rng) for index in classes]), classes.astype(np.int64))


def write_clip(folder: Path, seed: int = 0) -> Path:
    """A start folder of the tiny CLIP with random weights."""
    torch.manual_seed(seed)
    save_clip(clip_pair(), folder, "for tests\n")
    return folder


def write_resnet(folder: Path, seed: int = 0) -> Path:
    """A start folder of a small ResNet with random weights."""
    torch.manual_seed(seed)
    config = {
        "architecture": "resnet18",
        "model_args": {"channels": [8, 16, 16, 24]},
        "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    }
    write_json(folder / "config.json", config)
    save_tensors(build_resnet(config, "test"), folder / "model.safetensors")
    return folder
