"""Stage `distil`: a small ViT learns from the teacher."""

from pathlib import Path

from lineact import distil as student
from lineact.distil import DistilParams
from tasks.stage import run_stage


def distil(params: DistilParams, *, crops: Path, teacher: Path, chosen: Path, tiny: Path, out: Path) -> None:
    """Trains the student on the line's labelled crops and the teacher's answers."""
    student.distil(params, crops, teacher, chosen, tiny, out)


if __name__ == "__main__":
    run_stage(distil, DistilParams)
