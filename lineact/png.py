"""Crops as PNG, which loses nothing."""

import numpy as np


def encode_png(image_rgb: np.ndarray) -> bytes:
    """A picture as PNG.

    Args:
        image_rgb: uint8, H x W x 3.
    """
    import cv2

    return cv2.imencode(".png", image_rgb[..., ::-1])[1].tobytes()


def decode_png(content: bytes) -> np.ndarray:
    """The opposite of `encode_png`: uint8, H x W x 3, RGB."""
    import cv2

    image_bgr = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))
    return np.ascontiguousarray(image_bgr[..., ::-1])
