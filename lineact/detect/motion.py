"""Hands as what moves in front of a resting scene, for fixed cameras. Needs no weights.

A pixel belongs to a hand where it differs from the scene at rest both before and after (so that an object that was put
down or taken away is no hand), is no shadow of it, and has a colour that things at rest seldom have (so that a
carried tool or bottle is cut off where it is seen lying about at other times). Arms enter at the picture's border:
of a blob that touches it only the far end is the hand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from lineact.detect.backend import Detections, Recording
from lineact.detect.surroundings import View, tick_times, views_at

CODE_VERSION = 1  # raise it where the same frames and settings give other boxes
PHRASE = "hand"
COLOUR_SAMPLES = 400  # at most so many frames of a recording tell its colours
LIGHTNESS_BINS, CHROMA_BINS = 16, 64  # of OpenCV's 8-bit Lab


@dataclass(frozen=True)
class MotionParams:
    """Settings of the backend `motion`.

    Attributes:
        width_px: frames are made this wide before anything is measured, pixels.
        background_s: the scene at rest is the median of so many seconds before, and after, a frame.
        background_fps: how many frames per second that median is taken over.
        differs_by: least difference from the scene at rest, in the strongest colour channel, 0 to 255.
        shadow_chroma: a darker pixel is a shadow where no channel's share of the brightness moved by more, 0 to 1;
            0 takes nothing for a shadow.
        shadow_depth: darkest shadow, as a share of the brightness of the scene at rest, 0 to 1.
        rest_colour_ratio: a pixel's colour must be at least so many times as frequent in what moves as in the scene at
            rest; 0 asks nothing.
        hand_length_share: length of a hand with its wrist, as a share of the picture's width, 0 to 1.
        min_area_share: smallest blob, as a share of the picture's area, 0 to 1.
    """

    width_px: int
    background_s: float
    background_fps: float
    differs_by: float
    shadow_chroma: float
    shadow_depth: float
    rest_colour_ratio: float
    hand_length_share: float
    min_area_share: float

    def __post_init__(self) -> None:
        if self.width_px < 32:
            raise ValueError(f"width_px must be at least 32, found {self.width_px}")
        for name in ("background_s", "background_fps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")
        if self.background_s * self.background_fps < 3:
            raise ValueError("background_s * background_fps must be at least 3: a median needs three frames")
        for name in ("shadow_chroma", "shadow_depth", "hand_length_share", "min_area_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")
        if not 0 < self.differs_by < 255:
            raise ValueError(f"differs_by must be between 0 and 255, found {self.differs_by}")
        if self.rest_colour_ratio < 0:
            raise ValueError(f"rest_colour_ratio must not be negative, found {self.rest_colour_ratio}")


class MotionDetector:
    """The backend `motion`. Reads each recording's own frames and their surroundings; no files besides."""

    def __init__(self, params: MotionParams) -> None:
        self.params = params
        self.key: dict[str, object] = {"backend": "motion", "settings": asdict(params), "code": CODE_VERSION}
        self._colours: tuple[str, np.ndarray] | None = None

    def load(self) -> None:
        """Nothing: it has no weights."""

    def detect(self, recording: Recording, pts_s: Sequence[float]) -> Iterator[Detections]:
        """Hands on the frames at these times, in ascending order of time."""
        hand_colours = self._hand_colours(recording)
        for view in self._views(recording, pts_s):
            yield self._detect_view(view, hand_colours)

    def _views(self, recording: Recording, pts_s: Sequence[float]) -> Iterator[View]:
        params = self.params
        return views_at(
            recording, pts_s, span_s=params.background_s, fps=params.background_fps, width_px=params.width_px
        )

    def _detect_view(self, view: View, hand_colours: np.ndarray) -> Detections:
        mask = moving_mask(view, self.params)
        if self.params.rest_colour_ratio > 0:
            mask &= hand_colours[colour_bins(view.image_rgb)]
        boxes, areas_px = hand_boxes(smoothed(mask), self.params)
        scale = view.source_size_wh[0] / view.image_rgb.shape[1]
        # A hand fills about half of a square of its length: what shows less of itself is less certain.
        whole_px = 0.5 * (self.params.hand_length_share * view.image_rgb.shape[1]) ** 2
        scores = np.minimum(areas_px / max(whole_px, 1.0), 1.0).astype(np.float32)
        return Detections((boxes * scale).astype(np.float32), scores, (PHRASE,) * len(boxes))

    def _hand_colours(self, recording: Recording) -> np.ndarray:
        """Which colour bins may belong to a hand, bool; learned from the recording itself, once."""
        bins = LIGHTNESS_BINS * CHROMA_BINS * CHROMA_BINS
        if self.params.rest_colour_ratio == 0:
            return np.ones(bins, bool)
        if self._colours is None or self._colours[0] != recording.sha256:
            moving, resting = np.zeros(bins), np.zeros(bins)
            samples_s = tick_times(recording.all_pts_s, 1.0)
            samples_s = samples_s[:: -(-len(samples_s) // COLOUR_SAMPLES)]
            for view in self._views(recording, samples_s.tolist()):
                mask = moving_mask(view, self.params)
                moving += np.bincount(colour_bins(view.image_rgb)[mask], minlength=bins)
                resting += np.bincount(colour_bins(view.before_rgb).ravel(), minlength=bins)
            self._colours = (recording.sha256, _more_frequent(moving, resting, self.params.rest_colour_ratio))
        return self._colours[1]


def moving_mask(view: View, params: MotionParams) -> np.ndarray:
    """Pixels that differ from the scene at rest before and after, and are no shadow: bool, h x w."""
    mask = _differs(view.image_rgb, view.before_rgb, params)
    return mask if view.after_rgb is view.before_rgb else mask & _differs(view.image_rgb, view.after_rgb, params)


def _differs(image_rgb: np.ndarray, rest_rgb: np.ndarray, params: MotionParams) -> np.ndarray:
    image, rest = image_rgb.astype(np.float32), rest_rgb.astype(np.float32)
    image = image - np.median(image - rest, axis=(0, 1))  # slow drift of the light, and an automatic exposure's steps
    different = _strongest(np.abs(image - rest)) > params.differs_by
    # A shadow dims all channels alike. The offset steadies the shares of dark, noisy pixels.
    image_sum, rest_sum = image.sum(-1) + 30, rest.sum(-1) + 30
    shares = _strongest(np.abs((image + 10) / image_sum[..., None] - (rest + 10) / rest_sum[..., None]))
    dimmed = (image_sum < 1.05 * rest_sum) & (image_sum > params.shadow_depth * rest_sum)
    return different & ~(dimmed & (shares < params.shadow_chroma))


def _strongest(channels: np.ndarray) -> np.ndarray:
    """Greatest of the three channels: h x w x 3 -> h x w (numpy is slow to reduce so short an axis)."""
    return np.maximum(np.maximum(channels[..., 0], channels[..., 1]), channels[..., 2])


def colour_bins(image_rgb: np.ndarray) -> np.ndarray:
    """Index of each pixel's colour bin: int64, h x w."""
    import cv2

    lab = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2LAB).astype(np.int64)
    chroma = lab[..., 1:] * CHROMA_BINS // 256
    return (lab[..., 0] * LIGHTNESS_BINS // 256 * CHROMA_BINS + chroma[..., 0]) * CHROMA_BINS + chroma[..., 1]


def _more_frequent(moving: np.ndarray, resting: np.ndarray, ratio: float) -> np.ndarray:
    """Bins whose share among moving pixels is at least `ratio` times that among resting ones; unseen colours pass."""
    from scipy.ndimage import gaussian_filter

    shape = (LIGHTNESS_BINS, CHROMA_BINS, CHROMA_BINS)
    shares = [
        gaussian_filter(counts.reshape(shape), (0.7, 1, 1)).ravel() / max(counts.sum(), 1.0)
        for counts in (moving, resting)
    ]
    return shares[0] >= ratio * shares[1]


def smoothed(mask: np.ndarray) -> np.ndarray:
    """Specks removed, gaps closed: uint8, h x w, 0 or 1."""
    import cv2

    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))


def hand_boxes(mask: np.ndarray, params: MotionParams) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the blobs' far ends.

    Args:
        mask: uint8, h x w, 0 or 1.
        params: the settings.

    Returns:
        boxes float64 N x 4 in the mask's pixels, and float64 N: how many of a box's pixels belong to the blob.
    """
    import cv2

    height, width = mask.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    boxes, areas_px = [], []
    for label in range(1, count):
        if stats[label, cv2.CC_STAT_AREA] < params.min_area_share * mask.size:
            continue
        y, x = np.nonzero(labels == label)
        x, y = _far_end(x, y, (width, height), params.hand_length_share * width)
        # A hair's breadth off each side: single pixels that stick out are noise.
        (left, right), (top, bottom) = np.quantile(x, [0.01, 0.99]), np.quantile(y, [0.01, 0.99])
        boxes.append([left, top, right + 1, bottom + 1])
        areas_px.append(len(x))
    return np.array(boxes, np.float64).reshape(-1, 4), np.array(areas_px, np.float64)


def _far_end(x: np.ndarray, y: np.ndarray, size_wh: tuple[int, int], length_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Of a blob that touches the border, the pixels within a hand's length of the point farthest from where it does."""
    width, height = size_wh
    entry = (x <= 1) | (y <= 1) | (x >= width - 2) | (y >= height - 2)
    if not entry.any():
        return x, y
    distance = np.hypot(x - x[entry].mean(), y - y[entry].mean())
    chosen = distance >= np.quantile(distance, 0.995) - length_px
    return x[chosen], y[chosen]
