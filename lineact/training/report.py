"""What a classifier's training leaves for people and for `dvc plots`: learning curves and the confusion matrix."""

import dataclasses
from pathlib import Path

import numpy as np

from lineact.charts import draw_confusion
from lineact.files import write_csv, write_whole
from lineact.metrics import confusion_matrix
from lineact.training.state import EpochRecord


def write_plots(
    folder: Path, history: list[EpochRecord], actual: np.ndarray, predicted: np.ndarray, labels: tuple[str, ...]
) -> None:
    """Writes curves.csv, curves.png, confusion.csv (actual, predicted) and confusion.png.

    Args:
        folder: the stage's `plots`.
        history: one record per epoch.
        actual: int, N, classes of the validation crops.
        predicted: int, N.
        labels: class names.
    """
    write_curves(folder, history)
    names = np.array(labels)
    pairs = zip(names[actual], names[predicted], strict=True)
    write_csv(folder / "confusion.csv", ["actual", "predicted"], [list(pair) for pair in pairs])
    draw_confusion(folder / "confusion.png", confusion_matrix(actual, predicted, len(labels)), labels)


def write_curves(folder: Path, history: list[EpochRecord]) -> None:
    """Writes curves.csv and curves.png of one record per epoch into the stage's `plots`."""
    fields = [field.name for field in dataclasses.fields(EpochRecord)]
    write_csv(folder / "curves.csv", fields, [list(dataclasses.astuple(record)) for record in history])
    _draw_curves(folder / "curves.png", history)


def _draw_curves(path: Path, history: list[EpochRecord]) -> None:
    from matplotlib.figure import Figure

    epochs = [record.epoch for record in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    losses.plot(epochs, [record.train_loss for record in history], "o-", markersize=3, label="training")
    losses.plot(epochs, [record.val_loss for record in history], "o-", markersize=3, label="validation")
    losses.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    scores.plot(epochs, [record.val_accuracy for record in history], "o-", markersize=3, label="accuracy")
    scores.plot(epochs, [record.val_macro_f1 for record in history], "o-", markersize=3, label="macro F1")
    scores.set(xlabel="epoch", ylabel="validation, share", ylim=(0, 1.02))
    for axes in (losses, scores):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))


def draw_detector_curves(path: Path, rows: list[dict[str, float]]) -> None:
    """Draws a detector's losses and scores over epochs.

    Args:
        path: PNG.
        rows: one per epoch, as in curves.csv.
    """
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for column, label in (("train_box_loss", "training"), ("val_box_loss", "validation")):
        losses.plot(epochs, [row[column] for row in rows], "o-", markersize=3, label=label)
    losses.set(xlabel="epoch", ylabel="box loss", ylim=(0, None))
    for column, label in (("val_precision", "precision"), ("val_recall", "recall"), ("val_map50", "mAP50")):
        scores.plot(epochs, [row[column] for row in rows], "o-", markersize=3, label=label)
    scores.set(xlabel="epoch", ylabel="validation, share", ylim=(0, 1.02))
    for axes in (losses, scores):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))


def draw_precision_recall(path: Path, rows: list[list[float]], threshold: float) -> None:
    """Draws one-to-one precision over recall, and both over the score threshold.

    Args:
        path: PNG.
        rows: (threshold, precision, recall, F2).
        threshold: the chosen one.
    """
    from matplotlib.figure import Figure

    thresholds, precisions, recalls, f2s = (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 4
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    curve, over = figure.subplots(1, 2)
    curve.plot(recalls, precisions, "o-", markersize=3)
    curve.set(xlabel="recall at IoU 0.4", ylabel="one-to-one precision", xlim=(0, 1.02), ylim=(0, 1.02))
    for values, label in ((precisions, "precision"), (recalls, "recall"), (f2s, "F2")):
        over.plot(thresholds, values, label=label)
    over.axvline(threshold, color="grey", linestyle="--", label=f"near the best F2: {threshold:.2f}")
    over.set(xlabel="score threshold", ylabel="validation, share", xlim=(0, 1), ylim=(0, 1.02))
    over.legend()
    for axes in (curve, over):
        axes.grid(alpha=0.3)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))
