"""Comparing embeddings by their direction."""

import numpy as np


def centred(embeddings: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Directions about a mean: float32, N x D, of unit length (0 for an embedding that is the mean)."""
    about = embeddings.astype(np.float64) - mean
    return (about / np.maximum(np.linalg.norm(about, axis=1, keepdims=True), 1e-12)).astype(np.float32)
