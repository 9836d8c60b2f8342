"""dvc.yaml, dvc.lock and params.yaml as the flows see them: which stages a line has, in order, and what they made."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from lineact.errors import ConfigError, InputError
from tasks.configure import lists_of_lines

CONF = Path("conf")
LINES_FILE = CONF / "lines.yaml"
TINY = Path("models/foundation/tiny")  # the embedded weights
GATE = "dataset"  # the first stage that needs a person's decisions
IMPORTS = ("import_crops", "import_yolo")  # of lines whose labels come with their pictures, which have no gate


def stages_of(line: str) -> list[str]:
    """Names of the line's stages in the order of dvc.yaml, without `configure`.

    Raises:
        ConfigError: where the line is not active, or conf/lines.yaml cannot be read.
    """
    lists = lists_of_lines(CONF)
    if line not in lists["active_lines"]:
        active = ", ".join(lists["active_lines"])
        known = sorted(path.stem for path in (CONF / "line").glob("*.yaml"))
        way_out = f"`make activate LINE={line}`" if line in known else f"`make line NAME={line} VIDEOS=DIR`"
        raise ConfigError(f"{LINES_FILE}: unknown line {line!r}; active lines are {active}. To add it: {way_out}")
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    return [
        stage
        for stage, entry in stages.items()
        if "foreach" in entry and line in lists[entry["foreach"].removeprefix("${").removesuffix("}")]
    ]


def labelling_and_training(line: str) -> tuple[list[str], list[str]]:
    """The line's stages before and after its labels stand: at the review gate, or at their import.

    Raises:
        ConfigError: as `stages_of`.
    """
    stages = stages_of(line)
    if GATE in stages:
        first = stages.index(GATE)
    else:
        first = 1 + max(stages.index(stage) for stage in IMPORTS if stage in stages)
    return stages[:first], stages[first:]


def has_recordings(line: str) -> bool:
    """Whether the line has recordings to label, to review and to be measured on."""
    return GATE in stages_of(line)


def refuse_without_recordings(line: str) -> None:
    """Lets a line with recordings through.

    Raises:
        ConfigError: where its labels come with its pictures, or as `stages_of`.
    """
    if not has_recordings(line):
        raise ConfigError(
            f"line {line} has no recordings: its labels come with its pictures, so there is no queue, no review and no "
            f"release; `python -m flows.retrain line={line}` trains what can be trained"
        )


def lock_entry(stage: str, line: str) -> dict[str, Any]:
    """What dvc.lock says of a stage: its command, the hashes of its dependencies and outputs, its params."""
    return _lock_entries()[f"{stage}@{line}"]


def has_run(stage: str, line: str) -> bool:
    """Whether dvc.lock knows a result of the stage, of today's settings or of others."""
    return Path("dvc.lock").is_file() and f"{stage}@{line}" in _lock_entries()


def refuse_without_truth(line: str, stage: str) -> None:
    """Lets a simulated line through, one of whose stages has run.

    Raises:
        ConfigError: where it is on real video, whose truth nobody knows, or as `stages_of`.
        InputError: where the stage has not run.
    """
    if "simulate" not in stages_of(line):
        raise ConfigError(f"line {line}: expected a simulated line, whose truth is known, found one on real video")
    if not has_run(stage, line):
        raise InputError(
            f"dvc.lock: expected a result of {stage}@{line}, found none; run `python -m flows.retrain line={line}`"
        )


def _lock_entries() -> dict[str, Any]:
    lock = yaml.safe_load(Path("dvc.lock").read_text()) or {}  # DVC, killed while it writes, leaves an empty file
    return lock.get("stages", {})


def stage_key(stage: str, line: str) -> str:
    """Hash of what a stage's result depends on: command, dependencies and params, as dvc.lock has them."""
    entry = lock_entry(stage, line)
    depends = {
        "cmd": entry["cmd"],
        "deps": {dependency["path"]: dependency.get("md5") for dependency in entry.get("deps", [])},
        "params": entry.get("params", {}),
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def outs_of(stage: str, line: str) -> list[Path]:
    """Paths of a stage's outputs."""
    return [Path(out["path"]) for out in lock_entry(stage, line).get("outs", [])]


def artefact_folder(stage: str, line: str) -> Path:
    """The output folder that carries the stage's own name."""
    return next(path for path in outs_of(stage, line) if path.name == stage)


def metrics_of(stage: str, line: str) -> dict[str, float | None]:
    """The stage's metrics.json; empty where it has none."""
    path = artefact_folder(stage, line) / "metrics.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def hash_of_data_set(line: str) -> str:
    """DVC's hash of the folder data/<line>/dataset.

    Raises:
        KeyError: where no run has made it yet.
    """
    made_by = GATE if has_recordings(line) else labelling_and_training(line)[0][-1]
    outs = lock_entry(made_by, line)["outs"]
    return next(out["md5"] for out in outs if Path(out["path"]).name == "dataset")


def hash_of_out(stage: str, line: str) -> str:
    """DVC's hash of the output folder that carries the stage's name."""
    folder = artefact_folder(stage, line).as_posix()
    return next(out["md5"] for out in lock_entry(stage, line)["outs"] if out["path"] == folder)
