"""How a frame goes through a loaded pair."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lineact.boxes import iou_matrix
from lineact.bundle.classifier import CropClassifier
from lineact.bundle.manifest import Manifest
from lineact.bundle.networks import Setup, open_network
from lineact.bundle.processing import Placement, fit_into, read_png, select_boxes
from lineact.context import crop_strip

SAME_IOU = 0.7  # from this IoU on two runtimes mean the same box


class Hand(NamedTuple):
    """A recognised hand.

    Attributes:
        box_xyxy_px: float32, 4, pixels of the frame.
        score: of the detector, 0 to 1.
        action: the surest label.
        confidence: its probability, 0 to 1.
    """

    box_xyxy_px: np.ndarray
    score: float
    action: str
    confidence: float


class Bundle(CropClassifier):
    """A loaded pair. Not for use by several threads at once.

    Attributes:
        folder: where it lies.
        manifest: what it says of itself.
        setup: what runs the networks.
    """

    def __init__(self, folder: Path, manifest: Manifest, setup: Setup) -> None:
        spec = manifest.classifier
        super().__init__(folder, setup, spec.input_side_px, len(spec.labels))
        self.folder = folder
        self.manifest = manifest
        self.setup = setup
        self._detector = open_network(folder, "detector", setup)

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the classifier's outputs, in order; "NG" is the last."""
        return self.manifest.classifier.labels

    @property
    def score_threshold(self) -> float:
        """Boxes below are no hands, 0 to 1."""
        return self.manifest.detector.score_threshold

    def detect(self, image_rgb: np.ndarray, min_score: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Finds hands.

        Args:
            image_rgb: uint8, H x W x 3.
            min_score: in place of the manifest's score threshold, 0 to 1.

        Returns:
            boxes_xyxy_px (float32, N x 4, inside the image) and scores (float32, N, falling).
        """
        return self.detect_fitted(*fit_into(image_rgb, self.manifest.detector.input_wh), min_score)

    def detect_fitted(
        self, fitted_rgb: np.ndarray, placement: Placement, min_score: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds hands in a frame that is scaled already.

        Args:
            fitted_rgb: the detector's input, uint8, height x width x 3.
            placement: of the frame in it.
            min_score: see `detect`.

        Returns:
            As `detect` does, in pixels of the frame.
        """
        spec = self.manifest.detector
        output = self._detector(fitted_rgb[None])[0]  # 4 + classes x anchors
        threshold = self.score_threshold if min_score is None else min_score
        boxes_xyxy_px, scores = select_boxes(output, threshold, spec.nms_iou, spec.max_hands)
        return placement.to_source(boxes_xyxy_px), scores

    @property
    def lags_s(self) -> tuple[float, ...]:
        """Ages of the pictures that `crops` takes, seconds; (0.0,) where the classifier looks at crops alone."""
        return self.manifest.classifier.lags_s

    def crops(
        self, image_rgb: np.ndarray, boxes_xyxy_px: np.ndarray, earlier_rgb: Sequence[np.ndarray] = ()
    ) -> np.ndarray:
        """Cuts the squares around boxes exactly as the training crops were cut.

        Args:
            image_rgb: uint8, H x W x 3.
            boxes_xyxy_px: N x 4.
            earlier_rgb: likewise, the pictures of the other `lags_s`, see `lineact.context.Past`; without, the given
                one stands for them, as at a recording's first frame.

        Returns:
            uint8, N x (crops * crop_side_px) x crop_side_px x 3.
        """
        spec = self.manifest.classifier
        pictures_rgb = [image_rgb, *(earlier_rgb or [image_rgb] * (len(self.lags_s) - 1))]
        if len(pictures_rgb) != len(self.lags_s):
            raise ValueError(f"expected {len(self.lags_s) - 1} earlier pictures, found {len(pictures_rgb) - 1}")
        strips = np.empty((len(boxes_xyxy_px), len(self.lags_s) * spec.crop_side_px, spec.crop_side_px, 3), np.uint8)
        for row, box_xyxy_px in enumerate(boxes_xyxy_px):
            strips[row] = crop_strip(pictures_rgb, box_xyxy_px, spec.crop_context, spec.crop_side_px)
        return strips

    def recognise(self, image_rgb: np.ndarray, earlier_rgb: Sequence[np.ndarray] = ()) -> list[Hand]:
        """Finds hands and names their actions.

        Args:
            image_rgb: uint8, H x W x 3.
            earlier_rgb: see `crops`.

        Returns:
            One entry per hand, surest detection first.
        """
        boxes_xyxy_px, scores = self.detect(image_rgb)
        probabilities = self.classify(self.crops(image_rgb, boxes_xyxy_px, earlier_rgb))
        return [
            Hand(box_xyxy_px, float(score), self.labels[row.argmax()], float(row.max()))
            for box_xyxy_px, score, row in zip(boxes_xyxy_px, scores, probabilities, strict=True)
        ]

    def logits_difference(self) -> float:
        """Greatest difference between the samples' logits and those that PyTorch gave at export."""
        samples = self.manifest.crops
        crops_rgb = np.stack([read_png(self.folder / sample.file) for sample in samples])
        expected = np.array([sample.logits for sample in samples])
        return float(np.abs(self.logits(crops_rgb) - expected).max())

    def scores_difference(self) -> float:
        """Greatest difference between the scores of boxes on the sample frames and those that PyTorch gave at export.

        A box that one of the two lacks counts with what its score exceeds the threshold by.
        """
        worst = 0.0
        for sample in self.manifest.frames:
            expected = np.array(sample.boxes_xyxy_px, np.float32).reshape(-1, 4), np.array(sample.scores, np.float32)
            found = self.detect(read_png(self.folder / sample.file))
            for ours, theirs in ((expected, found), (found, expected)):
                iou = iou_matrix(ours[0], theirs[0])  # N x M
                same = iou >= SAME_IOU
                others = np.where(same, theirs[1], -np.inf).max(axis=1, initial=self.score_threshold)
                worst = max(worst, float(np.abs(ours[1] - others).max(initial=0)))
        return worst
