"""Geometry of boxes. `boxes_xyxy_px` are float arrays N x 4 (x1, y1, x2, y2), pixels, half-open, y down."""

import numpy as np

Square = tuple[int, int, int, int]  # x1, y1, x2, y2, pixels, half-open; possibly beyond the image


def iou_matrix(boxes_a_xyxy_px: np.ndarray, boxes_b_xyxy_px: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair.

    Args:
        boxes_a_xyxy_px: N x 4.
        boxes_b_xyxy_px: M x 4.

    Returns:
        float64, N x M, 0 to 1; 0 where both boxes are empty.
    """
    a = np.asarray(boxes_a_xyxy_px, np.float64).reshape(-1, 1, 4)
    return paired_iou(a, np.asarray(boxes_b_xyxy_px, np.float64).reshape(1, -1, 4))


def paired_iou(boxes_a_xyxy_px: np.ndarray, boxes_b_xyxy_px: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with its partner.

    Args:
        boxes_a_xyxy_px: ... x 4.
        boxes_b_xyxy_px: ... x 4, of a shape that broadcasts with the other.

    Returns:
        float64, ..., 0 to 1; 0 where both boxes are empty.
    """
    a, b = np.asarray(boxes_a_xyxy_px, np.float64), np.asarray(boxes_b_xyxy_px, np.float64)
    overlap_wh = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    intersection = overlap_wh.prod(-1)
    union = area(a) + area(b) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def area(boxes_xyxy_px: np.ndarray) -> np.ndarray:
    """Area in square pixels, of boxes in the last axis; 0 for turned-over boxes."""
    return np.clip(boxes_xyxy_px[..., 2:] - boxes_xyxy_px[..., :2], 0, None).prod(-1)


def match_one_to_one(iou: np.ndarray, min_iou: float) -> list[tuple[int, int]]:
    """Pairs rows with columns one to one so that the summed IoU of pairs at or above `min_iou` is greatest.

    Args:
        iou: N x M.
        min_iou: the least IoU of a pair.

    Returns:
        (row, column) pairs, sorted by row.
    """
    from scipy.optimize import linear_sum_assignment

    eligible = np.where(iou >= min_iou, iou, 0.0)
    rows, columns = linear_sum_assignment(eligible, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if iou[row, column] >= min_iou]


def square_around(box_xyxy_px: np.ndarray, context: float) -> Square:
    """The square with the box's centre and `context` times its longer side, in whole pixels.

    Args:
        box_xyxy_px: 4 numbers.
        context: factor, 1 for a square that just holds the box.

    Returns:
        (x1, y1, x2, y2), possibly beyond the image.
    """
    x1, y1, x2, y2 = (float(value) for value in box_xyxy_px)
    side = max(x2 - x1, y2 - y1, 1.0) * context
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    return left, top, left + max(round(side), 1), top + max(round(side), 1)


def cut_square(image: np.ndarray, square: Square, side_px: int, *, halve: bool = False) -> np.ndarray:
    """Cuts a square out of an image and scales it; beyond the image the edge pixels repeat.

    Args:
        image: uint8, H x W or H x W x C.
        square: which.
        side_px: side of the result.
        halve: whether to halve it first as long as it stays larger: three times as fast, a few grey levels off, and
            beside its place by less than a pixel of the result.
    """
    import cv2

    halvings = _halvings(square, side_px) if halve else 0
    x1, y1, x2, y2 = _divisible(square, 2**halvings)
    height, width = image.shape[:2]
    inside = image[max(y1, 0) : max(min(y2, height), 1), max(x1, 0) : max(min(x2, width), 1)]
    if inside.size == 0:  # the square lies outside the image
        return np.broadcast_to(image[-1:, -1:], (side_px, side_px, *image.shape[2:])).copy()
    padding = (max(-y1, 0), max(y2 - height, 0), max(-x1, 0), max(x2 - width, 0))
    padded = cv2.copyMakeBorder(inside, *padding, borderType=cv2.BORDER_REPLICATE) if any(padding) else inside
    for _ in range(halvings):
        half_wh = padded.shape[1] // 2, padded.shape[0] // 2
        padded = cv2.resize(padded, half_wh, interpolation=cv2.INTER_AREA)
    shrinks = min(padded.shape[:2]) > side_px
    return cv2.resize(padded, (side_px, side_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _halvings(square: Square, side_px: int) -> int:
    """How often a square may be halved and stay as large as `side_px`."""
    x1, y1, x2, y2 = square
    return max(min(x2 - x1, y2 - y1) // side_px, 1).bit_length() - 1


def _divisible(square: Square, by: int) -> Square:
    """The square of nearly the same place whose sides can be divided."""
    x1, y1, x2, y2 = square
    width, height = round((x2 - x1) / by) * by, round((y2 - y1) / by) * by
    left, top = x1 + (x2 - x1 - width) // 2, y1 + (y2 - y1 - height) // 2
    return left, top, left + width, top + height


def crop_square(image_rgb: np.ndarray, box_xyxy_px: np.ndarray, context: float, side_px: int) -> np.ndarray:
    """Cuts the square around a box and scales it; beyond the image the edge pixels repeat.

    Args:
        image_rgb: uint8, H x W x 3.
        box_xyxy_px: 4 numbers.
        context: see `square_around`.
        side_px: side of the result.

    Returns:
        uint8, side_px x side_px x 3.
    """
    return cut_square(image_rgb, square_around(box_xyxy_px, context), side_px)
