"""Makes the embedded foundation models again: `python -m flows.pretrain_foundation [only=blip2_vision] [out=DIR]`.

Hours on two cores, seeded, and resumable: the corpus and the checkpoints lie in .lineact/cache. A Prefect flow with one
task per model, so that a server shows what is running.
"""

import sys
from pathlib import Path

from flows import command_line
from flows.pipeline import TINY
from lineact.errors import ConfigError


def pretrain(only: str | None = None, out: Path = TINY) -> None:
    """Trains the models and writes a folder for each.

    Args:
        only: one of them; the BLIP-2 tower needs the teacher's checkpoint and trains it where there is none.
        out: where the models' folders go.

    Raises:
        ConfigError: where `only` is none of them.
    """
    from prefect import flow, task

    from lineact.foundation import build

    if only is not None and only not in build.MODELS:
        raise ConfigError(f"argument only={only}: expected one of {', '.join(build.MODELS)}")
    wanted = build.MODELS if only is None else (only,)

    @flow(name="pretrain_foundation")
    def pretrain_foundation() -> None:
        if "vit_teacher" in wanted or "blip2_vision" in wanted:
            teacher = task(build.build_teacher)(out / "vit_teacher")
        if "blip2_vision" in wanted:
            seen = build.TEACHER_RUN.steps * build.TEACHER_RUN.batch
            task(build.build_blip2)(teacher.module, seen, out / "blip2_vision")
        if "vit_student" in wanted:
            task(build.build_student)(out / "vit_student")
        if "yolov5" in wanted:
            task(build.build_yolov5)(out / "yolov5")
        if "grounding_dino" in wanted:
            task(build.build_grounding_dino)(out / "grounding_dino")

    pretrain_foundation()


def main() -> None:
    """Reads the command line."""
    values = command_line.parse(sys.argv[1:], (), ("only", "out"))
    pretrain(values.get("only"), Path(values.get("out", TINY)))


if __name__ == "__main__":
    command_line.run(main)
