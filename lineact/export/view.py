"""The reference view of a release: what the camera saw in training when nobody moved."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lineact.view import View, small_wh, view_of

PICTURES = 60  # so many make the median: a hand is seldom at one place on half of them


class TrainingView(NamedTuple):
    """The reference and what it was made from.

    Attributes:
        view: the reference.
        size_wh: of the training pictures, pixels.
    """

    view: View
    size_wh: tuple[int, int]


def read_training_view(pictures: list[Path]) -> TrainingView | None:
    """Makes the reference of a line's training pictures.

    Args:
        pictures: image files in their order; those of another size than most are left out.

    Returns:
        None where they show no one view, as pictures from anywhere do, or a view too plain to tell a shift.
    """
    import cv2

    if not pictures:
        return None
    chosen = [pictures[row] for row in np.unique(np.linspace(0, len(pictures) - 1, PICTURES).round().astype(int))]
    read = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in chosen]
    whole = [grey for grey in read if grey is not None]
    if not whole:
        return None
    (height, width), _ = Counter(grey.shape for grey in whole).most_common(1)[0]
    target_wh = small_wh((width, height))
    small = [
        cv2.resize(grey, target_wh, interpolation=cv2.INTER_AREA) for grey in whole if grey.shape == (height, width)
    ]
    view = view_of(small)
    return None if view is None else TrainingView(view, (width, height))
