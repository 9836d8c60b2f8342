"""A tiny pair with random weights, and the data a stage would export it with."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from lineact.bundle.manifest import EventSettings
from lineact.bundle.networks import Setup
from lineact.context import ContextParams
from lineact.export import ExportParams
from lineact.files import write_json
from lineact.schema import LABELLED_CROPS, table_of, write_table

ACTIONS = ("screw", "wipe")
LABELS = (*ACTIONS, "NG")
INPUT_WH = (96, 64)
CROP_SIDE_PX = 48
CLASSIFIER_SIDE_PX = 32
EXPORT = ExportParams(
    classifier="student",
    setup=Setup("openvino", "f32", 1),
    score_threshold=None,
    nms_iou=0.5,
    max_hands=4,
    events=EventSettings(0.4, 0.3),
    crop_context=1.5,
    crop_side_px=CROP_SIDE_PX,
    short_context=ContextParams(0.0, 2),
    parity_crops=6,
    parity_frames=2,
    sample_crops=3,
    sample_frames=2,
    calibration_crops=0,
    calibration_frames=0,
    logits_tolerance=1e-3,
    scores_tolerance=1e-3,
    boxes_tolerance_px=0.05,
)


def write_trained(folder: Path, *, labels: tuple[str, ...] = LABELS, seed: int = 0, crops: int = 1) -> None:
    """Writes what train_detector, train_teacher and distil would: folders of these names."""
    import torch
    from safetensors.torch import save_file

    from lineact.classifiers.families import build_network
    from lineact.foundation.tiny import yolov5_description
    from lineact.foundation.yolov5 import build_yolov5
    from lineact.training.classifier import ClassifierSpec, save_classifier

    torch.manual_seed(seed)
    detector = folder / "train_detector"
    detector.mkdir(parents=True)
    description = yolov5_description() | {
        "scales": {"n": [0.33, 0.0625, 128]},
        "input_wh": list(INPUT_WH),
        "score_threshold": 0.6,
    }
    (detector / "detector.yaml").write_text(yaml.safe_dump(description))
    model = build_yolov5(detector / "detector.yaml")
    head: Any = model.model
    for boxes, scores in zip(head[-1].cv2, head[-1].cv3, strict=True):
        torch.nn.init.normal_(boxes[-1].weight, std=0.05)
        boxes[-1].bias.data = torch.linspace(0, -12, 16).repeat(4)  # short distances: boxes smaller than the image
        torch.nn.init.normal_(scores[-1].weight, std=0.3)
        torch.nn.init.zeros_(scores[-1].bias)  # scores around 0.5 in place of the usual start near 0
    # Statistics of BatchNorm from images: with those of the start all signals fade on their way to the head.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        rng = np.random.default_rng(seed)
        images = np.stack([smooth_noise(rng, INPUT_WH[::-1]) for _ in range(32)])
        model.train()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, detector / "detector.safetensors")
    for stage, name, depth in (("distil", "student", 1), ("train_teacher", "teacher", 2)):
        side_px = CLASSIFIER_SIDE_PX
        config: dict[str, Any] = {
            "architecture": "vit_small_patch16_224",
            "model_args": {
                "img_size": side_px, "patch_size": 8, "embed_dim": 24, "depth": depth, "num_heads": 2
            },
            "pretrained_cfg": {
                "input_size": [3, side_px, side_px], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]
            },
        }  # fmt: skip
        network: Any = build_network("vit", config, labels, name, crops)
        vit_head = network.get_classifier()
        torch.nn.init.normal_(vit_head.weight, std=0.5)
        save_classifier(folder / stage, name, network, ClassifierSpec(config, labels, crops=crops))


def write_data(folder: Path, *, labels: tuple[str, ...] = LABELS, count: int = 12, crops: int = 1) -> None:
    """Writes crops.parquet and detection/ as `dataset` would, of noise."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        crop = smooth_noise(rng, (crops * CROP_SIDE_PX, CROP_SIDE_PX))
        rows.append(
            {
                "video_sha256": "a" * 64, "pts_s": index / 5, "box_id": f"{index * 7919 % 9973:04d}",
                "x1": 0.0, "y1": 0.0, "x2": 9.0, "y2": 9.0, "action": labels[index % len(labels)],
                "split": "val" if index % 2 else "train", "decided_by": "person",
                "crop_png": cv2.imencode(".png", crop)[1].tobytes(),
            }
        )  # fmt: skip
    write_table(table_of(rows, LABELLED_CROPS), folder / "crops.parquet", LABELLED_CROPS)
    for kind in ("images", "labels"):
        (folder / "detection" / kind / "val").mkdir(parents=True)
    write_json(folder / "detection" / "data.yaml", {"names": ["hand"]})
    for index in range(3):
        image = smooth_noise(rng, (INPUT_WH[1] * 2, INPUT_WH[0] * 2))
        cv2.imwrite(str(folder / f"detection/images/val/{index}.png"), image)
        (folder / f"detection/labels/val/{index}.txt").write_text("0 0.5 0.5 0.25 0.5\n")


def smooth_noise(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """A uint8 image with structure, so that networks tell one from another."""
    coarse = rng.integers(0, 256, (size_hw[0] // 8, size_hw[1] // 8, 3), np.uint8)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def export_pair(
    folder: Path, params: ExportParams = EXPORT, *, labels: tuple[str, ...] = LABELS, seed: int = 0, crops: int = 1
) -> Path:
    """Trains nothing, exports everything: returns the stage's out folder, with bundle/ in it."""
    write_trained(folder / "models", labels=labels, seed=seed, crops=crops)
    write_data(folder / "data", labels=labels, crops=crops)
    out = folder / "export"
    run_export(params, folder, out)
    return out


def run_export(params: ExportParams, folder: Path, out: Path) -> None:
    """Calls the stage's function on what `write_trained` and `write_data` wrote."""
    from tasks.export import export

    models, data = folder / "models", folder / "data"
    export(
        params,
        line="press_a",
        crops=data / "crops.parquet",
        detection=data / "detection",
        train_detector=models / "train_detector",
        train_teacher=models / "train_teacher",
        distil=models / "distil",
        out=out,
    )
