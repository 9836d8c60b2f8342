"""Stage `choose_student`: which student this machine has time for."""

from pathlib import Path

from lineact.choose_student import ChooseStudentParams
from lineact.files import write_json, write_metrics
from tasks.stage import run_stage


def choose_student(
    params: ChooseStudentParams, *, crops: Path, teacher: Path, machine: Path, tiny: Path, wide: Path, out: Path
) -> None:
    """Chooses a student by latency and accuracy, or says that it is fixed."""
    if params.distil.student == "fixed":
        # The same bytes on every machine, so that none of them trains the student again.
        write_json(out / "start" / "fixed.json", {"student": "fixed"})
        write_metrics(out, {"candidates": 0})
        return
    from lineact.choose_student.choosing import choose

    choose(params, crops, teacher, machine, (tiny, wide), out)


if __name__ == "__main__":
    run_stage(choose_student, ChooseStudentParams)
