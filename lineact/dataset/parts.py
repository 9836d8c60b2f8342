"""Which labelled frame trains and which validates, for crops and the detector's pictures alike."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from lineact.dataset import DatasetParams
from lineact.dataset.detection import BoxPx
from lineact.dataset.frames import FrameId, boxes_on_frames
from lineact.dataset.labels import Found, LabelledCrop, Resolved
from lineact.decisions import NG
from lineact.errors import InputError
from lineact.leaks import Frame, refuse_near_frames
from lineact.queue import EVENLY_SPACED
from lineact.sampling import evenly
from lineact.splits import Holdout, ValidationBlocks, choose_validation, harvests_of

LEAST_CHECKED = 10  # so many frames at least validate the detector, before less fit ones have to help


@dataclass(frozen=True)
class LabelledFrame:
    """A frame of the training part with all its hand boxes.

    Attributes:
        frame: recording and time.
        boxes_xyxy_px: pixels of the source frame; none on a frame checked as empty.
        decided_by: "person" or "detector".
        as_seen: whether it was chosen evenly in time, so that such frames together show what the camera sees.
    """

    frame: FrameId
    boxes_xyxy_px: tuple[BoxPx, ...]
    decided_by: str
    as_seen: bool


@dataclass(frozen=True)
class Parts:
    """Labelled crops and frames by split; what lies in the gap between is left out and counted.

    Attributes:
        crops: "train" and "val" to crops.
        frames: likewise, for the detector.
        guard_crops: crops left out.
        guard_frames: frames left out.
        unfit_frames: frames for validation left out, because enough fitter ones are there, see `_fittest`.
    """

    crops: dict[str, list[LabelledCrop]]
    frames: dict[str, list[LabelledFrame]]
    guard_crops: int
    guard_frames: int
    unfit_frames: int


def frames_for_detector(
    found: Found, resolved: Resolved, holdout: Holdout, alike: Collection[str], count: int
) -> list[LabelledFrame]:
    """Frames that a person corrected, and `count` others as the detector labelled them.

    The others are evenly spaced among the kept frames of the training part on which no box is doubtful: it is no
    example of a hand, and no background either. Frames without a box are among them: they show what is no hand.
    """
    even = {(row["video_sha256"], row["pts_s"]) for row in found.queue.to_pylist() if row["reason"] == EVENLY_SPACED}
    corrected = [
        LabelledFrame(frame, tuple(hand.box_xyxy_px for hand in hands), "person", frame in even)
        for frame, hands in sorted(resolved.hands.items())
    ]
    doubtful = _doubtful_boxes(found, resolved, alike)
    boxes = boxes_on_frames(found.boxes)
    harvests = harvests_of(found.videos)  # their frames are crops: a detector is to find hands in whole pictures
    frames = [row for row in found.frames.to_pylist() if row["kept"] and row["video_sha256"] not in harvests]
    kept = [(row["video_sha256"], row["pts_s"]) for row in frames]
    accepted = [
        LabelledFrame(frame, tuple(box for _, box in placed), "detector", as_seen=False)
        for frame, placed in sorted((frame, boxes.get(frame, [])) for frame in kept)
        if frame not in resolved.hands
        and holdout.part_of(*frame) == "train"
        and not doubtful & {box_id for box_id, _ in placed}
    ]
    chosen = [accepted[index] for index in evenly(len(accepted), count)]
    return sorted(corrected + chosen, key=lambda labelled: labelled.frame)


def _doubtful_boxes(found: Found, resolved: Resolved, alike: Collection[str]) -> set[str]:
    """Boxes that may show no hand: a person called the crop NG, which is an irrelevant action or no hand at all, or
    nobody decided it and it looks like nothing named.
    """
    doubtful = set()
    for box_id in found.crops["box_id"].to_pylist():
        decided = resolved.crop_actions.get(box_id)
        if decided == NG or (decided is None and box_id not in alike):
            doubtful.add(box_id)
    return doubtful


def split(
    crops: list[LabelledCrop], frames: list[LabelledFrame], holdout_frames: Iterable[FrameId], params: DatasetParams
) -> Parts:
    """Splits by recording or time block with a gap, one choice for both kinds, and checks the result for leaks.

    Raises:
        InputError: where a label or a split lacks, or parts leak.
    """
    _refuse_lacking(Counter(crop.action for crop in crops), params.actions, "")
    moments = [(*crop.frame, crop.action) for crop in crops] + [(*labelled.frame, "a frame") for labelled in frames]
    blocks = choose_validation(moments, params.validation, params.seed)
    validating = [one for one in frames if blocks.split_of(*one.frame) == "val"]
    fittest = _fittest(validating)
    parts = Parts(
        {name: [crop for crop in crops if blocks.split_of(*crop.frame) == name] for name in ("train", "val")},
        {"train": [one for one in frames if blocks.split_of(*one.frame) == "train"], "val": fittest},
        sum(blocks.split_of(*crop.frame) == "guard" for crop in crops),
        sum(blocks.split_of(*labelled.frame) == "guard" for labelled in frames),
        len(validating) - len(fittest),
    )
    _check(parts, list(holdout_frames), blocks, params)
    return parts


def _fittest(validating: list[LabelledFrame]) -> list[LabelledFrame]:
    """The frames to judge the detector by, and to choose its score threshold on.

    Corrected frames that were chosen evenly in time, where they are enough; else all corrected ones, though the
    doubtful among them ask for a higher threshold than the line does; else all, though a right detector looks wrong
    where nobody checked the boxes.
    """
    corrected = [labelled for labelled in validating if labelled.decided_by == "person"]
    for fit in ([labelled for labelled in corrected if labelled.as_seen], corrected):
        if len(fit) >= LEAST_CHECKED and any(labelled.boxes_xyxy_px for labelled in fit):
            return fit
    return validating


def _check(parts: Parts, holdout_frames: list[FrameId], blocks: ValidationBlocks, params: DatasetParams) -> None:
    _refuse_lacking(Counter(crop.action for crop in parts.crops["train"]), params.actions, " to train on")
    lacking = "expected labelled frames with hands in both training and validation, found none in"
    for name in ("train", "val"):
        if not any(labelled.boxes_xyxy_px for labelled in parts.frames[name]):
            raise InputError(f"{lacking} {name!r}; review more frames or raise dataset.detector_frames")
        if not parts.crops[name]:
            raise InputError(
                f"expected labelled crops in {name!r}, found none; review more, or change dataset.validation"
            )
    validating = {crop.action for crop in parts.crops["val"]}
    if unchecked := sorted({crop.action for crop in parts.crops["train"]} - validating):
        print(f"dataset: no validation crops of {', '.join(unchecked)}: too few to share", flush=True)
    used = {
        name: _placed([crop.frame for crop in parts.crops[name]] + [one.frame for one in parts.frames[name]])
        for name in ("train", "val")
    }
    refuse_near_frames(used["train"], used["val"], ("training", "validation"), blocks.guard_s, "s")
    for name, frames in used.items():
        refuse_near_frames(frames, _placed(holdout_frames), (name, "held-out part"), params.holdout.guard_s, "s")


def _refuse_lacking(counts: Counter[str], actions: tuple[str, ...], where: str) -> None:
    if not counts:
        raise InputError(
            f"expected labelled crops{where}, found none: no group has a name and no crop is decided, or lambda "
            "(match.min_similarity) rejects all; review more or lower it"
        )
    if len(counts) == 1:
        raise InputError(f"expected crops of several classes{where}, found only {next(iter(counts))!r}; review more")
    if lacking := [action for action in actions if not counts[action]]:
        known = ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))
        raise InputError(
            f"action {', '.join(map(repr, lacking))}: expected crops{where}, found none (there are {known}); name a "
            "group or decide crops with it, record it, or take it off the line's actions"
        )
    if not counts[NG]:
        print(f"dataset: no crops of NG{where}: the classifier will not know irrelevant actions", flush=True)


def _placed(frames: Iterable[FrameId]) -> list[Frame]:
    return [Frame(sha256, pts_s, f"a frame of {sha256[:12]}") for sha256, pts_s in frames]
