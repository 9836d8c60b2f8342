"""What a fixed camera sees when nobody moves, and whether another picture shows the same from the same place.

The reference is the median of training pictures. It is compared block by block (normalised correlation, which does not
mind how bright a block is), so that what a hand or a tool covers does not matter as long as most blocks are seen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LONG_SIDE_PX = 640  # of the pictures that are compared
BLOCK_PX = 40
REACH_PX = 6  # a block is sought so far around where the whole picture's shift puts it
SEEN_FROM = 0.6  # correlation from which on a block shows the same
LEAST_TEXTURE = 0.4  # in both directions, (grey levels per pixel) squared: plainer blocks match anywhere
STABLE_WITHIN_PX = 1.0
STABLE_SHARE = 0.7  # of the training pictures; where hands and products come and go blocks are not compared
LEAST_BLOCKS = 8
TURNED_QUANTILE = 0.75  # of the blocks' shifts: more than that shift less, also where the camera turned


class View(NamedTuple):
    """The reference.

    Attributes:
        grey: uint8, H x W, longer side `LONG_SIDE_PX`.
        blocks_xy_px: upper left corners of the blocks that are compared.
    """

    grey: np.ndarray
    blocks_xy_px: tuple[tuple[int, int], ...]


class ViewMatch(NamedTuple):
    """A picture beside the reference.

    Attributes:
        seen: share of the compared blocks that show the same, here or a little aside, 0 to 1.
        moved_xy: by how much all of the picture moved, in parts of its longer side; 0 where nothing is seen.
        moved: by how much most blocks moved at least, turns and zooms included, likewise.
    """

    seen: float
    moved_xy: tuple[float, float]
    moved: float


def small_wh(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height at which a picture of this size is compared."""
    scale = LONG_SIDE_PX / max(size_wh)
    return max(round(size_wh[0] * scale), 1), max(round(size_wh[1] * scale), 1)


def view_of(pictures_grey: Sequence[np.ndarray]) -> View | None:
    """The reference of training pictures.

    Args:
        pictures_grey: uint8, each H x W of one size, see `small_wh`.

    Returns:
        None where they do not show one view, or one so plain that a shift could not be seen.
    """
    if not pictures_grey:
        return None
    median = np.median(np.stack(pictures_grey), axis=0).astype(np.uint8)
    corners = _textured(median)
    stable = np.zeros(len(corners))
    for grey in pictures_grey:
        correlation, shift_px = _block_shifts(median, grey, corners, (0, 0))
        stable += (correlation >= SEEN_FROM) & (np.abs(shift_px).max(axis=1, initial=0) <= STABLE_WITHIN_PX)
    chosen = [
        corner for corner, count in zip(corners, stable, strict=True) if count >= STABLE_SHARE * len(pictures_grey)
    ]
    return View(median, tuple(chosen)) if len(chosen) >= LEAST_BLOCKS else None


def compare_views(view: View, grey: np.ndarray) -> ViewMatch:
    """Holds a picture against the reference.

    Args:
        view: the reference.
        grey: uint8, of its size; the median of pictures over some seconds is freer of noise and hands.
    """
    best = ViewMatch(0.0, (0.0, 0.0), 0.0)
    for shift_xy_px in {(0, 0), _whole_shift(view.grey, grey)}:
        match = _matched(view, grey, shift_xy_px)
        best = max(best, match, key=lambda match: match.seen)
    return best


def _matched(view: View, grey: np.ndarray, shift_xy_px: tuple[int, int]) -> ViewMatch:
    correlation, shift_px = _block_shifts(view.grey, grey, view.blocks_xy_px, shift_xy_px)
    inside = ~np.isnan(correlation)
    seen = inside & (correlation >= SEEN_FROM)
    if inside.sum() < LEAST_BLOCKS or not seen.any():
        return ViewMatch(0.0, (0.0, 0.0), 0.0)
    x, y = np.median(shift_px[seen], axis=0) / LONG_SIDE_PX
    moved = np.quantile(np.linalg.norm(shift_px[seen], axis=1), TURNED_QUANTILE) / LONG_SIDE_PX
    return ViewMatch(float(seen.sum() / inside.sum()), (float(x), float(y)), float(moved))


def _textured(grey: np.ndarray) -> list[tuple[int, int]]:
    """Corners of the blocks in which a shift would be seen, whatever its direction; not at the very edge."""
    import cv2

    smooth = _smooth(grey)
    gradients = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    height, width = grey.shape
    corners = []
    for y in range(REACH_PX, height - REACH_PX - BLOCK_PX + 1, BLOCK_PX):
        for x in range(REACH_PX, width - REACH_PX - BLOCK_PX + 1, BLOCK_PX):
            gx, gy = (gradient[y : y + BLOCK_PX, x : x + BLOCK_PX] for gradient in gradients)
            tensor = np.array([[(gx * gx).mean(), (gx * gy).mean()], [(gx * gy).mean(), (gy * gy).mean()]])
            if np.linalg.eigvalsh(tensor)[0] >= LEAST_TEXTURE:
                corners.append((x, y))
    return corners


def _block_shifts(
    reference: np.ndarray, grey: np.ndarray, corners: Sequence[tuple[int, int]], shift_xy_px: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Where each block of the reference is in the picture.

    Args:
        reference: uint8, H x W.
        grey: uint8, H x W.
        corners: of the blocks.
        shift_xy_px: where about: the shift of the whole picture.

    Returns:
        Correlation (N; not a number where the block lies outside) and shift (N x 2, pixels, to parts of one).
    """
    import cv2

    reference, grey = _smooth(reference), _smooth(grey)
    height, width = grey.shape
    correlation = np.full(len(corners), np.nan)
    shift_px = np.zeros((len(corners), 2))
    for row, (x, y) in enumerate(corners):
        left, top = x + shift_xy_px[0] - REACH_PX, y + shift_xy_px[1] - REACH_PX
        right, bottom = left + BLOCK_PX + 2 * REACH_PX, top + BLOCK_PX + 2 * REACH_PX
        if left < 0 or top < 0 or right > width or bottom > height:
            continue
        block = reference[y : y + BLOCK_PX, x : x + BLOCK_PX]
        found = cv2.matchTemplate(grey[top:bottom, left:right], block, cv2.TM_CCOEFF_NORMED)
        found[~np.isfinite(found)] = 0  # a block of one grey correlates with nothing
        peak_y, peak_x = np.unravel_index(int(found.argmax()), found.shape)
        correlation[row] = found[peak_y, peak_x]
        shift_px[row] = (
            shift_xy_px[0] - REACH_PX + peak_x + _vertex(found[peak_y, :], int(peak_x)),
            shift_xy_px[1] - REACH_PX + peak_y + _vertex(found[:, peak_x], int(peak_y)),
        )
    return correlation, shift_px


def _vertex(values: np.ndarray, peak: int) -> float:
    """Where the parabola through the greatest value and its neighbours is highest, from that value on."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, at, after = (float(value) for value in values[peak - 1 : peak + 2])
    bend = before - 2 * at + after
    return 0.0 if bend >= 0 else (before - after) / (2 * bend)


def _whole_shift(reference: np.ndarray, grey: np.ndarray) -> tuple[int, int]:
    """Shift of the whole picture by phase correlation of what is left without its slow changes of brightness."""
    import cv2

    window = cv2.createHanningWindow((reference.shape[1], reference.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(_details(reference), _details(grey), window)
    return (round(x), round(y)) if np.isfinite((x, y)).all() else (0, 0)


def _details(grey: np.ndarray) -> np.ndarray:
    import cv2

    values = _smooth(grey)
    return np.clip(
        values - cv2.GaussianBlur(values, (0, 0), 16), -32, 32
    )  # one bright thing must not outweigh the rest


def _smooth(grey: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
