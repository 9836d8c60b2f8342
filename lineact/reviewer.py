"""Answers a review queue from a truth: the simulator's, or a file of annotations. One function for both."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa

from lineact.boxes import iou_matrix
from lineact.decisions import MIXED, NG, Decision, HandBox, text_of_boxes
from lineact.groups import shown_basis
from lineact.looks import stamp_of, stamped
from lineact.queue import CERTIFIES

SIMULATED = "simulated reviewer"  # the name of one who answers from the simulator's truth
SHIFT = 0.4  # a wrong box is moved by this share of its size: IoU with the right one is then under 0.5
# No clock: the same queue and settings give the same bytes. The year tells that nobody sat there.
STARTED_AT = datetime(2000, 1, 1, tzinfo=UTC)


class Truth(Protocol):
    """What is right, as far as it is known."""

    def hands_on(self, video_sha256: str, pts_s: float) -> list[HandBox] | None:
        """Every hand on a frame with its action; None where the frame is not known."""

    def action_of(self, video_sha256: str, pts_s: float, box_xyxy_px: np.ndarray) -> str | None:
        """The action that a crop around a box shows, NG where there is no hand; None where it is not known."""


@dataclass(frozen=True)
class SecondsParams:
    """How long one item of a task takes, seconds. Each is stated in the metrics, none is measured.

    Attributes:
        group: to name a group.
        crop: to decide a crop.
        audit: to confirm one.
        box: to correct a frame.
    """

    group: float
    crop: float
    audit: float
    box: float

    def __post_init__(self) -> None:
        for name in ("group", "crop", "audit", "box"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")


@dataclass(frozen=True)
class Reviewer:
    """Who answers.

    Attributes:
        name: written to the decisions.
        labels: the line's actions, and NG.
        error_rate: share of items answered wrongly, 0 to 1; items of the held-out part are always answered exactly.
        audit_error_rate: likewise of audits.
        min_group_purity: a group is "mixed" where no label reaches this share of the shown crops.
        seconds: how long an item takes.
        seed: of the errors.
        settings: under which the random crops are looked at, see `lineact.looks`.
    """

    name: str
    labels: tuple[str, ...]
    error_rate: float
    audit_error_rate: float
    min_group_purity: float
    seconds: SecondsParams
    seed: int
    settings: str


@dataclass(frozen=True)
class Answers:
    """Result of `answer_queue`.

    Attributes:
        decisions: in the queue's order.
        wrong: how many of them are wrong on purpose, by task.
        unanswered: items that the truth does not know.
    """

    decisions: list[Decision]
    wrong: Counter[str]
    unanswered: list[str]


def answer_queue(queue: pa.Table, boxes: pa.Table, truth: Truth, reviewer: Reviewer) -> Answers:
    """Answers every item that the truth knows.

    Whether an item is answered wrongly depends on the seed and the item alone: not on the order of the queue, and what
    is wrong at one error rate is wrong at every higher one.

    Args:
        queue: schema QUEUE.
        boxes: frame, id and place of schema BOXES.
        truth: what is right.
        reviewer: who answers.
    """
    places = {
        row["box_id"]: (row["video_sha256"], row["pts_s"], np.array([row[name] for name in ("x1", "y1", "x2", "y2")]))
        for row in boxes.to_pylist()
    }
    answers = Answers([], Counter(), [])
    naming, elapsed_s = [], 0.0
    for item in sorted(queue.to_pylist(), key=lambda item: item["priority"]):
        decided = _right(item, places, truth, reviewer)
        if decided is None:
            answers.unanswered.append(item["item_id"])
            continue
        rng = np.random.default_rng([reviewer.seed, int(hashlib.sha256(item["item_id"].encode()).hexdigest()[:8], 16)])
        error_rate = reviewer.audit_error_rate if item["task"] == "audit" else reviewer.error_rate
        if rng.random() < error_rate and not item["holdout"]:
            if isinstance(decided, str):
                decided = _wrong_label(decided, reviewer.labels, rng)
            else:
                decided = _wrong_hands(decided, reviewer.labels, rng)
            answers.wrong[item["task"]] += 1
        seconds = float(getattr(reviewer.seconds, item["task"]))
        elapsed_s += seconds
        answers.decisions.append(
            Decision(
                item_id=item["item_id"],
                task=item["task"],
                suggested=item["suggested"],
                decided=decided if isinstance(decided, str) else text_of_boxes(decided),
                reviewer=reviewer.name,
                decided_at=(STARTED_AT + timedelta(seconds=elapsed_s)).isoformat(timespec="milliseconds"),
                seconds=seconds,
                basis=shown_basis(item),
            )
        )
        if item["reason"] != CERTIFIES and not item["holdout"]:
            naming.append(answers.decisions[-1])
    # as if those that certify came last, wherever the queue has them: no answer knows of another
    decisions = stamped(answers.decisions, stamp_of(reviewer.settings, naming))
    return Answers(decisions, answers.wrong, answers.unanswered)


def name_of_group(labels: Sequence[str], min_purity: float) -> str:
    """The label that reaches `min_purity` among what is shown, or "mixed"; of equals the first by name."""
    counts = Counter(labels)
    label = min(counts, key=lambda label: (-counts[label], label))
    return label if counts[label] / len(labels) >= min_purity else MIXED


def action_by_overlap(box_xyxy_px: np.ndarray, hands: Sequence[HandBox], min_iou: float) -> str:
    """The action of the hand that a box covers best, NG where none is covered by `min_iou`.

    A second box on one hand still shows that hand's action, so this is not one to one.
    """
    if not hands:
        return NG
    iou = iou_matrix(box_xyxy_px, np.array([hand.box_xyxy_px for hand in hands]))[0]
    return hands[int(iou.argmax())].action if iou.max() >= min_iou else NG


def _right(item: dict, places: dict, truth: Truth, reviewer: Reviewer) -> str | list[HandBox] | None:
    if item["task"] == "box":
        return truth.hands_on(item["video_sha256"], item["pts_s"])
    labels = [truth.action_of(*places[box_id]) for box_id in item["box_ids"]]
    known = [label for label in labels if label is not None]
    if not known:
        return None
    return name_of_group(known, reviewer.min_group_purity) if item["task"] == "group" else known[0]


def _wrong_label(right: str, labels: tuple[str, ...], rng: np.random.Generator) -> str:
    others = [label for label in labels if label != right]
    return others[rng.integers(len(others))]


def _wrong_hands(right: list[HandBox], labels: tuple[str, ...], rng: np.random.Generator) -> list[HandBox]:
    """One hand too few, in the wrong place or with the wrong action; one too many where there is none."""
    if not right:
        return [HandBox((0.0, 0.0, 32.0, 32.0), labels[rng.integers(len(labels))])]
    index, kind = int(rng.integers(len(right))), int(rng.integers(3))
    others = right[:index] + right[index + 1 :]
    if kind == 0:
        return others
    hand = right[index]
    x1, y1, x2, y2 = hand.box_xyxy_px
    moved_px = (x2 - x1) * SHIFT
    if kind == 1:
        return [*others, HandBox((x1 + moved_px, y1, x2 + moved_px, y2), hand.action)]
    return [*others, HandBox(hand.box_xyxy_px, _wrong_label(hand.action, labels, rng))]
