"""Rules that drop a backend's boxes. They run on stored boxes: changing one runs no model."""

from dataclasses import dataclass

import numpy as np

from lineact.boxes import area, iou_matrix
from lineact.detect.backend import Detections

RULES = ("region", "box_threshold", "size", "aspect", "nms", "max_hands")


@dataclass(frozen=True)
class FilterParams:
    """The rules, in the order in which they are asked; the first that drops a box names it.

    Attributes:
        region: x1, y1, x2, y2 as shares of the picture's width and height: a box stays where its centre lies inside.
        box_threshold: least score, 0 to 1.
        min_area_share: least area, as a share of the picture's, 0 to 1.
        max_area_share: greatest area, likewise.
        max_aspect: greatest ratio of the longer to the shorter side.
        nms_iou: of two boxes that overlap by more than this IoU the one with the lower score goes, whatever they are.
        max_hands: at most so many boxes a frame, those with the highest scores.
    """

    region: tuple[float, float, float, float]
    box_threshold: float
    min_area_share: float
    max_area_share: float
    max_aspect: float
    nms_iou: float
    max_hands: int

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.region
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            raise ValueError(f"region must be x1 < x2, y1 < y2, each from 0 to 1, found {list(self.region)}")
        for name in ("box_threshold", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")
        if not 0 <= self.min_area_share < self.max_area_share <= 1:
            raise ValueError(
                "min_area_share must be under max_area_share, both from 0 to 1, "
                f"found {self.min_area_share} and {self.max_area_share}"
            )
        if self.max_aspect < 1:
            raise ValueError(f"max_aspect must be at least 1, found {self.max_aspect}")
        if self.max_hands < 1:
            raise ValueError(f"max_hands must be at least 1, found {self.max_hands}")


def drop_by_rules(found: Detections, size_wh: tuple[int, int], params: FilterParams) -> list[str | None]:
    """Which rule drops each box.

    Args:
        found: one frame's boxes, clipped to the picture.
        size_wh: the picture's size, pixels.
        params: the rules.

    Returns:
        A name of `RULES` or None, one per box.
    """
    boxes = np.asarray(found.boxes_xyxy_px, np.float64).reshape(-1, 4)
    scale = np.array(size_wh, np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / scale
    region = np.array(params.region)
    inside = np.all((centres >= region[:2]) & (centres < region[2:]), axis=1)
    share = area(boxes) / scale.prod()
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 1e-9, None)
    kept: list[int] = []
    verdicts: dict[int, str | None] = {}
    for index in np.argsort(-found.scores, kind="stable").tolist():
        verdict: str | None = None
        if not inside[index]:
            verdict = "region"
        elif found.scores[index] < params.box_threshold:
            verdict = "box_threshold"
        elif share[index] == 0 or not params.min_area_share <= share[index] <= params.max_area_share:
            verdict = "size"
        elif sides[index].max() / sides[index].min() > params.max_aspect:
            verdict = "aspect"
        elif kept and iou_matrix(boxes[index], boxes[kept]).max() > params.nms_iou:
            verdict = "nms"
        elif len(kept) == params.max_hands:
            verdict = "max_hands"
        else:
            kept.append(index)
        verdicts[index] = verdict
    return [verdicts[index] for index in range(len(boxes))]


def clipped(found: Detections, size_wh: tuple[int, int]) -> Detections:
    """The same boxes, cut at the picture's border."""
    limits = np.array([*size_wh, *size_wh], np.float32)
    boxes = np.clip(np.asarray(found.boxes_xyxy_px, np.float32).reshape(-1, 4), 0, limits)
    return Detections(boxes, found.scores, found.phrases)
