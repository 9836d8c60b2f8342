"""Stage `train_localizer`: a head learns when each action begins and ends."""

from pathlib import Path

from lineact import train_localizer as training
from lineact.schema import VIDEOS, read_table
from lineact.temporal.activitynet import read_ground_truth
from lineact.train_localizer import TrainLocalizerParams
from tasks.stage import run_stage


def train_localizer(params: TrainLocalizerParams, *, features: Path, ingest: Path, segments: Path, out: Path) -> None:
    """Trains the line's localiser on the recordings that are not held out."""
    videos = read_table(ingest / "videos.parquet", VIDEOS)
    training.train_localizer(params, features, videos, read_ground_truth(segments), out)


if __name__ == "__main__":
    run_stage(train_localizer, TrainLocalizerParams)
