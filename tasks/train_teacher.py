"""Stage `train_teacher`: a large ViT adapted by LoRA to the line's actions."""

from pathlib import Path

from lineact import train_teacher as teacher
from lineact.train_teacher import TrainTeacherParams
from tasks.stage import run_stage


def train_teacher(params: TrainTeacherParams, *, crops: Path, tiny: Path, out: Path) -> None:
    """Adapts the teacher to the line's labelled crops and writes it merged, with its scores and curves."""
    teacher.train_teacher(params, crops, tiny, out)


if __name__ == "__main__":
    run_stage(train_teacher, TrainTeacherParams)
