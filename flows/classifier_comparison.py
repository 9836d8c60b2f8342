"""What `flows.compare_classifiers` compares: lines with their test crops, choices with their starts, and MLflow."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeVar

from flows import tracking
from flows.classifier_choices import choices_of, classifier_of
from flows.pipeline import CONF, IMPORTS, TINY, has_recordings, stages_of
from lineact.classifiers.settings import ClassifierParams
from lineact.classifiers.starts import start_of_choice
from lineact.compare.classifiers.folds import leave_out
from lineact.compare.classifiers.heldout import (
    FILE,
    SIMULATED_FPS,
    CutParams,
    cut_by_person,
    cut_by_simulator,
    held_out_crops,
)
from lineact.compare.classifiers.scores import trial_metrics
from lineact.compare.classifiers.trials import Choice, Line, Trial
from lineact.context import ContextParams
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file
from lineact.imported.split import FileSplitParams
from lineact.leave_one_out import By
from lineact.settings import from_mapping
from lineact.splits import HoldoutParams, ValidationParams
from lineact.training.start import start_key
from tasks.stage import PARAMS_FILE, prepare_hub, section_of

Foundation = Literal["tiny", "hub"]
EXPERIMENT = "compare_classifiers"
Settings = TypeVar("Settings")


def line_of(name: str) -> Line:
    """A line's data, its test crops cut where they were not before.

    Raises:
        ConfigError: where the line is not active.
        InputError: where it has no data set yet, or no test crops.
    """
    stages = stages_of(name)
    prepare_hub(section_of(name, "hub_cache"))
    data = Path("data") / name
    crops = data / "dataset" / "crops.parquet"
    _must_exist(name, crops, "the line's labelled crops")
    training = section_of(name, "train_teacher")
    labels = (*training["actions"], "NG")
    gap_s = float(training["split_gap_s"])
    path, how = _held_out(name, data, stages)
    held_out = held_out_crops(path, labels, crops, gap_s, how)
    return Line(name, labels, crops, sha256_of_file(crops), gap_s, held_out)


def lines_with_one_left_out(names: Sequence[str], by: By) -> tuple[tuple[Line, ...], dict[str, str]]:
    """Each recording of these lines, or each of the lines, left out and tested on, see `leave_out`.

    Raises:
        ConfigError: where a line is not active.
        InputError: where a line has no data set yet, parts leak, or nothing can be left out.
    """
    lines = [line_of(name) for name in names]
    return leave_out(lines, by, {line.name: _validation_of(line.name) for line in lines})


def _validation_of(name: str) -> ValidationParams:
    """How a line splits off its validation crops: by recordings or stretches of seconds, or of file numbers."""
    if has_recordings(name):
        return _settings_of(name, "dataset", "validation", ValidationParams)
    (stage,) = set(IMPORTS) & set(stages_of(name))
    split = _settings_of(name, stage, "split", FileSplitParams)
    by = "time" if split.by == "name_block" else split.by
    return ValidationParams(split.validation_share, by, split.block, split.guard)


def _settings_of(line: str, stage: str, key: str, kind: type[Settings]) -> Settings:
    return from_mapping(kind, section_of(line, stage)[key], f"{PARAMS_FILE}: lines.{line}.{stage}.{key}")


def _held_out(name: str, data: Path, stages: Sequence[str]) -> tuple[Path, str]:
    """The table of a line's test crops and where they come from, in words."""
    imported = data / "dataset" / FILE
    if imported.is_file():
        return imported, "labelled crops that came with the data"
    dataset = section_of(name, "dataset")
    looks = from_mapping(ContextParams, dataset["short_context"], f"{PARAMS_FILE}: lines.{name}.dataset.short_context")
    cut = CutParams(context=float(dataset["context"]), crop_px=dataset["crop_px"], lags_s=looks.lags_s)
    _must_exist(name, data / "raw", "the line's recordings")
    if "simulate" in stages:
        truth, videos = data / "simulate" / "truth_boxes.parquet", data / "ingest" / "videos.parquet"
        _must_exist(name, truth, "the simulator's truth")
        _must_exist(name, videos, "the table of recordings")
        holdout = _settings_of(name, "dataset", "holdout", HoldoutParams)
        how = f"the simulator's own boxes and actions, {SIMULATED_FPS:g} frames a second of the held-out recordings"
        return cut_by_simulator(data / "raw", truth, videos, holdout, cut), how
    holdout_boxes = data / "dataset" / "holdout.parquet"
    _must_exist(name, holdout_boxes, "truth on held-out frames")
    return cut_by_person(data / "raw", holdout_boxes, cut), "boxes and actions that a person decided on held-out frames"


def _must_exist(line: str, path: Path, what: str) -> None:
    if not path.exists():
        raise InputError(f"{path}: expected {what}, found nothing; `python -m flows.retrain line={line}` makes it")


def compared_choice(name: str, foundation: Foundation = "tiny", overrides: Sequence[str] = ()) -> Choice:
    """A choice of conf/classifier/ with its start and its teacher.

    Args:
        name: of its file.
        foundation: embedded-size, or full-size.
        overrides: Hydra's, of this choice and not of its teacher.

    Raises:
        ConfigError: where there is no such choice, it does not compose, or its teacher is taught itself.
        InputError: where a start cannot be found.
    """
    return choice_with(name, classifier_of(CONF, name, foundation, overrides), foundation)


def choice_with(name: str, params: ClassifierParams, foundation: Foundation) -> Choice:
    """A choice with these settings, likewise."""
    if params.distil is None:
        return _started(name, params, teach_epochs=_teach_epochs(name, foundation))
    teacher = classifier_of(CONF, params.distil.teacher, foundation)
    if teacher.distil is not None:
        raise ConfigError(
            f"conf/classifier/{name}.yaml: distil.teacher: expected a choice that learns from labels alone, found "
            f"{params.distil.teacher!r}, which has a teacher itself"
        )
    taught_by = _started(params.distil.teacher, teacher, teach_epochs=params.distil.teach_epochs)
    return _started(name, params, teacher=taught_by)


def _started(
    name: str, params: ClassifierParams, *, teach_epochs: int | None = None, teacher: Choice | None = None
) -> Choice:
    start = start_of_choice(params, TINY)
    key = None if start is None else start_key(start, params.revision)
    return Choice(name, params, start, key, _pretraining_crops(start), teach_epochs, teacher)


def _pretraining_crops(start: str | None) -> int | None:
    """What the card of an embedded start says."""
    card = Path(start or "") / "README.md"
    found = re.search(r"^- Seen: (\d+) pictures", card.read_text(), re.MULTILINE) if start and card.is_file() else None
    return int(found[1]) if found else None


def _teach_epochs(name: str, foundation: Foundation) -> int | None:
    """Of the first choice that this one teaches: one training then serves both, compared together or not."""
    for other in choices_of(CONF):
        distil = classifier_of(CONF, other, foundation).distil
        if distil is not None and distil.teacher == name:
            return distil.teach_epochs
    return None


def log_trial(parent_id: str, trial: Trial, choice: Choice, line: Line) -> str:
    """Logs a trial as a finished child run; returns its id. All trials have the same names of figures."""
    facts = {name: value for name, value in asdict(trial.facts).items() if isinstance(value, int | float)}
    facts.pop("from_scratch")
    return tracking.log_compared(
        parent_id,
        EXPERIMENT,
        f"{trial.choice} {trial.line} {trial.seed}",
        {"line": trial.line, "lineact.kind": "compared_classifier"},
        {
            "choice": trial.choice,
            "line": trial.line,
            "seed": trial.seed,
            "start": choice.start or "random weights",
            "settings": asdict(choice.params),
        },
        trial_metrics(trial, line) | facts,
        [asdict(record) for record in trial.history],
    )
