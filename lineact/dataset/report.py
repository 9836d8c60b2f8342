"""What the dataset holds, in numbers."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.certificate import upper_curve
from lineact.charts import draw_confusion
from lineact.dataset import DatasetParams
from lineact.dataset.accepted import LEVEL, Certificate
from lineact.dataset.awaiting import Waiting
from lineact.dataset.calibration import Lambda, Sample, audited_labels, labels_taken, precision_curve
from lineact.dataset.frames import FrameId
from lineact.dataset.labels import PROBLEMS, Resolved
from lineact.dataset.matching import Matches
from lineact.dataset.parts import Parts
from lineact.decisions import MIXED, NG, HandBox
from lineact.files import write_csv, write_whole

REJECTED = "rejected"  # a label under lambda, or contradicted; never NG


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


def label_metrics(matches: Matches, lambdas: dict[str, Lambda], sample: Sample) -> dict[str, float | int | None]:
    """How crops that nobody decided were named: coverage, evidence, and lambda by action.

    Returns:
        Flat numbers. `label_coverage`: share of the undecided crops whose label is taken; the others are rejected
        (`label_rejected_rate`), `labels_contradicted` of them, sure or not, by an audit. `label_ng_rate`: share of the
        undecided crops that are taken for NG. `audit_right`: share of right labels among the audited
        crops whose label would be taken, each judged without its own word; None where there is none.
    """
    is_taken = labels_taken(matches, lambdas)
    places = matches.places_of(sample.undecided)
    undecided = places[places >= 0]
    taken = undecided[is_taken[undecided]]
    audited, is_right = audited_labels(matches, sample)
    right = is_right[is_taken[audited]]
    ng = sum(matches.names[place] == NG for place in matches.actions[taken])
    rejected = len(undecided) - len(taken)
    metrics: dict[str, float | int | None] = {
        "label_coverage": len(taken) / len(undecided) if len(undecided) else None,
        "label_ng_rate": ng / len(undecided) if len(undecided) else None,
        "label_rejected_rate": rejected / len(undecided) if len(undecided) else None,
        "labels_ng": ng,
        "labels_rejected": rejected,
        "labels_contradicted": int(matches.is_contradicted[undecided].sum()),
        "audited": len(sample.audited),
        "audited_taken": len(right),
        "audit_right": float(np.mean(right)) if len(right) else None,
        "lambdas_calibrated": sum(one.source != "constant" for one in lambdas.values()),
    }
    return metrics | {f"lambda_{action}": one.certainty for action, one in lambdas.items()}


def write_label_plots(
    folder: Path, matches: Matches, lambdas: dict[str, Lambda], sample: Sample, actions: tuple[str, ...]
) -> None:
    """Writes precision_coverage and label_confusion, each as .csv and .png, from the audited crops.

    The confusion matrix has a row for each label that a person gave, and a column for each that matching gave, the last
    of them for labels that are not taken.
    """
    curve = precision_curve(matches, sample)
    write_csv(
        folder / "precision_coverage.csv",
        ("ranked_by", "threshold", "coverage", "precision"),
        ((name, f"{threshold:.6f}", f"{share:.6f}", f"{right:.6f}") for name, threshold, share, right in curve),
    )
    _draw_curve(folder / "precision_coverage.png", curve)
    is_taken = labels_taken(matches, lambdas)
    places = matches.places_of(sample.audited)
    found = [matches.names[matches.actions[place]] if place >= 0 and is_taken[place] else REJECTED for place in places]
    counts = Counter(zip(sample.said, found, strict=True))
    labels = (*actions, NG, REJECTED)
    confusion = np.array([[counts[said, label] for label in labels] for said in labels[:-1]])
    rows = [(said, *row) for said, row in zip(labels[:-1], confusion.tolist(), strict=True)]
    write_csv(folder / "label_confusion.csv", ("said", *labels), rows)
    draw_confusion(
        folder / "label_confusion.png",
        confusion,
        labels,
        "random crops: actual as a person says, predicted by matching",
    )


def certificate_metrics(certificate: Certificate) -> dict[str, float | int | None]:
    """What the certifying answers say of the accepted labels, pooled and by label.

    Returns:
        Flat numbers: labels accepted, looked at and wrong, their error so far (None before the first look), its upper
        bound, the looks still needed (None where more will not do), and whether the target is met.
    """
    metrics: dict[str, float | int | None] = {
        "certificate_uncounted": certificate.uncounted,
        "certificate_spent": certificate.spent,
        "certificate_spent_by_settings": certificate.by_settings,
        "certificate_level": certificate.level,
    }
    for suffix, bound in {
        "": certificate.pooled,
        **{f"_{name}": one for name, one in certificate.actions.items()},
    }.items():
        metrics |= {
            f"certificate_population{suffix}": bound.population,
            f"certificate_looked{suffix}": bound.looked,
            f"certificate_wrong{suffix}": bound.wrong,
            f"certificate_error{suffix}": bound.error,
            f"certificate_upper{suffix}": bound.upper,
            f"certificate_needed{suffix}": bound.needed,
            f"certificate_met{suffix}": int(bound.met),
        }
    return metrics


def write_certificate_plots(folder: Path, certificate: Certificate, max_label_error: float) -> None:
    """Writes certificate.csv and .png: share of wrong labels and its upper bound after each look, all labels pooled."""
    wrong = [look.action != look.said for look in certificate.looks]
    population = certificate.pooled.population
    upper = upper_curve(wrong, population, certificate.level) if population else [0.0]
    errors = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    write_csv(
        folder / "certificate.csv",
        ("looked_at", "error", "upper", "target"),
        (
            (number, f"{errors[number - 1]:.6f}" if number else "", f"{bound:.6f}", f"{max_label_error:g}")
            for number, bound in enumerate(upper)
        ),
    )
    _draw_certificate(folder / "certificate.png", errors, upper, max_label_error)


def _draw_certificate(path: Path, errors: np.ndarray, upper: list[float], max_label_error: float) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(upper)), upper, label=f"at most ({LEVEL:.0%}, after every look)")
    axes.plot(range(1, len(errors) + 1), errors, label="wrong so far")
    axes.axhline(max_label_error, color="black", linestyle="--", label="target")
    axes.set_xlabel("accepted labels looked at, in random order")
    axes.set_ylabel("share of wrong labels")
    axes.set_ylim(0, min(1.0, max(6 * max_label_error, 0.3)))
    axes.legend()
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=100, format="png", metadata={"Software": None}))


def _draw_curve(path: Path, curve: list[tuple[str, float, float, float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row[0] for row in curve):
        points = [(share, right) for ranked_by, _, share, right in curve if ranked_by == name]
        axes.plot(*zip(*points, strict=True), marker=".", label=f"by {name}")
    axes.set_xlabel("share of audited crops whose label is taken")
    axes.set_ylabel("share of right labels among them")
    axes.set_xlim(0, 1)
    if curve:
        axes.legend()
    else:
        axes.set_title("nothing audited yet")
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=100, format="png", metadata={"Software": None}))


def count_metrics(
    resolved: Resolved, waiting: Waiting, parts: Parts, crops: pa.Table, params: DatasetParams
) -> dict[str, float | int | None]:
    """Flat numbers for `metrics.json`."""
    metrics: dict[str, float | int | None] = {
        "groups_named": sum(name != MIXED for name in resolved.names.values()),
        "groups_mixed": sum(name == MIXED for name in resolved.names.values()),
        "items_undecided": waiting.undecided,
        "crops_guard": parts.guard_crops,
        "crops_drawn": sum(crop.drawn for crops in parts.crops.values() for crop in crops),
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
