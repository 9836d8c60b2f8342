"""How crops go through an exported classifier."""

from pathlib import Path

import numpy as np

from lineact.bundle.networks import Setup, open_network
from lineact.bundle.processing import scale_crop


class CropClassifier:
    """A loaded classifier. Not for use by several threads at once.

    Args:
        folder: holds the exported files.
        setup: what runs the network.
        input_side_px: side of its square input.
        label_count: its outputs.
    """

    def __init__(self, folder: Path, setup: Setup, input_side_px: int, label_count: int) -> None:
        self._classifier = open_network(folder, "classifier", setup)
        self._input_side_px = input_side_px
        self._label_count = label_count

    def logits(self, crops_rgb: np.ndarray) -> np.ndarray:
        """The classifier's raw outputs.

        Args:
            crops_rgb: uint8, N x S x S x 3 (of strips N x (crops * S) x S x 3), of any side S; scaled to the input
                where it differs.

        Returns:
            float32, N x labels.
        """
        if not len(crops_rgb):
            return np.zeros((0, self._label_count), np.float32)
        return self._classifier(np.stack([scale_crop(crop, self._input_side_px) for crop in crops_rgb]))

    def classify(self, crops_rgb: np.ndarray) -> np.ndarray:
        """Probabilities of the labels.

        Args:
            crops_rgb: see `logits`.

        Returns:
            float32, N x labels, rows sum to 1.
        """
        logits = self.logits(crops_rgb)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)
