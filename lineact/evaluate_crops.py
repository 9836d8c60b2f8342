"""Teacher and student on held-out crops: what a line without recordings is measured on."""

from dataclasses import dataclass
from pathlib import Path

from lineact.files import write_csv, write_metrics


@dataclass(frozen=True)
class EvaluateCropsParams:
    """Settings of the stage `evaluate_crops`.

    Attributes:
        actions: the line's actions; NG is added as the last class.
    """

    actions: tuple[str, ...]


def evaluate_crops(params: EvaluateCropsParams, holdout: Path, train_teacher: Path, distil: Path, out: Path) -> None:
    """Scores both classifiers.

    Args:
        params: the settings.
        holdout: LABELLED_CROPS table with the split "holdout".
        train_teacher: the teacher's folder.
        distil: the student's.
        out: gets metrics.json, and plots/ with the student's confusion.csv and .png.

    Raises:
        InputError: on crops or classifiers that cannot be read.
    """
    import numpy as np

    from lineact.charts import draw_confusion
    from lineact.decisions import NG
    from lineact.metrics import accuracy, confusion_matrix, macro_f1, recall_per_class
    from lineact.training.classifier import load_classifier, predict_logits
    from lineact.training.crops import load_holdout

    labels = (*params.actions, NG)
    metrics: dict[str, float | int | None] = {}
    for name, folder in (("teacher", train_teacher), ("student", distil)):
        model, spec = load_classifier(folder, name)
        crops = load_holdout(holdout, labels, spec.preprocessing.side_px)
        predicted = predict_logits(model, crops.images_rgb, spec.preprocessing).argmax(dim=1).numpy()
        confusion = confusion_matrix(crops.classes, predicted, len(labels))
        metrics |= {f"{name}_accuracy": accuracy(confusion), f"{name}_macro_f1": macro_f1(confusion)}
    recalls = recall_per_class(confusion)
    metrics |= {
        f"student_recall_{label}": None if np.isnan(recall) else float(recall)
        for label, recall in zip(labels, recalls, strict=True)
    }
    metrics["majority_accuracy"] = float(confusion.sum(axis=1).max() / confusion.sum())
    metrics["crops"] = len(crops)
    named = np.array(labels)
    pairs = zip(named[crops.classes], named[predicted], strict=True)
    write_csv(out / "plots" / "confusion.csv", ["actual", "predicted"], [list(pair) for pair in pairs])
    draw_confusion(out / "plots" / "confusion.png", confusion, labels)
    write_metrics(out, metrics)
