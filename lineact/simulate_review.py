"""A simulated reviewer: answers the queue from the simulator's ground truth, with a stated error rate."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.certificate import upper_curve
from lineact.dataset import DatasetParams
from lineact.dataset.accepted import label_the_rest
from lineact.dataset.labels import Found, resolve
from lineact.decisions import MIXED, NG, Decisions, HandBox
from lineact.reviewer import SIMULATED, Answers, Reviewer, SecondsParams, action_by_overlap
from lineact.splits import Holdout

BOX_KEYS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class SimulateReviewParams:
    """Settings of the stage.

    Attributes:
        actions: the line's actions.
        error_rate: share of items answered wrongly, 0 to 1; held-out items are always answered exactly.
        audit_error_rate: likewise of audits, which are asked one by one, without a suggestion.
        min_group_purity: a group is named "mixed" where no label reaches this share of the shown crops, 0 to 1.
        min_iou: a box under this IoU with every hand shows no hand and is NG, 0 to 1.
        seconds: how long an item takes.
        seed: of the errors.
        dataset: settings of the stage `dataset`, which say when the labels are certified.
    """

    actions: tuple[str, ...]
    error_rate: float
    audit_error_rate: float
    min_group_purity: float
    min_iou: float
    seconds: SecondsParams
    seed: int
    dataset: DatasetParams

    def __post_init__(self) -> None:
        for name in ("error_rate", "audit_error_rate", "min_group_purity", "min_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")

    @property
    def reviewer(self) -> Reviewer:
        """Who answers."""
        labels = (*self.actions, NG)
        return Reviewer(
            SIMULATED,
            labels,
            self.error_rate,
            self.audit_error_rate,
            self.min_group_purity,
            self.seconds,
            self.seed,
            self.dataset.accepted_by,
        )


class SimulatedTruth:
    """The simulator's ground truth, which knows every frame."""

    def __init__(self, truth_boxes: pa.Table, min_iou: float) -> None:
        """Takes a table of schema TRUTH_BOXES."""
        self._min_iou = min_iou
        self._hands: dict[tuple[str, int], list[HandBox]] = {}
        for row in truth_boxes.to_pylist():
            hand = HandBox((row["x1"], row["y1"], row["x2"], row["y2"]), row["action"])
            self._hands.setdefault((row["video_sha256"], _microseconds(row["pts_s"])), []).append(hand)

    def hands_on(self, video_sha256: str, pts_s: float) -> list[HandBox]:
        """Every hand on a frame with its action."""
        return self._hands.get((video_sha256, _microseconds(pts_s)), [])

    def action_of(self, video_sha256: str, pts_s: float, box_xyxy_px: np.ndarray) -> str:
        """The action of the hand in a box, NG where there is none."""
        return action_by_overlap(box_xyxy_px, self.hands_on(video_sha256, pts_s), self._min_iou)


def asked_until_certified(found: Found, answers: Answers, holdout: Holdout, params: DatasetParams) -> pa.Table:
    """The queue as far as a person is asked: certifying crops only if accepted, and no more of them than certify.

    Args:
        found: the tables and embeddings.
        answers: to the whole queue.
        holdout: resolved from the settings.
        params: the settings.

    Returns:
        Schema QUEUE.
    """
    resolved = resolve(found, Decisions(tuple(answers.decisions), (), ()), holdout, params)
    labelling = label_the_rest(found, resolved, holdout, params)
    wrong = [look.action != look.said for look in labelling.certificate.looks]
    accepted, level = labelling.accepted, labelling.certificate.level
    upper = upper_curve(wrong, len(accepted), level) if len(accepted) else [0.0]
    enough = next((looks for looks, bound in enumerate(upper) if bound <= params.max_label_error), len(upper))
    certifying = found.asked.certifying
    asked = list(accepted.of(certifying))[:enough]
    needless = pa.array(sorted(set(certifying) - set(asked)), pa.string())
    return found.queue.filter(pc.invert(pc.is_in(found.queue["item_id"], needless)))


def review_metrics(params: SimulateReviewParams, answers: Answers) -> dict[str, float | int | None]:
    """Flat numbers for `metrics.json`: what was asked, what was answered wrongly, how long it took."""
    tasks = Counter(decision.task for decision in answers.decisions)
    metrics: dict[str, float | int | None] = {
        "error_rate": params.error_rate,
        "audit_error_rate": params.audit_error_rate,
    }
    for task in ("group", "crop", "audit", "box"):
        metrics[f"decided_{task}"] = tasks[task]
        metrics[f"wrong_{task}"] = answers.wrong[task]
        metrics[f"seconds_per_{task}"] = getattr(params.seconds, task)
    metrics["groups_mixed"] = sum(decision.decided == MIXED for decision in answers.decisions)
    metrics["minutes"] = sum(decision.seconds for decision in answers.decisions) / 60
    return metrics


def label_quality(crops: pa.Table, truth: SimulatedTruth) -> dict[str, float | int | None]:
    """How right the labels are that nobody decided.

    Args:
        crops: schema LABELLED_CROPS.
        truth: the simulator's.

    Returns:
        `labels_by_match`: how many; `labels_right` and `labels_right_without_ng`: shares of right ones, the latter of
        crops that show one of the line's actions; None where there is none.
    """
    pairs = [
        (row["action"], truth.action_of(row["video_sha256"], row["pts_s"], np.array([row[key] for key in BOX_KEYS])))
        for row in crops.select(["video_sha256", "pts_s", *BOX_KEYS, "action", "decided_by"]).to_pylist()
        if row["decided_by"] == "match"
    ]
    of_actions = [label == right for label, right in pairs if right != NG]
    return {
        "labels_by_match": len(pairs),
        "labels_right": float(np.mean([label == right for label, right in pairs])) if pairs else None,
        "labels_right_without_ng": float(np.mean(of_actions)) if of_actions else None,
    }


def _microseconds(pts_s: float) -> int:
    return round(pts_s * 1_000_000)
