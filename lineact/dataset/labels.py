"""Applies a person's names and decisions to what was found, and accounts for every decision that could not be used."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.dataset import DatasetParams
from lineact.dataset.asked import Asked, asked_of
from lineact.dataset.frames import SIDES, FrameId, Frames, PlacedBoxes
from lineact.dataset.today import QueueBases, Spent, Today, spent_looks
from lineact.decisions import (
    MIXED,
    Decision,
    Decisions,
    HandBox,
    boxes_of_text,
    frame_key,
    frame_of_item,
)
from lineact.embeddings import Embeddings
from lineact.schema import BOXES, CROPS, EMBEDDED, FRAMES, QUEUE, TEMPLATES, VIDEOS, read_table
from lineact.splits import Holdout

PLACES = ("video_sha256", "pts_s", "box_id")  # of the crops, without their pictures
PROBLEMS = (
    "bad row",
    "superseded",
    "disputed",
    "stale",
    "unattached",
    "no such frame",
    "guard",
    "held out",
    "contradicted",
)
WITNESSES = 2  # so many decided crops of a group can contradict its name, where most of them do


@dataclass(frozen=True)
class Found:
    """What the earlier stages know.

    Attributes:
        videos: schema VIDEOS.
        frames: recording, time and `kept` of schema FRAMES.
        boxes: frame, id, place and `dropped_by` of schema BOXES.
        embedded: schema EMBEDDED, without the pictures.
        embeddings: float32, N x D, row by row those of `embedded`; in a file they are never in memory all at once.
        crops: schema CROPS.
        templates: schema TEMPLATES.
        queue: schema QUEUE.
    """

    videos: pa.Table
    frames: pa.Table
    boxes: pa.Table
    embedded: pa.Table
    embeddings: np.ndarray | Embeddings
    crops: pa.Table
    templates: pa.Table
    queue: pa.Table

    @cached_property
    def asked(self) -> Asked:
        """See `asked_of`."""
        return asked_of(self.queue)

    @cached_property
    def items(self) -> frozenset[str]:
        """Ids of the queue's items."""
        return frozenset(self.queue["item_id"].to_pylist())

    @cached_property
    def placed_boxes(self) -> PlacedBoxes:
        """The boxes that no rule dropped."""
        return PlacedBoxes(self.boxes)

    @cached_property
    def _frames_by_key(self) -> Frames:
        return Frames(self.frames)

    @cached_property
    def _bases(self) -> QueueBases:
        return QueueBases(self.queue)

    def today(self, holdout: Holdout, min_iou: float) -> Today:
        """What decisions can answer."""
        certifying = frozenset(self.asked.certifying)
        return Today(self._bases, self.placed_boxes, self._frames_by_key, holdout, min_iou, certifying)


@dataclass(frozen=True)
class Problem:
    """A decision that was not used as it stands.

    Attributes:
        item_id: the item.
        task: its task.
        problem: one of PROBLEMS; "stale" is where what was shown has changed since, "contradicted" where most of the
            accepted crops decided in a group have another action than its name.
        detail: in words.
    """

    item_id: str
    task: str
    problem: str
    detail: str


@dataclass
class Resolved:
    """Decisions bound to what exists today.

    Attributes:
        names: group to its name.
        crop_actions: today's box id to the action that a person decided.
        hands: frame of the training part to all its hands.
        holdout_hands: frame of the held-out part to all its hands and who decided.
        answered: items of the queue that a decision answers.
        problems: what was not used, or used although stale.
        stamp: of looks that certify the labels of today.
        spent: looks that certify nothing any more.
    """

    names: dict[int, str] = field(default_factory=dict)
    crop_actions: dict[str, str] = field(default_factory=dict)
    hands: dict[FrameId, list[HandBox]] = field(default_factory=dict)
    holdout_hands: dict[FrameId, tuple[list[HandBox], str]] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    stamp: str = ""
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True)
class LabelledCrop:
    """A crop of the training part with its action.

    Attributes:
        frame: recording and time.
        box_id: today's box, or one made for a box that a person drew.
        box_xyxy_px: pixels of the source frame.
        action: one of the line's actions, or NG.
        decided_by: "person" or "match".
        drawn: whether a person drew the box, so that no crop of it is stored.
    """

    frame: FrameId
    box_id: str
    box_xyxy_px: tuple[float, float, float, float]
    action: str
    decided_by: str
    drawn: bool


def read_found(*, ingest: Path, detect: Path, embed: Path, match: Path, queue: Path) -> Found:
    """Reads the tables from the earlier stages' folders.

    Raises:
        InputError: where one is missing or does not fit its schema.
    """
    return Found(
        videos=read_table(ingest / "videos.parquet", VIDEOS),
        frames=read_table(ingest / "frames.parquet", FRAMES, ("video_sha256", "pts_s", "kept")),
        boxes=read_table(detect / "boxes.parquet", BOXES, (*PLACES, *SIDES, "dropped_by")),
        embedded=read_table(embed / "crops.parquet", EMBEDDED, PLACES),
        embeddings=Embeddings(embed / "embeddings.npy"),
        crops=read_table(match / "crops.parquet", CROPS),
        templates=read_table(match / "templates.parquet", TEMPLATES),
        queue=read_table(queue / "queue.parquet", QUEUE),
    )


def resolve(found: Found, decisions: Decisions, holdout: Holdout, params: DatasetParams) -> Resolved:
    """Binds decisions to groups, boxes and frames of today.

    What a decision answers is told by `answered_items`; a frame's counts although nobody queued it. A group's name that
    most of the accepted crops decided in it, audits apart, contradict is taken for "mixed": one slip would mislabel all
    its crops.

    Args:
        found: the tables.
        decisions: see `read_decisions`.
        holdout: resolved from the settings.
        params: the settings.
    """
    resolved = Resolved()
    resolved.problems += [
        Problem("", "", "bad row", f"row {bad.row}, {bad.column}: {bad.found}") for bad in decisions.bad
    ]
    resolved.problems += [
        Problem(decision.item_id, decision.task, "superseded", f"by a later row; was {decision.decided}")
        for decision in decisions.superseded
    ]
    for words in decisions.disputed:
        said = " and ".join(f"{word.decided} ({word.reviewer})" for word in words)
        detail = f"reviewers say {said}; settle it on the review page"
        resolved.problems.append(Problem(words[-1].item_id, words[-1].task, "disputed", detail))
    today = found.today(holdout, params.min_iou)
    resolved.stamp = today.stamp(decisions, params.accepted_by)
    resolved.spent = spent_looks(decisions, today, resolved.stamp)
    for decision in decisions.rows:
        if today.bases.get(decision.item_id) not in (None, decision.shown):
            detail = "what was shown has changed since" + ("; decide it again" if decision.task == "group" else "")
            resolved.problems.append(Problem(decision.item_id, decision.task, "stale", detail))
    answered = today.answered(decisions.rows)
    _resolve_groups([one for one in decisions.rows if one.task == "group"], today, answered, resolved)
    _resolve_frames([one for one in decisions.rows if one.task == "box"], today, resolved)
    _resolve_crops([one for one in decisions.rows if one.task in ("crop", "audit")], today, answered, resolved)
    _drop_contradicted_names(found, resolved)
    return resolved


def label_crops(found: Found, resolved: Resolved, holdout: Holdout, labels: Mapping[str, str]) -> list[LabelledCrop]:
    """Every crop of the training part that has an action, by frame and box id.

    The action is a person's decision on the crop, else its label. On a frame that a person corrected, the person's
    boxes take the place of those found.

    Args:
        found: the tables.
        resolved: names and decisions.
        holdout: resolved from the settings.
        labels: box id to action, of the crops that matching labels.
    """
    places = {row["box_id"]: row for row in found.boxes.to_pylist()}
    labelled = []
    for crop in found.crops.to_pylist():
        place = places[crop["box_id"]]
        frame = (place["video_sha256"], place["pts_s"])
        if frame in resolved.hands or holdout.part_of(*frame) != "train":
            continue
        decided = resolved.crop_actions.get(crop["box_id"])
        action = decided or labels.get(crop["box_id"])
        if action is None:
            continue
        box = (place["x1"], place["y1"], place["x2"], place["y2"])
        by = "match" if decided is None else "person"
        labelled.append(LabelledCrop(frame, crop["box_id"], box, action, by, drawn=False))
    for frame, hands in resolved.hands.items():
        for number, hand in enumerate(hands):
            box_id = _drawn_id(frame, hand, number)
            labelled.append(LabelledCrop(frame, box_id, hand.box_xyxy_px, hand.action, "person", drawn=True))
    return sorted(labelled, key=lambda crop: (crop.frame, crop.box_id))


def _resolve_groups(decided: Iterable[Decision], today: Today, answered: Mapping[str, str], resolved: Resolved) -> None:
    for decision in decided:
        if today.bases.get(decision.item_id) is None:
            detail = "there is no such group any more; its crops are in others"
            resolved.problems.append(Problem(decision.item_id, decision.task, "unattached", detail))
        elif decision.item_id in answered:
            resolved.names[int(decision.item_id.removeprefix("group:"))] = decision.decided
            resolved.answered.add(decision.item_id)


def _resolve_frames(decided: Iterable[Decision], today: Today, resolved: Resolved) -> None:
    for decision in decided:
        frame = today.frames.get(frame_key(*frame_of_item(decision.item_id)))
        if frame is None:
            detail = "the recordings have no such frame"
            resolved.problems.append(Problem(decision.item_id, decision.task, "no such frame", detail))
            continue
        resolved.answered.add(decision.item_id)
        hands = boxes_of_text(decision.decided)
        part = today.holdout.part_of(*frame)
        if part == "train":
            resolved.hands[frame] = hands
        elif part == "holdout":
            resolved.holdout_hands[frame] = hands, decision.reviewer
        else:
            detail = "lies in the gap before the held-out part, which nobody uses"
            resolved.problems.append(Problem(decision.item_id, decision.task, "guard", detail))


def _resolve_crops(decided: list[Decision], today: Today, answered: Mapping[str, str], resolved: Resolved) -> None:
    # what would answer, had that box no decision of its own
    replaced = today.answered(decision for decision in decided if decision.item_id not in answered)
    for decision in decided:
        box_id = answered.get(decision.item_id)
        if box_id is None:
            problem, detail = "unattached", f"no box of today overlaps it by IoU {today.min_iou:g} on its frame"
            if decision.item_id in replaced:
                problem, detail = "superseded", f"{replaced[decision.item_id]} in its place is decided itself"
            detail += f"; decided {decision.decided}"
            resolved.problems.append(Problem(decision.item_id, decision.task, problem, detail))
            continue
        resolved.answered |= {decision.item_id, box_id}
        part = today.holdout.part_of(*today.boxes.frame_of(box_id))
        if part == "train":
            resolved.crop_actions[box_id] = decision.decided
        else:
            detail = f"lies in the {part} part, which trains nothing"
            resolved.problems.append(Problem(decision.item_id, decision.task, "held out", detail))


def _drop_contradicted_names(found: Found, resolved: Resolved) -> None:
    # No witnesses are crops far from their group's templates, and audits: a name that one of them drops would be
    # missing where that audit is judged, too.
    audits = found.asked.audits
    decided = pa.array([box_id for box_id in resolved.crop_actions if box_id not in audits], pa.string())
    crops = found.crops.filter(
        pc.and_(pc.is_in(found.crops["box_id"], decided), pc.not_equal(found.crops["status"], "rejected"))
    )
    witnesses: dict[int, list[str]] = {}
    for box_id, group in zip(crops["box_id"].to_pylist(), crops["group"].to_pylist(), strict=True):
        witnesses.setdefault(group, []).append(resolved.crop_actions[box_id])
    for group, name in sorted(resolved.names.items()):
        said = witnesses.get(group, [])
        against = [action for action in said if action != name]
        if name != MIXED and len(said) >= WITNESSES and 2 * len(against) > len(said):
            resolved.names[group] = MIXED
            detail = (
                f"named {name}, but {len(against)} of {len(said)} crops decided in it are {', '.join(sorted(against))}"
            )
            resolved.problems.append(Problem(f"group:{group}", "group", "contradicted", detail))


def _drawn_id(frame: FrameId, hand: HandBox, number: int) -> str:
    # The same form as a found box's, but a mark of its own: a found box in the same place is another row.
    return f"{frame_key(*frame)}#" + "-".join(f"{value:.0f}" for value in hand.box_xyxy_px) + f"+{number}"
