"""Stage `evaluate`: the released pair, and the pinned champion, on the held-out frames."""

from pathlib import Path

from lineact.bundle import load_bundle
from lineact.evaluate import EvaluateParams
from lineact.evaluate.champion import gains, open_champion
from lineact.evaluate.looking import Recogniser, prediction_rows, run
from lineact.evaluate.plots import write_plots
from lineact.evaluate.scoring import all_labels, score
from lineact.evaluate.truth import truth_frames
from lineact.files import write_metrics
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
    write_plots(out / "plots", results, labels["challenger"])
    write_metrics(out, metrics)


if __name__ == "__main__":
    run_stage(evaluate, EvaluateParams)
