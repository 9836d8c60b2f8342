"""The same picture twice: in one part it is left out, in two parts it is a leak."""

from collections.abc import Sequence

import numpy as np

from lineact.errors import InputError

THUMBNAIL_PX = 16


def thumbnail(crop_rgb: np.ndarray) -> np.ndarray:
    """A crop as THUMBNAIL_PX x THUMBNAIL_PX grey levels, flat; float32, 0 to 255."""
    import cv2

    grey = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32).ravel()


def refuse_copies(
    names_a: Sequence[str],
    thumbnails_a: np.ndarray,
    names_b: Sequence[str],
    thumbnails_b: np.ndarray,
    parts: tuple[str, str],
    copy_below: float,
) -> None:
    """Refuses two parts that hold copies of a crop: the same one, or one that was only encoded or scaled again.

    Args:
        names_a: of the crops, N.
        thumbnails_a: N x 256, see `thumbnail`.
        names_b: of the other part, M.
        thumbnails_b: M x 256.
        parts: what to call the two.
        copy_below: mean difference of two thumbnails' pixels from which on they are no copies, grey levels.

    Raises:
        InputError: names the nearest pair.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    if not len(names_a) or not len(names_b):
        return
    nearest, distances = pairwise_distances_argmin_min(thumbnails_a, thumbnails_b, metric="manhattan")
    worst = int(distances.argmin())
    distance = float(distances[worst]) / thumbnails_a.shape[1]
    if distance < copy_below:
        raise InputError(
            f"{parts[0]} and {parts[1]} leak: {names_a[worst]} and {names_b[int(nearest[worst])]} show the same "
            f"(thumbnails differ by {distance:.2f} grey levels, expected at least {copy_below:g}); leave one of them "
            "out, or lower copy_below"
        )
