"""Networks that make segments of a video's features: T rows of D numbers become starts, ends and actions.

`layers` and `pyramid` are the networks (ActionFormer, TemporalMaxer), `targets` says what they should answer,
`losses` how wrong they are, `decode` turns answers into segments and `soft_nms` thins these out.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PyramidParams:
    """Settings of ActionFormer and TemporalMaxer.

    Attributes:
        kind: actionformer: local attention at each level; temporalmaxer: max pooling in its place.
        width: channels of the pyramid.
        levels: of the pyramid; each has half the rows of the one below.
        stem_blocks: transformer blocks before the pyramid, actionformer alone.
        attention_heads: of each block, a divisor of `width`.
        window: rows that a row attends to, an odd number, at its level.
        kernel: rows that a convolution sees, an odd number.
        dropout: share of channels dropped after attention and in the blocks' MLPs, 0 to below 1.
        centre_radius: rows of a level within this distance (in rows) of an action's centre learn it.
        label_smoothing: share of the target spread over "yes" and "no", 0 to below 1.
    """

    kind: Literal["actionformer", "temporalmaxer"]
    width: int
    levels: int
    stem_blocks: int
    attention_heads: int
    window: int
    kernel: int
    dropout: float
    centre_radius: float
    label_smoothing: float

    def __post_init__(self) -> None:
        for name in ("width", "levels", "attention_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("window", "kernel"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be an odd number from 1 on, found {getattr(self, name)}")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be 0 to below 1, found {getattr(self, name)}")
        if self.width % self.attention_heads:
            raise ValueError(f"width must be a multiple of attention_heads {self.attention_heads}, found {self.width}")
        if self.stem_blocks < 0 or not self.centre_radius > 0:
            raise ValueError(
                f"stem_blocks must be at least 0 and centre_radius above 0, found {self.stem_blocks}, "
                f"{self.centre_radius}"
            )


@dataclass(frozen=True)
class DecodeParams:
    """Settings of what becomes of a network's answers.

    Attributes:
        min_score: answers below are dropped before suppression, 0 to 1.
        most_before: answers that enter suppression, the surest.
        most_after: segments of a video, the surest; of a long one, of each window, see
            `lineact.temporal.localizer.in_windows`.
        min_duration_s: shorter ones are dropped.
        sigma: of soft-NMS: a segment's score is multiplied by exp(-tIoU^2 / sigma) for each surer one of its action.
        vote_t_iou: a segment's ends become the mean, weighed by scores, of all answers of its action from this tIoU
            on; 1 leaves them.
    """

    min_score: float
    most_before: int
    most_after: int
    min_duration_s: float
    sigma: float
    vote_t_iou: float

    def __post_init__(self) -> None:
        if not 0 <= self.min_score < 1 or not 0 < self.vote_t_iou <= 1:
            raise ValueError(
                f"min_score must be 0 to below 1, vote_t_iou above 0 to 1, found {self.min_score}, {self.vote_t_iou}"
            )
        if self.most_before < 1 or self.most_after < 1:
            raise ValueError(
                f"most_before and most_after must be at least 1, found {self.most_before}, {self.most_after}"
            )
        if self.min_duration_s < 0 or not self.sigma > 0:
            raise ValueError(
                f"min_duration_s must be at least 0, sigma above 0, found {self.min_duration_s}, {self.sigma}"
            )
