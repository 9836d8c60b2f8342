"""Labels and decisions become training data: crops with actions, frames with hand boxes, and held-out truth.

`asked` says what the queue asks for, `labels` applies names and decisions, `named` gathers the crops that name others,
`moments` says which lie a moment apart, `matching` names the other crops, `calibration` says which of these labels are
taken, `accepted` certifies them, `awaiting` says whether enough is decided, `parts` splits, `pictures` cuts crops and
writes the detector's files, `report` tells what came of it.
"""

from dataclasses import dataclass
from typing import Literal

from lineact.context import ContextParams
from lineact.splits import HoldoutParams, ValidationParams

MOST_MOMENT_S = 10.0  # beyond, other actions vote, and pairs of crops fill the memory


@dataclass(frozen=True)
class LabelParams:
    """How crops that nobody decided are named.

    Attributes:
        centre: compare about the line's mean embedding, as in `match`.
        nearest: k: an action is as near as the mean of its k nearest named crops.
        moment_s: crops of the same place up to so many seconds before and after have a say, 0 to MOST_MOMENT_S; 0: each
            crop by itself.
        precision: wanted share of right labels among those taken, 0 to below 1; the audit calibrates lambda to it.
        min_certainty: lambda where the audit is too small to calibrate it, -1 to 3: cosine to the nearest action, plus
            its lead over the second, less what dissent of the crops a moment away takes (`lineact.dataset.matching`).
        min_hand_certainty: a frame that nobody corrected teaches the detector where cosine and lead of all its boxes
            reach this together, -1 to 3: a box that looks like nothing named often holds no hand.
    """

    centre: bool
    nearest: int
    moment_s: float
    precision: float
    min_certainty: float
    min_hand_certainty: float

    def __post_init__(self) -> None:
        if self.nearest < 1:
            raise ValueError(f"nearest must be at least 1, found {self.nearest}")
        if not 0 <= self.moment_s <= MOST_MOMENT_S:
            raise ValueError(f"moment_s must be from 0 to {MOST_MOMENT_S:g} seconds, found {self.moment_s}")
        if not 0 <= self.precision < 1:
            raise ValueError(f"precision must be from 0 to below 1, found {self.precision}")
        for name in ("min_certainty", "min_hand_certainty"):
            if not -1 <= getattr(self, name) <= 3:  # 1 + 2: the greatest cosine, and its greatest lead
                raise ValueError(f"{name} must be from -1 to 3, found {getattr(self, name)}")


@dataclass(frozen=True)
class DatasetParams:
    """Settings of the stage.

    Attributes:
        actions: the line's actions; NG is added as the last class.
        accepted_by: tells the settings that decide which crops are accepted and with what label, of this stage and of
            those before, from others: looks at random crops made under others certify nothing (`lineact.looks`).
        policy: what the stage waits for. "none": what nothing else can tell, names of groups and held-out truth;
            "sampled": these, and the certificate of the labels; "required": these, and a share of what else is asked.
        min_decided_share: that share: of the doubtful crops, those that calibrate and the training frames, 0 to 1.
        max_label_error: the certificate must show that at most this share of the accepted labels is wrong, 0 to 1.
        min_holdout_frames: held-out frames that must be decided; fewer where fewer are asked.
        max_bad_share: the stage fails where more than this share of the decisions' rows is unusable, 0 to 1.
        labels: how the other crops are named.
        min_iou: a decision whose box was found again elsewhere attaches at this IoU, 0 to 1.
        context: a crop's side as a multiple of the box's longer side, as in `embed`.
        crop_px: side of a stored crop, pixels, as in `embed`.
        short_context: how far back a crop looks.
        detector_frames: frames that nobody corrected, as the detector labelled them, added for training it.
        jpeg_quality: of the detector's pictures, 1 to 100.
        holdout: what measures the line.
        validation: how validation is split from training.
        seed: of the split.
    """

    actions: tuple[str, ...]
    accepted_by: str
    policy: Literal["required", "sampled", "none"]
    min_decided_share: float
    max_label_error: float
    min_holdout_frames: int
    max_bad_share: float
    labels: LabelParams
    min_iou: float
    context: float
    crop_px: int
    short_context: ContextParams
    detector_frames: int
    jpeg_quality: int
    holdout: HoldoutParams
    validation: ValidationParams
    seed: int

    def __post_init__(self) -> None:
        reserved = {"NG", "mixed", "withdrawn"}
        if not self.actions or len(set(self.actions)) != len(self.actions) or reserved & set(self.actions):
            names = ", ".join(sorted(reserved))
            raise ValueError(f"actions must be different names other than {names}, found {list(self.actions)}")
        for name in ("min_decided_share", "max_label_error", "max_bad_share", "min_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")
        for name in ("min_holdout_frames", "detector_frames"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality must be from 1 to 100, found {self.jpeg_quality}")
        if self.context < 1 or self.crop_px < 16:
            raise ValueError(
                f"context must be at least 1 and crop_px at least 16, found {self.context}, {self.crop_px}"
            )
