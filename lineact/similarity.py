"""Comparing embeddings by their direction."""

import numpy as np

ROWS_AT_ONCE = 4096


def centred(embeddings: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Directions about a mean: float32, N x D, of unit length (0 for an embedding that is the mean)."""
    directions = np.empty(embeddings.shape, np.float32)
    for start in range(0, len(embeddings), ROWS_AT_ONCE):  # in float64 the whole would take twice the memory
        about = embeddings[start : start + ROWS_AT_ONCE].astype(np.float64) - mean
        lengths = np.maximum(np.linalg.norm(about, axis=1, keepdims=True), 1e-12)
        directions[start : start + ROWS_AT_ONCE] = about / lengths
    return directions
