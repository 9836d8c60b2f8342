"""How long a classifier's call takes: the one clock of the stages `benchmark` and `choose_student`."""

import time

import numpy as np

from lineact.bundle.classifier import CropClassifier


def call_time_ms(classifier: CropClassifier, crops_rgb: np.ndarray) -> float:
    """Milliseconds of one call, scaling and softmax included.

    Args:
        classifier: what is called.
        crops_rgb: uint8, N x S x S x 3.
    """
    started_s = time.perf_counter()
    classifier.classify(crops_rgb)
    return (time.perf_counter() - started_s) * 1000
