"""Stage `evaluate_localizer`: the localiser's segments of the held-out recordings, against what happened."""

from pathlib import Path

from lineact.evaluate_localizer import EvaluateLocalizerParams, figures_of, measure, write_answers
from lineact.files import write_metrics
from lineact.schema import VIDEOS, read_table
from lineact.temporal.activitynet import read_ground_truth
from lineact.temporal.localizer import load_localizer
from tasks.stage import run_stage


def evaluate_localizer(
    params: EvaluateLocalizerParams, *, features: Path, ingest: Path, segments: Path, train_localizer: Path, out: Path
) -> None:
    """Scores the line's localiser on the recordings that are held out."""
    videos = read_table(ingest / "videos.parquet", VIDEOS)
    localizer = load_localizer(train_localizer)
    measured = measure(params, localizer, features, videos, read_ground_truth(segments))
    figures, by_action = figures_of(params, measured)
    write_answers(out, params, measured, by_action)
    write_metrics(out, figures)
    print(
        f"evaluate_localizer: average mAP {params.t_ious[0]}: {figures['map']:.3f}, of {figures['true_segments']} "
        f"segments in {figures['recordings']} recordings",
        flush=True,
    )


if __name__ == "__main__":
    run_stage(evaluate_localizer, EvaluateLocalizerParams)
