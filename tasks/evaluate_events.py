"""Stage `evaluate_events`: what the station would have reported over the held-out time, against what happened."""

from pathlib import Path

from lineact.evaluate_events import EvaluateEventsParams, evaluate_held_out, event_metrics, write_events
from lineact.files import write_metrics
from lineact.runtime.recognise import open_bundle
from lineact.runtime.settings import RecogniseSettings
from lineact.schema import TRUTH_BOXES, VIDEOS, read_table
from tasks.stage import run_stage


def evaluate_events(
    params: EvaluateEventsParams, *, raw: Path, ingest: Path, simulate: Path, export: Path, out: Path
) -> None:
    """Scores the released pair's events on the held-out part of simulated recordings."""
    held_out = evaluate_held_out(
        params,
        open_bundle(export / "bundle", RecogniseSettings()),
        read_table(ingest / "videos.parquet", VIDEOS),
        read_table(simulate / "truth_boxes.parquet", TRUTH_BOXES),
        raw,
    )
    write_events(out / "events.csv", held_out)
    write_metrics(out, event_metrics(held_out))


if __name__ == "__main__":
    run_stage(evaluate_events, EvaluateEventsParams)
