"""What a person should see: groups to name, doubtful crops, frames to correct, and crops in random order.

The random ones, the audit, are drawn from the crops that nothing else asks about. The first of them calibrate lambda
(`lineact.dataset.calibration`), the others certify the labels (`lineact.dataset.accepted`), as many as that needs.
Their order is that of a hash of seed and box: it does not change when more are asked or other boxes are found, and it
knows nothing of what a crop shows. The most doubtful first would be a biased sample wherever somebody stops.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from lineact.decisions import EMPTY, HandBox, basis_of, boxes_of_text, frame_item, text_of_boxes
from lineact.sampling import evenly, spread
from lineact.schema import QUEUE, table_of
from lineact.splits import Holdout, HoldoutParams

PLACED = ("video_sha256", "pts_s", "box_id", "crop_sha256")  # what is asked of a crop beside its match
# Reasons by which later stages know their items.
HARVESTED = "harvested: a station was unsure of it, or took it for irrelevant"
EVENLY_SPACED = "for the detector: one of evenly spaced frames"
CALIBRATES = "random sample: says from which certainty on labels are taken"
CERTIFIES = "random sample: says how many of the labels taken are wrong"


@dataclass(frozen=True)
class QueueParams:
    """How much a person is asked.

    Attributes:
        policy: see `DatasetParams`; where "sampled", neither doubtful crops nor frames of the training part are asked.
        holdout: what measures the line; its frames are asked apart.
        group_members: random members shown with a group's templates, so that a mixed group is seen to be one.
        crops: doubtful crops to decide.
        crop_gap_s: least time between two of them in one recording: neighbours look alike.
        audit_calibrate: random crops that calibrate lambda; of few crops at most half calibrate.
        audit_certify: further random crops, of which only so many are needed as certify the labels.
        box_frames: frames of the training part to correct, for the detector.
        box_frames_even: share of these that is evenly spaced, whether or not anything was found, 0 to 1: they show what
            the camera sees, so they can validate; the others are the most doubtful.
        box_gap_s: least time between two of the doubtful ones.
        holdout_frames: frames of the held-out part to correct, evenly spaced, whether or not anything was found there.
        seed: of the shown members and the random crops.
    """

    policy: Literal["required", "sampled", "none"]
    holdout: HoldoutParams
    group_members: int
    crops: int
    crop_gap_s: float
    audit_calibrate: int
    audit_certify: int
    box_frames: int
    box_frames_even: float
    box_gap_s: float
    holdout_frames: int
    seed: int

    def __post_init__(self) -> None:
        counts = ("group_members", "crops", "audit_calibrate", "audit_certify", "box_frames", "holdout_frames")
        for name in (*counts, "crop_gap_s", "box_gap_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if not 0 <= self.box_frames_even <= 1:
            raise ValueError(f"box_frames_even must be from 0 to 1, found {self.box_frames_even}")


@dataclass(frozen=True)
class Labelled:
    """What the earlier stages know.

    Attributes:
        frames: schema FRAMES.
        boxes: schema BOXES.
        embedded: `PLACED` of schema EMBEDDED.
        crops: schema CROPS.
        templates: schema TEMPLATES.
        harvests: hashes of the recordings whose frames are crops that stations kept.
    """

    frames: pa.Table
    boxes: pa.Table
    embedded: pa.Table
    crops: pa.Table
    templates: pa.Table
    harvests: frozenset[str] = frozenset()


def build_queue(labelled: Labelled, holdout: Holdout, params: QueueParams) -> pa.Table:
    """Chooses what a person is asked.

    Args:
        labelled: the tables.
        holdout: resolved from `params.holdout`.
        params: the settings.

    Returns:
        Schema QUEUE by priority: groups, crops that stations kept, doubtful crops, the crops that calibrate, frames,
        held-out frames, each most doubtful first but those of stations and the crops that calibrate; and last, when all
        names stand, those that certify. In `suggested` an action is "group:<n>" as long as the group has no name.
    """
    crops = _crop_rows(labelled, holdout)
    harvested = [crop for crop in crops if crop["video_sha256"] in labelled.harvests]
    trains = [crop for crop in crops if crop["part"] == "train" and crop["video_sha256"] not in labelled.harvests]
    doubt = dict(zip((crop["box_id"] for crop in trains), _doubt(trains), strict=True))
    doubtful = _doubtful_crops(trains, doubt, params)
    frames = _frame_items(labelled, crops, doubt, holdout, params)
    otherwise = {box_id for item in (*doubtful, *frames) for box_id in item["box_ids"]}
    calibrating, certifying = _audit_crops([crop for crop in trains if crop["box_id"] not in otherwise], params)
    groups = _group_items(trains, labelled.templates, params)
    asked = [_crop_item(crop, "crop", HARVESTED) for crop in harvested]
    items = [*groups, *asked, *doubtful, *calibrating, *frames, *certifying]
    for priority, item in enumerate(items):
        item["priority"] = priority
    return table_of(items, QUEUE)


def suggestion_of(item: Mapping, names: Mapping[str, str]) -> str:
    """What a person is told of an item: a label, of a frame its boxes with labels; "" where no name is known.

    Args:
        item: row of schema QUEUE; an audit is asked without a hint.
        names: item id of a group to its name.
    """
    if item["task"] == "audit":
        return ""
    if item["task"] != "box":
        return names.get(item["suggested"], "")
    boxes = boxes_of_text(item["suggested"] or EMPTY)
    return text_of_boxes(HandBox(box.box_xyxy_px, names.get(box.action, "")) for box in boxes)


def _crop_rows(labelled: Labelled, holdout: Holdout) -> list[dict]:
    """CROPS joined with place and content of each crop, by recording, time and box id."""
    places = labelled.embedded.select(PLACED).to_pylist()
    rows = [place | crop for place, crop in zip(places, labelled.crops.to_pylist(), strict=True)]
    for row in rows:
        row["part"] = holdout.part_of(row["video_sha256"], row["pts_s"])
    return sorted(rows, key=lambda row: (row["video_sha256"], row["pts_s"], row["box_id"]))


def _doubt(crops: list[dict]) -> np.ndarray:
    """0 to 1: mean of the ranks of low similarity and of low margin, so that neither's scale matters."""
    ranks = [
        np.argsort(np.argsort([-crop[name] for crop in crops], kind="stable"), kind="stable") / max(len(crops) - 1, 1)
        for name in ("similarity", "margin")
    ]
    return np.mean(ranks, axis=0)


def _group_items(crops: list[dict], templates: pa.Table, params: QueueParams) -> list[dict]:
    by_id = {crop["box_id"]: crop for crop in crops}
    rng = np.random.default_rng(params.seed)
    items = []
    for group in sorted(set(templates["group"].to_pylist())):
        shown = [row["box_id"] for row in templates.to_pylist() if row["group"] == group]
        members = [crop for crop in crops if crop["group"] == group]
        others = [crop["box_id"] for crop in members if crop["box_id"] not in set(shown)]
        count = min(params.group_members, len(others))
        shown += [others[index] for index in rng.permutation(len(others))[:count]]
        cohesion = float(np.mean([crop["similarity"] for crop in members])) if members else 1.0
        reason = f"names {len(members)} crops; mean similarity {cohesion:.3f}"
        basis = basis_of(*sorted(by_id[box_id]["crop_sha256"] for box_id in shown))
        items.append((cohesion, _item(f"group:{group}", "group", reason=reason, basis=basis, box_ids=shown)))
    return [item for _, item in sorted(items, key=lambda pair: pair[0])]


def _doubtful_crops(crops: list[dict], doubt: dict[str, float], params: QueueParams) -> list[dict]:
    if params.policy == "sampled":
        return []
    ranked = sorted(crops, key=lambda crop: -doubt[crop["box_id"]])
    chosen = spread([(crop["video_sha256"], crop["pts_s"]) for crop in ranked], params.crop_gap_s, params.crops)
    return [_crop_item(ranked[index], "crop", _why_doubtful(ranked[index])) for index in chosen]


def _why_doubtful(crop: dict) -> str:
    return f"doubtful: {crop['status']}, similarity {crop['similarity']:.3f}, margin {crop['margin']:.3f}"


def _audit_crops(crops: list[dict], params: QueueParams) -> tuple[list[dict], list[dict]]:
    """Items that calibrate, and items that certify, each in random order."""
    ordered = sorted(crops, key=lambda crop: hashlib.sha256(f"{params.seed} {crop['box_id']}".encode()).digest())
    calibrating = min(params.audit_calibrate, len(ordered) // 2)
    items = [
        _crop_item(crop, "audit", CALIBRATES if place < calibrating else CERTIFIES)
        for place, crop in enumerate(ordered[: calibrating + params.audit_certify])
    ]
    return items[:calibrating], items[calibrating:]


def _crop_item(crop: dict, task: str, why: str) -> dict:
    return _item(
        crop["box_id"],
        task,
        suggested="" if crop["status"] == "rejected" else f"group:{crop['group']}",
        reason=why,
        basis=basis_of(crop["crop_sha256"]),
        video_sha256=crop["video_sha256"],
        pts_s=crop["pts_s"],
        box_ids=[crop["box_id"]],
    )


def _frame_items(
    labelled: Labelled, crops: list[dict], doubt: dict[str, float], holdout: Holdout, params: QueueParams
) -> list[dict]:
    frames = sorted(
        (sha256, pts_s, kept)
        for sha256, pts_s, kept in zip(
            *(labelled.frames[name].to_pylist() for name in ("video_sha256", "pts_s", "kept")), strict=True
        )
        if sha256 not in labelled.harvests
    )
    named = {crop["box_id"]: "" if crop["status"] == "rejected" else f"group:{crop['group']}" for crop in crops}
    shown: dict[tuple[str, float], list[dict]] = {}
    for box in labelled.boxes.to_pylist():
        if box["dropped_by"] is None:
            shown.setdefault((box["video_sha256"], box["pts_s"]), []).append(box)
    parts = [holdout.part_of(sha256, pts_s) for sha256, pts_s, _ in frames]
    trains = [(sha256, pts_s) for (sha256, pts_s, _), part in zip(frames, parts, strict=True) if part == "train"]
    measures = [(sha256, pts_s) for (sha256, pts_s, _), part in zip(frames, parts, strict=True) if part == "holdout"]

    items = []
    asked = _frames_to_correct(trains, shown, doubt, params) if params.policy != "sampled" else []
    for (sha256, pts_s), why in asked:
        items.append(_frame_item(sha256, pts_s, shown.get((sha256, pts_s), []), named, why, holdout=False))
    for index in evenly(len(measures), params.holdout_frames):
        sha256, pts_s = measures[index]
        why = "held out: measures the line, never trains it"
        items.append(_frame_item(sha256, pts_s, shown.get((sha256, pts_s), []), named, why, holdout=True))
    return items


def _frames_to_correct(
    trains: list[tuple[str, float]],
    shown: dict[tuple[str, float], list[dict]],
    doubt: dict[str, float],
    params: QueueParams,
) -> Iterable[tuple[tuple[str, float], str]]:
    """Frames of the training part for the detector, with the reason: evenly spaced ones, then the most doubtful."""
    even = [trains[index] for index in evenly(len(trains), round(params.box_frames * params.box_frames_even))]
    yield from ((frame, EVENLY_SPACED) for frame in even)
    found = [frame for frame in trains if frame in shown and frame not in set(even)]
    lowest_score = np.array([min(box["score"] for box in shown[frame]) for frame in found])
    score_rank = np.argsort(np.argsort(-lowest_score, kind="stable"), kind="stable") / max(len(found) - 1, 1)
    doubts = [
        (max(doubt.get(box["box_id"], 0.0) for box in shown[frame]) + rank) / 2
        for frame, rank in zip(found, score_rank, strict=True)
    ]
    ranked = sorted(range(len(found)), key=lambda index: -doubts[index])
    for place in spread([found[index] for index in ranked], params.box_gap_s, params.box_frames - len(even)):
        yield found[ranked[place]], f"for the detector: doubt {doubts[ranked[place]]:.2f}"


def _frame_item(
    sha256: str, pts_s: float, boxes: list[dict], named: dict[str, str], why: str, *, holdout: bool
) -> dict:
    boxes = sorted(boxes, key=lambda box: box["box_id"])
    hands = [HandBox((box["x1"], box["y1"], box["x2"], box["y2"]), named.get(box["box_id"], "")) for box in boxes]
    places = text_of_boxes(HandBox(hand.box_xyxy_px, "") for hand in hands)
    return _item(
        frame_item(sha256, pts_s),
        "box",
        suggested=text_of_boxes(hands),
        reason=why,
        basis=basis_of(sha256, f"{pts_s:.6f}", places),
        video_sha256=sha256,
        pts_s=pts_s,
        box_ids=[box["box_id"] for box in boxes],
        holdout=holdout,
    )


def _item(item_id: str, task: str, *, reason: str, basis: str, box_ids: list[str], **rest: object) -> dict:
    item = {"item_id": item_id, "task": task, "suggested": "", "holdout": False}
    return item | {"reason": reason, "basis": basis, "box_ids": box_ids} | rest
