"""Rules that drop a backend's boxes. They run on stored boxes: changing one runs no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineact.boxes import area, iou_matrix
from lineact.detect.backend import Detections

RULES = (
    "phrase",
    "region",
    "box_threshold",
    "size",
    "aspect",
    "group",
    "nms",
    "nested",
    "max_hands",
    "resting",
    "flicker",
)
REST_IOU = 0.6  # a box found again at this IoU is in the same place
REST_MISSES = 2  # so many frames in a row may lack it: an arm passes over what lies there


@dataclass(frozen=True)
class FilterParams:
    """The rules, in the order in which they are asked; the first that drops a box names it.

    Attributes:
        hand_words: a box stays where its phrase holds one of these words or phrases: synonyms of one class, so that
            the prompt may name other things beside hands. Empty: whatever was asked for is a hand.
        region: x1, y1, x2, y2 as shares of the picture's width and height: a box stays where its centre lies inside.
        box_threshold: least score, 0 to 1.
        min_area_share: least area, as a share of the picture's, 0 to 1.
        max_area_share: greatest area, likewise.
        max_aspect: greatest ratio of the longer to the shorter side.
        max_inside: of two boxes of which the smaller lies by more than this share inside the larger, the one with the
            lower score goes (rule `nested`); one with two better ones inside goes as a `group`. 0 to 1; 1 asks nothing.
        nms_iou: of two boxes that overlap by more than this IoU the one with the lower score goes, whatever they are.
        max_hands: at most so many boxes a frame, those with the highest scores.
        rest_s: a box goes that is found in the same place for so many seconds: things lie still, hands hardly ever. 0
            asks nothing.
        flicker_s: a box goes where no box is near it in the frame before or after, of those no further away than so
            many seconds; where there are none it stays. 0 asks nothing.
        flicker_reach: how far a centre moves at most between two such frames, in longer sides of the box.
    """

    hand_words: tuple[str, ...]
    region: tuple[float, float, float, float]
    box_threshold: float
    min_area_share: float
    max_area_share: float
    max_aspect: float
    max_inside: float
    nms_iou: float
    max_hands: int
    rest_s: float
    flicker_s: float
    flicker_reach: float

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.region
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            raise ValueError(f"region must be x1 < x2, y1 < y2, each from 0 to 1, found {list(self.region)}")
        for name in ("box_threshold", "nms_iou", "max_inside"):
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
        for name in ("rest_s", "flicker_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if self.flicker_reach <= 0:
            raise ValueError(f"flicker_reach must be above 0, found {self.flicker_reach}")
        if any(not words.strip() for words in self.hand_words):
            raise ValueError(f"hand_words must hold words, found {list(self.hand_words)}")


def drop_by_rules(found: Detections, size_wh: tuple[int, int], params: FilterParams) -> list[str | None]:
    """Which rule drops each box of one frame; `resting` and `flicker` need several.

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
    areas = area(boxes)
    share = areas / scale.prod()
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 1e-9, None)
    kept: list[int] = []
    verdicts: dict[int, str | None] = {}
    for index in np.argsort(-found.scores, kind="stable").tolist():
        verdict: str | None = None
        held = _share_inside(boxes[index], boxes[kept]) > params.max_inside
        if not _is_hand(found.phrases[index], params.hand_words):
            verdict = "phrase"
        elif not inside[index]:
            verdict = "region"
        elif found.scores[index] < params.box_threshold:
            verdict = "box_threshold"
        elif share[index] == 0 or not params.min_area_share <= share[index] <= params.max_area_share:
            verdict = "size"
        elif sides[index].max() / sides[index].min() > params.max_aspect:
            verdict = "aspect"
        elif np.count_nonzero(held & (areas[kept] < areas[index])) > 1:
            verdict = "group"
        elif kept and iou_matrix(boxes[index], boxes[kept]).max() > params.nms_iou:
            verdict = "nms"
        elif held.any():
            verdict = "nested"
        elif len(kept) == params.max_hands:
            verdict = "max_hands"
        else:
            kept.append(index)
        verdicts[index] = verdict
    return [verdicts[index] for index in range(len(boxes))]


def drop_over_time(
    pts_s: Sequence[float],
    boxes_xyxy_px: Sequence[np.ndarray],
    dropped: Sequence[list[str | None]],
    params: FilterParams,
) -> list[list[str | None]]:
    """The rules over time: `resting` drops what lies in one place, then `flicker` what no neighbouring frame confirms.

    Args:
        pts_s: times of a recording's frames, ascending.
        boxes_xyxy_px: per frame, N x 4.
        dropped: per frame, the rule that dropped each box already; a dropped box tells nothing of others.
        params: the rules.

    Returns:
        `dropped` with the two rules where they apply.
    """
    verdicts = [list(of_frame) for of_frame in dropped]
    for rule, drops in (("resting", _rests), ("flicker", _flickers)):
        stays = [np.array([one is None for one in of_frame], bool) for of_frame in verdicts]
        staying = [np.asarray(boxes).reshape(-1, 4)[chosen] for boxes, chosen in zip(boxes_xyxy_px, stays, strict=True)]
        for frame, boxes in enumerate(staying):
            for index, box in zip(np.flatnonzero(stays[frame]), boxes, strict=True):
                if drops(box, frame, pts_s, staying, params):
                    verdicts[frame][index] = rule
    return verdicts


def _rests(
    box_xyxy_px: np.ndarray, frame: int, pts_s: Sequence[float], staying: Sequence[np.ndarray], params: FilterParams
) -> bool:
    """Whether a frame's box is found in its place for `rest_s`."""
    if params.rest_s == 0:
        return False
    first = _last_seen(box_xyxy_px, staying, range(frame - 1, -1, -1), frame)
    last = _last_seen(box_xyxy_px, staying, range(frame + 1, len(pts_s)), frame)
    return pts_s[last] - pts_s[first] >= params.rest_s


def _last_seen(box_xyxy_px: np.ndarray, staying: Sequence[np.ndarray], frames: range, seen: int) -> int:
    """The furthest of these frames to which a box can be followed in its place; `seen` where it is in none."""
    misses = 0
    for frame in frames:
        others = staying[frame]
        if len(others) and iou_matrix(box_xyxy_px[None], others).max() >= REST_IOU:
            seen, misses = frame, 0
        elif (misses := misses + 1) > REST_MISSES:
            break
    return seen


def _flickers(
    box_xyxy_px: np.ndarray, frame: int, pts_s: Sequence[float], staying: Sequence[np.ndarray], params: FilterParams
) -> bool:
    """Whether there are frames within `flicker_s` of a box's frame, next to it, and none of their boxes is near."""
    if params.flicker_s == 0:
        return False
    neighbours = [other for other in (frame - 1, frame + 1) if 0 <= other < len(pts_s)]
    near = [staying[other] for other in neighbours if abs(pts_s[other] - pts_s[frame]) <= params.flicker_s]
    return bool(near) and not _is_confirmed(box_xyxy_px, np.concatenate(near), params.flicker_reach)


def clipped(found: Detections, size_wh: tuple[int, int]) -> Detections:
    """The same boxes, cut at the picture's border."""
    limits = np.array([*size_wh, *size_wh], np.float32)
    boxes = np.clip(np.asarray(found.boxes_xyxy_px, np.float32).reshape(-1, 4), 0, limits)
    return Detections(boxes, found.scores, found.phrases)


def _is_hand(phrase: str, hand_words: tuple[str, ...]) -> bool:
    """Whether a phrase holds one of the words; models give the full stop that ends a phrase, too, or not."""
    spoken = f" {' '.join(phrase.lower().replace('.', ' ').split())} "
    return not hand_words or any(f" {words.strip().lower()} " in spoken for words in hand_words)


def _share_inside(box_xyxy_px: np.ndarray, others_xyxy_px: np.ndarray) -> np.ndarray:
    """Intersection over the smaller area, of one box with each of N others: N, 0 to 1."""
    overlap_wh = np.minimum(box_xyxy_px[2:], others_xyxy_px[:, 2:]) - np.maximum(box_xyxy_px[:2], others_xyxy_px[:, :2])
    smaller = np.minimum(area(box_xyxy_px), area(others_xyxy_px))
    return np.clip(overlap_wh, 0, None).prod(-1) / np.maximum(smaller, 1e-9)


def _is_confirmed(box_xyxy_px: np.ndarray, others_xyxy_px: np.ndarray, reach: float) -> bool:
    """Whether the centre of one of N other boxes is within `reach` longer sides of the box."""
    if not len(others_xyxy_px):
        return False
    centres = (others_xyxy_px[:, :2] + others_xyxy_px[:, 2:]) / 2
    distances = np.linalg.norm(centres - (box_xyxy_px[:2] + box_xyxy_px[2:]) / 2, axis=1)
    return bool(distances.min() <= reach * (box_xyxy_px[2:] - box_xyxy_px[:2]).max())
