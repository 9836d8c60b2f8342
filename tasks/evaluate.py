"""Stage `evaluate`: the released pair, and the pinned champion, on the held-out frames."""

from pathlib import Path

from lineact.bundle import load_bundle
from lineact.charts import draw_confusion, draw_precision_recall
from lineact.evaluate import EvaluateParams
from lineact.evaluate.champion import gains, open_champion
from lineact.evaluate.looking import FrameResult, Recogniser, prediction_rows, run
from lineact.evaluate.scoring import (
    all_labels,
    confusion_of,
    matched_actions,
    score,
    scored_weakly,
    truth_box_actions,
)
from lineact.evaluate.truth import truth_frames
from lineact.files import write_csv, write_metrics
from lineact.metrics import precision_recall
from lineact.schema import HOLDOUT_BOXES, PREDICTIONS, read_table, table_of, write_table
from tasks.stage import run_stage


def evaluate(params: EvaluateParams, *, raw: Path, holdout: Path, export: Path, out: Path) -> None:
    """Scores detection and actions on held-out frames, and the gain over the champion where one is pinned."""
    frames = truth_frames(read_table(holdout, HOLDOUT_BOXES), holdout)
    challenger = load_bundle(export / "bundle")
    recognisers: dict[str, Recogniser] = {"challenger": challenger}
    champion = open_champion(params)
    if champion is not None:
        recognisers["champion"] = champion
    labels = {name: all_labels(recogniser, frames) for name, recogniser in recognisers.items()}

    results = run(params, recognisers, frames, raw)
    metrics = score(results["challenger"], labels["challenger"])
    if champion is not None:
        scored = score(results["champion"], labels["champion"])
        metrics |= {f"champion_{name}": value for name, value in scored.items()}
        metrics |= gains(params, results["challenger"], results["champion"])
    rows = [row for name, found in results.items() for row in prediction_rows(name, found)]
    write_table(table_of(rows, PREDICTIONS), out / "predictions.parquet", PREDICTIONS)
    _write_plots(out / "plots", results, labels["challenger"])
    write_metrics(out, metrics)


def _write_plots(folder: Path, results: dict[str, list[FrameResult]], labels: tuple[str, ...]) -> None:
    views = {
        "confusion": ("detected hands, end to end", matched_actions(results["challenger"])),
        "confusion_truth_boxes": ("true boxes, classifier alone", truth_box_actions(results["challenger"])),
    }
    for name, (title, (actual, predicted)) in views.items():
        write_csv(folder / f"{name}.csv", ("actual", "predicted"), zip(actual, predicted, strict=True))
        draw_confusion(folder / f"{name}.png", confusion_of(actual, predicted, labels), labels, title)
    curves = {name: precision_recall(scored_weakly(found), 0.5) for name, found in results.items()}
    precision, recall = curves["challenger"]
    points = [(f"{one:.5f}", f"{other:.5f}") for one, other in zip(recall, precision, strict=True)]
    write_csv(folder / "precision_recall.csv", ("recall", "precision"), points)
    draw_precision_recall(folder / "precision_recall.png", curves, "hands on held-out frames, IoU 0.5")


if __name__ == "__main__":
    run_stage(evaluate, EvaluateParams)
