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
        fitted_wh: its size there.
        source_wh: its own size.
    """

    left_px: int
    top_px: int
    fitted_wh: tuple[int, int]
    source_wh: tuple[int, int]

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Input pixels per pixel of the frame."""
        return self.fitted_wh[0] / self.source_wh[0], self.fitted_wh[1] / self.source_wh[1]

    def to_source(self, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """Takes boxes (float, N x 4) from the input's pixels to the frame's, and cuts them at its edges."""
        offset = np.array([self.left_px, self.top_px] * 2, np.float32)
        boxes = (boxes_xyxy_px - offset) / np.array(self.scale_xy * 2, np.float32)
        return np.clip(boxes, 0, np.array(self.source_wh * 2, np.float32)).astype(np.float32)


def place(source_wh: tuple[int, int], input_wh: tuple[int, int]) -> Placement:
    """A frame's place in the detector's input: scaled to fit, keeping its shape, and centred."""
    width, height = source_wh
    scale = min(input_wh[0] / width, input_wh[1] / height)
    fitted_w, fitted_h = max(round(width * scale), 1), max(round(height * scale), 1)
    return Placement((input_wh[0] - fitted_w) // 2, (input_wh[1] - fitted_h) // 2, (fitted_w, fitted_h), source_wh)


def on_grey(scaled_rgb: np.ndarray, placement: Placement, input_wh: tuple[int, int]) -> np.ndarray:
    """A frame of `placement.fitted_wh` on the detector's grey: uint8, height x width x 3 of `input_wh`."""
    if placement.fitted_wh == tuple(input_wh):
        return np.ascontiguousarray(scaled_rgb)
    canvas = np.full((input_wh[1], input_wh[0], 3), PAD_VALUE, np.uint8)
    height, width = scaled_rgb.shape[:2]
    canvas[placement.top_px : placement.top_px + height, placement.left_px : placement.left_px + width] = scaled_rgb
    return canvas


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
    placement = place((width, height), input_wh)
    scaled = image_rgb
    if placement.fitted_wh != (width, height):
        scaled = cv2.resize(image_rgb, placement.fitted_wh, interpolation=cv2.INTER_LINEAR)
    return on_grey(scaled, placement, input_wh), placement


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
    kept: list[int] = []
    left = np.arange(len(candidates))
    while len(left) and len(kept) < max_hands:
        kept.append(int(left[0]))
        left = left[1:][iou_matrix(boxes_xyxy_px[left[:1]], boxes_xyxy_px[left[1:]])[0] <= nms_iou]
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


def rgb_of(encoded: bytes, where: str) -> np.ndarray:
    """Decodes an image file's content.

    Args:
        encoded: PNG or JPEG.
        where: it came from, for messages.

    Returns:
        uint8, H x W x 3, RGB.

    Raises:
        InputError: where it is no image.
    """
    import cv2

    image_bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if image_bgr is None:
        raise InputError(f"{where}: expected an encoded image, found something else; run `dvc repro`")
    return np.ascontiguousarray(image_bgr[..., ::-1])


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
