"""How well the tiny set serves simulated lines that it has never seen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lineact.boxes import crop_square, iou_matrix

if TYPE_CHECKING:
    import torch

    from lineact.foundation.weights import Preprocessing

CONTEXT = 1.5
LINES = ("demo", "gi_d", "gi_wd", "ttp_wh")  # never seen in pretraining


@dataclass(frozen=True)
class LineFrames:
    """Frames of a simulated line with truth.

    Attributes:
        images_rgb: each uint8 H x W x 3.
        boxes_xyxy_px: per frame, n x 4.
        actions: per frame, n names.
        recordings: per frame, the number of its recording.
    """

    images_rgb: list[np.ndarray]
    boxes_xyxy_px: list[np.ndarray]
    actions: list[list[str]]
    recordings: list[int]


def line_frames(station: str, seconds: float, recordings: int, fps: int = 3) -> LineFrames:
    """Renders frames of a station (640 x 360, seed 0), without compression."""
    from lineact.simulation.render import View, render_frames
    from lineact.simulation.stations import STATIONS

    frames = LineFrames([], [], [], [])
    view = View((640, 360), fps, seconds, 23, 2.0)
    for number in range(recordings):
        for image_rgb, truth in render_frames(STATIONS[station], view, (0, number)):
            frames.images_rgb.append(image_rgb)
            frames.boxes_xyxy_px.append(np.array([box.box_xyxy_px for box in truth], float).reshape(-1, 4))
            frames.actions.append([box.action for box in truth])
            frames.recordings.append(number)
    return frames


def line_crops(frames: LineFrames, side_px: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops around the true boxes, a little off as detectors' are.

    Returns:
        Crops uint8 N x side x side x 3, actions N, recordings N.
    """
    generator = np.random.default_rng(seed)
    crops, actions, recordings = [], [], []
    for image, boxes, names, recording in zip(*vars(frames).values(), strict=True):
        for box, name in zip(boxes, names, strict=True):
            side = max(box[2] - box[0], box[3] - box[1])
            crops.append(crop_square(image, box + generator.normal(0, 0.04, 4) * side, CONTEXT, side_px))
            actions.append(name)
            recordings.append(recording)
    return np.stack(crops), np.array(actions), np.array(recordings)


def embed(encoder: "torch.nn.Module", preprocessing: "Preprocessing", crops_rgb: np.ndarray) -> np.ndarray:
    """Normalised pooled features, N x width."""
    import torch

    from lineact.foundation.pretrain import pooled

    encoder.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(crops_rgb), 256):
            parts.append(pooled(encoder, preprocessing.to_tensor(crops_rgb[start : start + 256])).numpy())
    features = np.concatenate(parts)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def group_purity(features: np.ndarray, actions: np.ndarray, groups: int = 24, seed: int = 0) -> float:
    """Share of crops whose k-means group is mostly of their own action."""
    from sklearn.cluster import KMeans

    found = KMeans(groups, n_init=4, random_state=seed).fit_predict(features)
    right = sum(np.unique(actions[found == group], return_counts=True)[1].max() for group in np.unique(found))
    return float(right / len(actions))


def probe_accuracy(features: np.ndarray, actions: np.ndarray, is_test: np.ndarray) -> float:
    """Accuracy on the test crops of a linear classifier trained on the others."""
    from sklearn.linear_model import LogisticRegression

    scale = features[~is_test].std(0) + 1e-6
    model = LogisticRegression(max_iter=300, C=0.3).fit(features[~is_test] / scale, actions[~is_test])
    return float(model.score(features[is_test] / scale, actions[is_test]))


def colour_features(crops_rgb: np.ndarray) -> np.ndarray:
    """Colour histograms, N x 512: what a classifier without shapes sees."""
    import cv2

    rows = [cv2.calcHist([crop], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel() for crop in crops_rgb]
    return np.sqrt(np.array(rows) / crops_rgb[0, :, :, 0].size)


def line_recall(detector: "torch.nn.Module", frames: LineFrames, min_score: float = 0.25) -> dict[str, float]:
    """Recall and accuracy of hands at IoU 0.4, on frames scaled to 320 x 192 as in pretraining."""
    import cv2
    import torch
    from ultralytics.utils.nms import non_max_suppression

    detector.eval()
    found = hands = right = predicted = 0
    for image, truth in zip(frames.images_rgb, frames.boxes_xyxy_px, strict=True):
        small = np.full((192, 320, 3), 114, np.uint8)
        small[6:186] = cv2.resize(image, (320, 180), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            answer = non_max_suppression(detector(pixels), min_score, 0.5)[0][:, :4].numpy()
        scale = image.shape[1] / 320
        overlap = iou_matrix((answer - [0, 6, 0, 6]) * scale, truth)
        hands, predicted = hands + len(truth), predicted + len(answer)
        found += int((overlap >= 0.4).any(0).sum())
        right += int((overlap >= 0.4).any(1).sum())
    return {"recall_iou40": found / max(hands, 1), "accuracy_iou40": right / max(predicted, 1)}
