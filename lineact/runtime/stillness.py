"""Whether anything changed: in a frame since it was last looked at, in a crop since it was last classified."""

import numpy as np

BLOCK_PX = 8  # changes are averaged over squares of this side: noise averages out, a moved edge does not


def block_means(grey: np.ndarray) -> np.ndarray:
    """Brightness of blocks.

    Args:
        grey: uint8, H x W.

    Returns:
        float32, about H / BLOCK_PX x W / BLOCK_PX, grey levels.
    """
    import cv2

    blocks_wh = (max(grey.shape[1] // BLOCK_PX, 1), max(grey.shape[0] // BLOCK_PX, 1))
    return cv2.resize(grey.astype(np.float32), blocks_wh, interpolation=cv2.INTER_AREA)


def greatest_change(before: np.ndarray, after: np.ndarray) -> float:
    """Of the block that changed most, grey levels."""
    return float(np.abs(after - before).max())
