"""What the dataset holds, in numbers."""

from collections import Counter

import numpy as np
import pyarrow as pa

from lineact.dataset import DatasetParams
from lineact.dataset.awaiting import Waiting
from lineact.dataset.labels import PROBLEMS, Found, FrameId, Resolved
from lineact.dataset.parts import Parts
from lineact.decisions import MIXED, NG, Decisions, HandBox


def holdout_rows(holdout_hands: dict[FrameId, tuple[list[HandBox], str]]) -> list[dict]:
    """Rows of schema HOLDOUT_BOXES by frame; a frame checked as empty has one row without a box."""
    rows: list[dict] = []
    for (sha256, pts_s), (hands, reviewer) in sorted(holdout_hands.items()):
        frame = {"video_sha256": sha256, "pts_s": pts_s, "decided_by": reviewer}
        for hand in hands:
            box = dict(zip(("x1", "y1", "x2", "y2"), hand.box_xyxy_px, strict=True))
            rows.append(frame | box | {"action": hand.action})
        if not hands:
            rows.append(frame)
    return rows


def audit_agreement(found: Found, decisions: Decisions, resolved: Resolved) -> float | None:
    """Share of audited crops on which the person and the group's name agree: how right the labels are that nobody saw.

    None where no audited crop's group has a name.
    """
    groups = dict(zip(found.crops["box_id"].to_pylist(), found.crops["group"].to_pylist(), strict=True))
    pairs = [
        (resolved.names.get(groups[one.item_id], MIXED), one.decided)
        for one in decisions.rows
        if one.task == "audit" and one.item_id in groups
    ]
    named = [name == decided for name, decided in pairs if name != MIXED]
    return float(np.mean(named)) if named else None


def count_metrics(
    found: Found, resolved: Resolved, waiting: Waiting, parts: Parts, crops: pa.Table, params: DatasetParams
) -> dict[str, float | int | None]:
    """Flat numbers for `metrics.json`."""
    status = Counter(found.crops["status"].to_pylist())
    metrics: dict[str, float | int | None] = {
        "coverage": 1 - status["rejected"] / max(found.crops.num_rows, 1),
        "rejected": status["rejected"],
        "groups_named": sum(name != MIXED for name in resolved.names.values()),
        "groups_mixed": sum(name == MIXED for name in resolved.names.values()),
        "items_undecided": waiting.undecided,
        "crops_guard": parts.guard_crops,
        "frames_guard": parts.guard_frames,
        "frames_val_unfit_left_out": parts.unfit_frames,
    }
    by_class = Counter(zip(crops["split"].to_pylist(), crops["action"].to_pylist(), strict=True))
    by_source = Counter(crops["decided_by"].to_pylist())
    for name in ("train", "val"):
        metrics[f"crops_{name}"] = len(parts.crops[name])
        metrics |= {f"crops_{name}_{label}": by_class[name, label] for label in (*params.actions, NG)}
        metrics[f"frames_{name}"] = len(parts.frames[name])
        metrics[f"frames_{name}_empty"] = sum(not labelled.boxes_xyxy_px for labelled in parts.frames[name])
    metrics |= {f"crops_by_{source}": by_source[source] for source in ("person", "match")}
    frames = [labelled for name in ("train", "val") for labelled in parts.frames[name]]
    metrics |= {f"frames_by_{by}": sum(one.decided_by == by for one in frames) for by in ("person", "detector")}
    metrics["holdout_frames"] = len(resolved.holdout_hands)
    metrics["holdout_hands"] = sum(len(hands) for hands, _ in resolved.holdout_hands.values())
    kinds = Counter(problem.problem for problem in resolved.problems)
    for kind in PROBLEMS:
        metrics[f"decisions_{kind.replace(' ', '_')}"] = kinds[kind]
    return metrics
