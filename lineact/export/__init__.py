"""From trained weights to the released pair: ONNX and OpenVINO, held against PyTorch on real crops and frames."""

from dataclasses import dataclass
from typing import Literal

from lineact.bundle.manifest import EventSettings
from lineact.bundle.networks import Setup
from lineact.bundle.work import WorkSettings
from lineact.context import ContextParams


@dataclass(frozen=True)
class ExportParams:
    """Settings of the stage `export`.

    Attributes:
        classifier: which of the two classifiers is released.
        setup: what runs the released networks.
        score_threshold: boxes below are no hands, 0 to 1; null takes the one that `train_detector` found best.
        nms_iou: of two boxes that overlap by more, the lower-scored one is dropped, 0 to 1.
        max_hands: most boxes of a frame.
        events: goes into the bundle: when an action counts as an event.
        crop_context: the crop's side is this factor times the box's longer side; as the training crops were cut.
        crop_side_px: side of the training crops.
        short_context: how far back they look.
        parity_crops: crops on which PyTorch and the runtimes are compared.
        parity_frames: validation images likewise.
        sample_crops: of these, so many go into the bundle, with their logits.
        sample_frames: likewise.
        calibration_crops: training crops that calibrate the int8 variant; 0 for none.
        calibration_frames: training images likewise; 0 for none.
        logits_tolerance: greatest allowed difference of a logit.
        scores_tolerance: greatest allowed difference of a detector's score.
        boxes_tolerance_px: greatest allowed difference of a box's edge, pixels of the input.
        work: goes into the bundle: the standard work; null where the line has none.
    """

    classifier: Literal["student", "teacher"]
    setup: Setup
    score_threshold: float | None
    nms_iou: float
    max_hands: int
    events: EventSettings
    crop_context: float
    crop_side_px: int
    short_context: ContextParams
    parity_crops: int
    parity_frames: int
    sample_crops: int
    sample_frames: int
    calibration_crops: int
    calibration_frames: int
    logits_tolerance: float
    scores_tolerance: float
    boxes_tolerance_px: float
    work: WorkSettings | None = None

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, found {value}")
        if self.max_hands < 1 or self.crop_context <= 0 or self.crop_side_px < 1:
            raise ValueError("max_hands, crop_context and crop_side_px must be above 0")
        if not (1 <= self.sample_crops <= self.parity_crops and 1 <= self.sample_frames <= self.parity_frames):
            raise ValueError("sample_crops and sample_frames must be at least 1 and at most what parity is checked on")
        if min(self.calibration_crops, self.calibration_frames) < 0:
            raise ValueError("calibration_crops and calibration_frames must be at least 0")
        if (self.calibration_crops == 0) != (self.calibration_frames == 0):
            raise ValueError("calibration_crops and calibration_frames must both be 0, or neither")
        if self.setup.precision == "int8" and not self.calibration_crops:
            raise ValueError("setup.precision int8 needs calibration_crops and calibration_frames above 0")
        if min(self.logits_tolerance, self.scores_tolerance, self.boxes_tolerance_px) <= 0:
            raise ValueError("tolerances must be above 0")
