"""What lies before and after the networks: frames and crops at the size of an input, boxes out of an output."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineact.boxes import iou_matrix
from lineact.context import crops_in
from lineact.errors import InputError

PAD_VALUE = 114  # grey of the detector's borders, as ultralytics trains it


@dataclass(frozen=True)
class Placement:
    """Where a frame lies in the detector's input.

    Attributes:
        left_px: empty columns before it.
        top_px: empty rows above it.
        scale_xy: input pixels per pixel of the frame.
        source_wh: the frame's size.
    """

    left_px: int
    top_px: int
    scale_xy: tuple[float, float]
    source_wh: tuple[int, int]

    def to_source(self, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """Takes boxes (float, N x 4) from the input's pixels to the frame's, and cuts them at its edges."""
        offset = np.array([self.left_px, self.top_px] * 2, np.float32)
        boxes = (boxes_xyxy_px - offset) / np.array(self.scale_xy * 2, np.float32)
        return np.clip(boxes, 0, np.array(self.source_wh * 2, np.float32)).astype(np.float32)


def fit_into(image_rgb: np.ndarray, input_wh: tuple[int, int]) -> tuple[np.ndarray, Placement]:
    """Scales an image to fit, keeping its shape, and centres it on grey, as ultralytics' letterbox does.

    Args:
        image_rgb: uint8, H x W x 3.
        input_wh: width and height of the result.

    Returns:
        uint8, height x width x 3 of `input_wh`, and where the image lies in it.
    """
    import cv2

    height, width = image_rgb.shape[:2]
    scale = min(input_wh[0] / width, input_wh[1] / height)
    fitted_w, fitted_h = max(round(width * scale), 1), max(round(height * scale), 1)
    scaled = image_rgb
    if (fitted_w, fitted_h) != (width, height):
        scaled = cv2.resize(image_rgb, (fitted_w, fitted_h), interpolation=cv2.INTER_LINEAR)
    left_px, top_px = (input_wh[0] - fitted_w) // 2, (input_wh[1] - fitted_h) // 2
    placement = Placement(left_px, top_px, (fitted_w / width, fitted_h / height), (width, height))
    if (fitted_w, fitted_h) == tuple(input_wh):
        return np.ascontiguousarray(scaled), placement
    canvas = np.full((input_wh[1], input_wh[0], 3), PAD_VALUE, np.uint8)
    canvas[top_px : top_px + fitted_h, left_px : left_px + fitted_w] = scaled
    return canvas, placement


def select_boxes(
    output: np.ndarray, score_threshold: float, nms_iou: float, max_hands: int
) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds the detector's output and suppresses overlapping boxes (greedy, surest first).

    Args:
        output: float32, (4 + classes) x anchors: x1, y1, x2, y2 in pixels of the input, then scores 0 to 1.
        score_threshold: least score.
        nms_iou: greatest IoU of two kept boxes.
        max_hands: most boxes kept.

    Returns:
        boxes_xyxy_px (float32, N x 4) and scores (float32, N, falling).
    """
    scores = output[4:].max(axis=0)  # anchors
    candidates = np.flatnonzero(scores >= score_threshold)
    # Among thousands of weak candidates (low thresholds, untrained nets) only the surest can matter.
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")][: 50 * max_hands]
    boxes_xyxy_px = output[:4, candidates].T
    iou = iou_matrix(boxes_xyxy_px, boxes_xyxy_px)
    kept: list[int] = []
    for row in range(len(candidates)):
        if len(kept) == max_hands:
            break
        if not kept or iou[row, kept].max() <= nms_iou:
            kept.append(row)
    return np.ascontiguousarray(boxes_xyxy_px[kept]), scores[candidates[kept]]


def scale_crop(crop_rgb: np.ndarray, side_px: int) -> np.ndarray:
    """Scales a crop, or each crop of a strip, to the classifier's input, as the training does.

    Args:
        crop_rgb: uint8, S x S x 3, of a strip (crops * S) x S x 3.
        side_px: side of the result.
    """
    import cv2

    if crop_rgb.shape[1] == side_px:
        return crop_rgb
    interpolation = cv2.INTER_AREA if crop_rgb.shape[1] > side_px else cv2.INTER_LINEAR
    crops = np.split(crop_rgb, crops_in(crop_rgb))
    return np.concatenate([cv2.resize(crop, (side_px, side_px), interpolation=interpolation) for crop in crops])


def read_png(path: Path) -> np.ndarray:
    """Reads an image file.

    Returns:
        uint8, H x W x 3, RGB.

    Raises:
        InputError: where it is no image.
    """
    import cv2

    image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image_bgr is None:
        raise InputError(f"{path}: expected an image, found none")
    return np.ascontiguousarray(image_bgr[..., ::-1])
