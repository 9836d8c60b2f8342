"""What the choice rests on: every candidate's latency, and the accuracy of those that were trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineact.choose_student.latency import Timed
from lineact.files import write_csv, write_metrics, write_whole

PERCENTILES = (50, 95, 99)
SIZES = ("name", "width", "depth", "patch_px", "side_px", "parameters", "began_with")
SCORED = ("within_budget", "val_accuracy", "val_macro_f1", "chosen")


@dataclass(frozen=True)
class Score:
    """How a trained candidate answers the validation crops.

    Attributes:
        val_accuracy: share of right answers, 0 to 1.
        val_macro_f1: 0 to 1; None where it is undefined.
    """

    val_accuracy: float
    val_macro_f1: float | None


def write_report(
    out: Path, budget_ms: float, timed: Sequence[Timed], scores: Mapping[str, Score], chosen: str, machine: str
) -> None:
    """Writes candidates.csv, metrics.json and plots/student_tradeoff.png.

    Args:
        out: the stage's folder.
        budget_ms: of a call at p95, milliseconds.
        timed: all candidates.
        scores: by name, of those that were trained.
        chosen: name of the chosen one.
        machine: the CPU's name.
    """
    ordered = sorted(timed, key=lambda each: each.p95_ms)
    header = [*SIZES, *(f"p{percent}_ms" for percent in PERCENTILES), *SCORED]
    rows = [_row(each, budget_ms, scores.get(each.candidate.name), chosen) for each in ordered]
    write_csv(out / "candidates.csv", header, rows)
    draw_tradeoff(out / "plots" / "student_tradeoff.png", budget_ms, ordered, scores, chosen, machine)
    write_metrics(out, _metrics(budget_ms, ordered, scores, chosen))


def _row(each: Timed, budget_ms: float, score: Score | None, chosen: str) -> list[object]:
    candidate = each.candidate
    sizes = [candidate.name, candidate.width, candidate.depth, candidate.patch_px, candidate.preprocessing.side_px]
    times_ms = [f"{np.percentile(each.calls_ms, percent):.3f}" for percent in PERCENTILES]
    scored = ("", "") if score is None else (score.val_accuracy, score.val_macro_f1)
    began_with = candidate.began_with or "random weights"
    verdicts = (each.p95_ms <= budget_ms, *scored, candidate.name == chosen)
    return [*sizes, candidate.parameters, began_with, *times_ms, *verdicts]


def _metrics(
    budget_ms: float, timed: Sequence[Timed], scores: Mapping[str, Score], chosen: str
) -> dict[str, float | int | None]:
    metrics: dict[str, float | int | None] = {
        "candidates": len(timed),
        "within_budget": sum(each.p95_ms <= budget_ms for each in timed),
        "trained": len(scores),
        "budget_ms": budget_ms,
        "val_macro_f1": scores[chosen].val_macro_f1,
    }
    for each in timed:
        name = each.candidate.name
        metrics[f"{name}_p95_ms"] = each.p95_ms
        if name == chosen:
            metrics |= {"p95_ms": each.p95_ms, "from_scratch": int(each.candidate.began_with is None)}
        if name in scores:
            metrics[f"{name}_val_macro_f1"] = scores[name].val_macro_f1
    return metrics


def draw_tradeoff(
    path: Path, budget_ms: float, timed: Sequence[Timed], scores: Mapping[str, Score], chosen: str, machine: str
) -> None:
    """Draws macro F1 over latency; candidates that were not trained stand below, without a score.

    Args:
        path: PNG.
        budget_ms: is drawn as a line.
        timed: all candidates, fastest first.
        scores: by name, of those that were trained.
        chosen: name of the one to mark.
        machine: the CPU's name, for the heading.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1 + 0.25 * (len(timed) - len(scores))))
    figure.suptitle(f"students by latency, {machine}")
    without = [each for each in timed if each.candidate.name not in scores]
    for each in timed:
        name = each.candidate.name
        if name in scores:
            f1 = scores[name].val_macro_f1 or 0.0
            fill = "full" if each.candidate.began_with else "none"
            above.plot(each.p95_ms, f1, "o", color="tab:blue", fillstyle=fill)
            above.annotate(name, (each.p95_ms, f1), xytext=(7, -3), textcoords="offset points", fontsize=8)
            if name == chosen:
                above.plot(each.p95_ms, f1, "o", color="tab:red", markersize=14, fillstyle="none", label="chosen")
    for place, each in enumerate(without):
        below.plot(each.p95_ms, place, "x", color="tab:grey")
        below.annotate(
            each.candidate.name, (each.p95_ms, place), xytext=(7, -3), textcoords="offset points", fontsize=8
        )
    for axes in (above, below):
        axes.axvline(budget_ms, color="black", linestyle="--", label=f"budget, {budget_ms:g} ms")
        axes.grid(alpha=0.3)
        axes.margins(x=0.2, y=0.2)
    above.set(ylabel="macro F1, validation crops", xscale="log")
    above.legend(fontsize="small")
    below.set(xlabel="milliseconds per call, p95 (hollow: began with random weights)", ylabel="not trained", yticks=[])
    below.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    below.xaxis.set_major_formatter("{x:g}")
    below.xaxis.set_minor_formatter("")
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))
