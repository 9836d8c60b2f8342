"""Makes the embedded foundation models again: `python -m flows.pretrain_foundation [only=blip2_vision] [out=DIR]`.

Without `only` those that lines need; `only=resnet18` (resnet34, resnet50, clip) makes a start of the comparison of
classifiers, `only=r2plus1d_18` (r3d_18, mc3_18, videomae_small, i3d, i3d_flow) an extractor of clips, and
`only=yolov5s` (yolov5m) a start that `train_detector.size` asks for; it alone is not committed and goes to the cache.
Hours on two cores, seeded, and resumable: the corpus and the checkpoints lie in .lineact/cache. A Prefect flow with one
task per model, so that a server shows what is running.
"""

import sys
from pathlib import Path

from flows import command_line
from flows.pipeline import TINY
from lineact.errors import ConfigError
from lineact.foundation.tiny import MADE


def pretrain(only: str | None = None, out: Path | None = None) -> None:
    """Trains the models and writes a folder for each.

    Args:
        only: one of them; the BLIP-2 tower needs the teacher's checkpoint and trains it where there is none.
        out: where the models' folders go; None for their usual place.

    Raises:
        ConfigError: where `only` is none of them.
    """
    from prefect import flow, task

    from lineact.foundation import build
    from lineact.temporal.features.extractors import EMBEDDED
    from lineact.temporal.starts.build import build_start as build_extractor

    known = (*build.MODELS, *build.COMPARED, *build.LARGER_YOLOV5, *EMBEDDED)
    if only is not None and only not in known:
        raise ConfigError(f"argument only={only}: expected one of {', '.join(known)}")
    usual, made = (TINY, MADE) if out is None else (out, out)
    wanted = build.MODELS if only is None else (only,)

    @flow(name="pretrain_foundation")
    def pretrain_foundation() -> None:
        if "vit_teacher" in wanted or "blip2_vision" in wanted:
            teacher = task(build.build_teacher)(usual / "vit_teacher")
        if "blip2_vision" in wanted:
            seen = build.TEACHER_RUN.steps * build.TEACHER_RUN.batch
            task(build.build_blip2)(teacher.module, seen, usual / "blip2_vision")
        if "vit_student" in wanted:
            task(build.build_student)(usual / "vit_student")
        if "yolov5" in wanted:
            task(build.build_yolov5)(usual / "yolov5")
        if "grounding_dino" in wanted:
            task(build.build_grounding_dino)(usual / "grounding_dino")
        for start in set(wanted) & set(build.COMPARED):
            task(build.build_start)(start, usual / start)
        for name in set(wanted) & set(build.LARGER_YOLOV5):
            task(build.build_yolov5)(made / name, size=build.LARGER_YOLOV5[name])
        for name in set(wanted) & set(EMBEDDED):
            task(build_extractor)(name, usual / name)

    pretrain_foundation()


def main() -> None:
    """Reads the command line."""
    values = command_line.parse(sys.argv[1:], (), ("only", "out"))
    pretrain(values.get("only"), Path(values["out"]) if "out" in values else None)


if __name__ == "__main__":
    command_line.run(main)
