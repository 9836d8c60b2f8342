"""Scores the best epoch with the release's own way to find hands, chooses the score threshold and writes the files."""

import copy
import itertools
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from ultralytics.nn.tasks import DetectionModel

from lineact.bundle.processing import fit_into, read_png, select_boxes
from lineact.export.graphs import DetectorGraph
from lineact.files import write_csv, write_metrics, write_text
from lineact.foundation.yolov5 import DETECTOR_YAML, build_yolov5, load_weights
from lineact.metrics import ScoredFrame, average_precision, coco_map, score_detection
from lineact.train_detector import labelled_boxes
from lineact.training.report import draw_detector_curves, draw_precision_recall
from lineact.training.yolo.trainer import BEST_FILE, STATE_FILE, read_state

if TYPE_CHECKING:
    from lineact.train_detector import TrainDetectorParams

NEAR_BEST_F2 = 0.02
BETA = 2  # recall counts twice: a missed hand is lost, while a false box still meets a classifier that knows NG
PAPERS_IOUS = (0.3, 0.4)  # of the papers' recall and accuracy
JUDGED_IOU = 0.4  # the one of them at which the score threshold is chosen
LEAST_SCORE = 0.01


def predict(
    model: DetectionModel, images: list[Path], input_wh: tuple[int, int], nms_iou: float, max_hands: int
) -> list[ScoredFrame]:
    """Predictions and truth on images, in their pixels, found as the released pair finds them.

    Args:
        model: becomes the graph that is released; of no use for training after that.
        images: labels lie in `labels` where the images lie in `images`.
        input_wh: of the network.
        nms_iou: see `select_boxes`.
        max_hands: see `select_boxes`.
    """
    graph = DetectorGraph(model)
    frames = []
    with torch.inference_mode():
        for path in images:
            fitted_rgb, placement = fit_into(read_png(path), input_wh)
            output = graph(torch.from_numpy(fitted_rgb[None]))[0].numpy()  # 4 + classes x anchors
            boxes_xyxy_px, scores = select_boxes(output, LEAST_SCORE, nms_iou, max_hands)
            truth_xyxy_px = labelled_boxes(path, placement.source_wh)
            frames.append(ScoredFrame(placement.to_source(boxes_xyxy_px), scores, truth_xyxy_px))
    return frames


def judge(
    model: DetectionModel, images: list[Path], input_wh: tuple[int, int], nms_iou: float, max_hands: int
) -> tuple[float, float]:
    """Average precision at IoU 0.4 on images, and its rough standard error: that of as many independent hands.

    The model stays as it is. For the other arguments see `predict`.
    """
    frames = predict(copy.deepcopy(model), images, input_wh, nms_iou, max_hands)
    worth = average_precision(frames, JUDGED_IOU) or 0.0
    hands = sum(len(frame.truth_xyxy_px) for frame in frames)
    return worth, math.sqrt(worth * (1 - worth) / max(hands, 1))


def precision_recall_rows(frames: list[ScoredFrame]) -> list[list[float]]:
    """One-to-one precision and recall at IoU 0.4 over the score threshold.

    Returns:
        Rows (threshold, precision, recall, F2); thresholds at which nothing is predicted are left out.
    """
    rows = []
    for threshold in np.arange(0.02, 1.0, 0.02).round(2):
        score = score_detection([_above(frame, threshold) for frame in frames], JUDGED_IOU)
        precision, recall = score.one_to_one_precision, score.one_to_one_recall
        if precision is not None and recall is not None:
            weighed = BETA**2 * precision + recall
            f2 = (1 + BETA**2) * precision * recall / weighed if weighed else 0.0
            rows.append([float(threshold), precision, recall, f2])
    return rows


def choose_threshold(curve: list[list[float]]) -> float:
    """The middle of the stretch of score thresholds about the best F2 over which F2 is near it.

    On few validation images F2 is flat over a wide range: its low end lets in what none of them happens to show, its
    high end misses hands that are a little less clear than theirs. Where the best F2 is reached in several stretches,
    the widest counts, of equally wide ones the lowest.

    Args:
        curve: rows (threshold, precision, recall, F2).

    Returns:
        0 to 1; 0.5 where nothing was predicted at any threshold.
    """
    if not curve:
        return 0.5
    best_f2 = max(row[3] for row in curve)
    by_nearness = itertools.groupby(sorted(curve), key=lambda row: row[3] >= best_f2 - NEAR_BEST_F2)
    stretches = [list(rows) for is_near, rows in by_nearness if is_near]
    with_best = [[row[0] for row in rows] for rows in stretches if any(row[3] == best_f2 for row in rows)]
    widest = max(with_best, key=len)
    return widest[len(widest) // 2]


def write_detector(
    finished: Path,
    start: DetectionModel,
    params: "TrainDetectorParams",
    input_wh: tuple[int, int],
    val_images: list[Path],
    folder: Path,
    image_counts: dict[str, int],
) -> None:
    """Scores the best epoch and writes the stage's files.

    Args:
        finished: gets detector.safetensors, detector.yaml, metrics.json and plots/.
        start: any module of the architecture; gets the best weights.
        params: the stage's settings.
        input_wh: of the network.
        val_images: see `predict`.
        folder: of `fit_detector`.
        image_counts: metric name to number of images.
    """
    state = read_state(folder / STATE_FILE)
    rows, best_epoch = state["rows"], state["best_epoch"]
    start = start.cpu().float()
    load_weights(start, folder / BEST_FILE)
    frames = predict(start, val_images, input_wh, params.nms_iou, params.max_hands)
    curve = precision_recall_rows(frames)
    threshold = choose_threshold(curve)
    sure = [_above(frame, threshold) for frame in frames]
    loose, chosen = (score_detection(sure, min_iou) for min_iou in PAPERS_IOUS)

    architecture: Any = start.yaml
    shutil.copyfile(folder / BEST_FILE, finished / "detector.safetensors")
    extra = {"names": {0: "hand"}, "input_wh": list(input_wh), "score_threshold": threshold}
    write_text(finished / DETECTOR_YAML, yaml.safe_dump(architecture | {"nc": 1} | extra, sort_keys=False))
    load_weights(build_yolov5(finished / DETECTOR_YAML), finished / "detector.safetensors")  # what was written, fits
    plots = finished / "plots"
    write_csv(plots / "curves.csv", list(rows[0]), [list(row.values()) for row in rows])
    write_csv(plots / "precision_recall.csv", ["score_threshold", "precision", "recall", "f2"], curve)
    draw_detector_curves(plots / "curves.png", rows)
    draw_precision_recall(plots / "precision_recall.png", curve, threshold)
    write_metrics(
        finished,
        {
            "val_map50": average_precision(frames, 0.5),
            "val_map50_95": coco_map(frames),
            "val_recall_iou_0.3": loose.recall,
            "val_accuracy_iou_0.3": loose.accuracy,
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
