"""Scores the best epoch on the validation images, chooses the score threshold and writes the files of the stage."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from ultralytics.cfg import get_cfg
from ultralytics.data.dataset import YOLODataset
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import DEFAULT_CFG
from ultralytics.utils.nms import non_max_suppression

from lineact.files import write_csv, write_metrics, write_text
from lineact.foundation.yolov5 import DETECTOR_YAML, build_yolov5, load_weights
from lineact.metrics import ScoredFrame, average_precision, score_detection
from lineact.training.report import draw_detector_curves, draw_precision_recall
from lineact.training.yolo.trainer import BEST_FILE, STATE_FILE, read_state

if TYPE_CHECKING:
    from lineact.train_detector import TrainDetectorParams

NEAR_BEST_F1 = 0.02
JUDGED_IOU = 0.4  # IoU of the papers' recall and accuracy at which the score threshold is chosen
LEAST_SCORE = 0.01
NMS_IOU = 0.6


def predict(model: DetectionModel, data_yaml: Path, long_side_px: int) -> list[ScoredFrame]:
    """Predictions and truth on the validation images, in pixels of the network's input.

    Args:
        model: is left in evaluation mode.
        data_yaml: of `copy_data`.
        long_side_px: longer side of the input.
    """
    folder = data_yaml.parent / "images" / "val"
    dataset = YOLODataset(
        img_path=str(folder),
        imgsz=long_side_px,
        batch_size=1,
        augment=False,
        hyp=get_cfg(DEFAULT_CFG),
        rect=True,
        stride=32,
        pad=0.0,
        task="detect",
        data=yaml.safe_load(data_yaml.read_text()) | {"channels": 3},
    )
    model.eval()
    device = next(model.parameters()).device
    frames = []
    with torch.inference_mode():
        for index in range(len(dataset)):
            row = dataset[index]
            images = row["img"].unsqueeze(0).to(device).float() / 255  # 1 x 3 x H x W
            found = non_max_suppression(model(images), LEAST_SCORE, NMS_IOU)[0].cpu().numpy()  # P x 6
            input_wh = np.array([images.shape[3], images.shape[2]], np.float32)
            centre_xy, size_wh = row["bboxes"].numpy()[:, :2] * input_wh, row["bboxes"].numpy()[:, 2:] * input_wh
            truth = np.concatenate([centre_xy - size_wh / 2, centre_xy + size_wh / 2], axis=1)  # T x 4
            frames.append(ScoredFrame(found[:, :4], found[:, 4], truth))
    return frames


def precision_recall_rows(frames: list[ScoredFrame]) -> list[list[float]]:
    """One-to-one precision and recall at IoU 0.4 over the score threshold.

    Returns:
        Rows (threshold, precision, recall, F1); thresholds at which nothing is predicted are left out.
    """
    rows = []
    for threshold in np.arange(0.02, 1.0, 0.02).round(2):
        score = score_detection([_above(frame, threshold) for frame in frames], JUDGED_IOU)
        precision, recall = score.one_to_one_precision, score.one_to_one_recall
        if precision is not None and recall is not None:
            f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
            rows.append([float(threshold), precision, recall, f1])
    return rows


def choose_threshold(curve: list[list[float]]) -> float:
    """The middle of the score thresholds whose F1 is near the best.

    On few validation images F1 is flat over a wide range: its low end lets in what none of them happens to show, its
    high end misses hands that are a little less clear than theirs.

    Args:
        curve: rows (threshold, precision, recall, F1).

    Returns:
        0 to 1; 0.5 where nothing was predicted at any threshold.
    """
    best_f1 = max((row[3] for row in curve), default=0.0)
    near = sorted(row[0] for row in curve if row[3] >= best_f1 - NEAR_BEST_F1)
    return near[len(near) // 2] if near else 0.5


def write_detector(
    finished: Path,
    start: DetectionModel,
    params: "TrainDetectorParams",
    input_wh: tuple[int, int],
    data_yaml: Path,
    folder: Path,
    image_counts: dict[str, int],
) -> None:
    """Scores the best epoch and writes the stage's files.

    Args:
        finished: gets detector.safetensors, detector.yaml, metrics.json and plots/.
        start: any module of the architecture; gets the best weights.
        params: the stage's settings.
        input_wh: of the network.
        data_yaml: of `copy_data`.
        folder: of `fit_detector`.
        image_counts: metric name to number of images.
    """
    state = read_state(folder / STATE_FILE)
    rows, best_epoch = state["rows"], state["best_epoch"]
    start = start.cpu().float()
    load_weights(start, folder / BEST_FILE)
    frames = predict(start, data_yaml, params.long_side_px)
    curve = precision_recall_rows(frames)
    threshold = choose_threshold(curve)
    chosen = score_detection([_above(frame, threshold) for frame in frames], JUDGED_IOU)

    architecture: Any = start.yaml
    shutil.copyfile(folder / BEST_FILE, finished / "detector.safetensors")
    extra = {"names": {0: "hand"}, "input_wh": list(input_wh), "score_threshold": threshold}
    write_text(finished / DETECTOR_YAML, yaml.safe_dump(architecture | {"nc": 1} | extra, sort_keys=False))
    load_weights(build_yolov5(finished / DETECTOR_YAML), finished / "detector.safetensors")  # what was written, fits
    plots = finished / "plots"
    write_csv(plots / "curves.csv", list(rows[0]), [list(row.values()) for row in rows])
    write_csv(plots / "precision_recall.csv", ["score_threshold", "precision", "recall", "f1"], curve)
    draw_detector_curves(plots / "curves.png", rows)
    draw_precision_recall(plots / "precision_recall.png", curve, threshold)
    write_metrics(
        finished,
        {
            "val_map50": average_precision(frames, 0.5),
            "val_map50_95": rows[best_epoch - 1]["val_map50_95"],
            "val_recall_iou_0.4": chosen.recall,
            "val_accuracy_iou_0.4": chosen.accuracy,
            "val_one_to_one_precision_iou_0.4": chosen.one_to_one_precision,
            "best_score_threshold": threshold,
            "epochs": len(rows),
            "best_epoch": best_epoch,
            "parameters": sum(value.numel() for value in start.parameters()),
            "input_width_px": input_wh[0],
            "input_height_px": input_wh[1],
            **image_counts,
        },
    )


def _above(frame: ScoredFrame, threshold: float) -> ScoredFrame:
    kept = frame.scores >= threshold
    return ScoredFrame(frame.boxes_xyxy_px[kept], frame.scores[kept], frame.truth_xyxy_px)
