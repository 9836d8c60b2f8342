"""Confusion matrices and the precision-recall curve of an evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lineact.charts import draw_confusion, draw_precision_recall
from lineact.evaluate.looking import FrameResult
from lineact.evaluate.scoring import confusion_of, matched_actions, scored_weakly, truth_box_actions
from lineact.files import write_csv
from lineact.metrics import precision_recall


def write_plots(folder: Path, results: Mapping[str, Sequence[FrameResult]], labels: Sequence[str]) -> None:
    """Draws, each with its data as CSV.

    Args:
        folder: gets the files.
        results: of the "challenger", and of others for the precision-recall curve.
        labels: classes of the confusion matrices, see `all_labels`.
    """
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
    draw_precision_recall(folder / "precision_recall.png", curves, "hands held out, IoU 0.5")
