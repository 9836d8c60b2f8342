"""Stage `evaluate_pictures`: the exported pair on the held-out pictures of a YOLO line."""

from pathlib import Path

from lineact.bundle import load_bundle
from lineact.evaluate import EvaluatePicturesParams
from lineact.evaluate.held_out import held_out_pictures
from lineact.evaluate.looking import look
from lineact.evaluate.plots import write_plots
from lineact.evaluate.scoring import all_labels, score
from lineact.files import write_metrics
from tasks.stage import run_stage


def evaluate_pictures(params: EvaluatePicturesParams, *, holdout: Path, export: Path, out: Path) -> None:
    """Scores detection and actions on held-out pictures."""
    pair = load_bundle(export / "bundle")
    results = [
        look(pair, truth, image_rgb, params.match_iou, params.min_score)
        for truth, image_rgb in held_out_pictures(holdout)
    ]
    labels = all_labels(pair, [result.truth for result in results])
    write_plots(out / "plots", {"challenger": results}, labels)
    write_metrics(out, score(results, labels))


if __name__ == "__main__":
    run_stage(evaluate_pictures, EvaluatePicturesParams)
