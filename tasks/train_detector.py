"""Stage `train_detector`: YOLOv5 on the line's boxes."""

from pathlib import Path

from lineact import train_detector as detector
from lineact.train_detector import TrainDetectorParams
from tasks.stage import run_stage


def train_detector(params: TrainDetectorParams, *, detection: Path, tiny: Path, out: Path) -> None:
    """Trains the detector on the line's detection set and writes it with its scores and curves."""
    detector.train_detector(params, detection, tiny, out)


if __name__ == "__main__":
    run_stage(train_detector, TrainDetectorParams)
