"""Stage `configure`: composes every active line's settings from conf/ and validates them into params.yaml."""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from lineact.annotation_cost import AnnotationCostParams
from lineact.benchmark import BenchmarkParams
from lineact.choose_student import ChooseStudentParams
from lineact.dataset import DatasetParams
from lineact.deadline import ReviewParams
from lineact.detect import BACKENDS, DetectParams
from lineact.distil import DistilParams
from lineact.drift.policy import DriftParams
from lineact.embed import EmbedParams
from lineact.errors import ConfigError, LineactError
from lineact.evaluate import EvaluateParams, EvaluatePicturesParams
from lineact.evaluate_crops import EvaluateCropsParams
from lineact.evaluate_events import EvaluateEventsParams
from lineact.evaluate_localizer import EvaluateLocalizerParams
from lineact.export import ExportParams
from lineact.features import FeaturesParams
from lineact.files import write_text
from lineact.import_crops import ImportCropsParams
from lineact.import_yolo import ImportYoloParams
from lineact.ingest import IngestParams
from lineact.looks import STAMP_DIGITS
from lineact.machine import MachineParams
from lineact.match import MatchParams
from lineact.queue import QueueParams
from lineact.register import RegisterParams
from lineact.scale import ComputeParams
from lineact.schedule import ScheduleParams
from lineact.settings import from_mapping
from lineact.simulate_review import SimulateReviewParams
from lineact.simulate_segments import SimulateSegmentsParams
from lineact.simulation import SimulateParams
from lineact.train_detector import TrainDetectorParams
from lineact.train_localizer import TrainLocalizerParams
from lineact.train_teacher import TrainTeacherParams

KINDS = {"simulation": "simulated_lines", "videos": "video_lines", "crops": "crop_lines", "yolo": "yolo_lines"}
# What stages ask of a line, and the kinds that have it: dvc.yaml can loop over a list only, not over several.
UNIONS = {
    "labelled_lines": ("crop_lines", "yolo_lines"),
    "recorded_lines": ("simulated_lines", "video_lines"),
    "detector_lines": ("simulated_lines", "video_lines", "yolo_lines"),
    "active_lines": tuple(KINDS.values()),
}
LOCALIZED = "localized_lines"  # those whose file says so
LISTS = (*KINDS.values(), *UNIONS, LOCALIZED)
LOCALIZING = ("features", "train_localizer", "evaluate_localizer")  # sections of localised lines alone
NEEDS_RECORDINGS = frozenset(
    {
        "ingest",
        "detect",
        "embed",
        "match",
        "queue",
        "dataset",
        "annotation_cost",
        "benchmark",
        "evaluate",
        *LOCALIZING,
        "register",
        "review",
        "schedule",
        "compute",
        "drift",
    }
)
NEEDS_BOXES = frozenset({"train_detector", "export"})
LACKING = {"crops": NEEDS_RECORDINGS | NEEDS_BOXES, "yolo": NEEDS_RECORDINGS}  # sections that a kind does not have
# What decides which crops are accepted and with what label: these sections, and of `dataset` these keys. What is left
# out changes no label: how much is done at once, what is tolerated or drawn, how many random crops may be asked.
ACCEPTING = ("ingest", "detect", "embed", "match", "queue")
ACCEPTING_OF_DATASET = ("actions", "labels", "min_iou", "holdout")
CHANGES_NO_LABEL = frozenset(
    {
        "audit_certify",
        "batch_size",
        "contact_sheet_frames",
        "holdout_frames",
        "max_bad_share",
        "min_hand_certainty",
        "shard_batches",
        "shard_frames",
    }
)
HEADER = "# Written by the stage `configure` from conf/. Edit conf/, not this file.\n"


@dataclass(frozen=True)
class LineParams:
    """Every section of params.yaml that a line may have, each a stage's or a flow's; a kind of line lacks some.

    Attributes:
        hub_cache: where weights of the hub are kept; no section, since no result depends on it.
        compute: where the recordings' stages are computed; no stage tracks it, likewise.
    """

    hub_cache: str
    train_teacher: TrainTeacherParams
    machine: MachineParams
    choose_student: ChooseStudentParams
    distil: DistilParams
    ingest: IngestParams | None = None
    detect: DetectParams | None = None
    embed: EmbedParams | None = None
    match: MatchParams | None = None
    queue: QueueParams | None = None
    dataset: DatasetParams | None = None
    annotation_cost: AnnotationCostParams | None = None
    train_detector: TrainDetectorParams | None = None
    export: ExportParams | None = None
    benchmark: BenchmarkParams | None = None
    evaluate: EvaluateParams | None = None
    register: RegisterParams | None = None
    review: ReviewParams | None = None
    schedule: ScheduleParams | None = None
    compute: ComputeParams | None = None
    drift: DriftParams | None = None
    simulate: SimulateParams | None = None
    simulate_review: SimulateReviewParams | None = None
    import_crops: ImportCropsParams | None = None
    import_yolo: ImportYoloParams | None = None
    evaluate_crops: EvaluateCropsParams | None = None
    evaluate_pictures: EvaluatePicturesParams | None = None
    evaluate_events: EvaluateEventsParams | None = None
    simulate_segments: SimulateSegmentsParams | None = None
    features: FeaturesParams | None = None
    train_localizer: TrainLocalizerParams | None = None
    evaluate_localizer: EvaluateLocalizerParams | None = None


# Keys of conf/config.yaml that sections refer to by interpolation; no stage receives them by themselves.
SHARED_KEYS = frozenset(
    {"line", "description", "source", "foundation", "actions", "seed", "holdout", "release", "localize"}
)


def configure(conf: Path, out: Path) -> None:
    """Composes and validates every active line and writes params.yaml.

    Raises:
        ConfigError: names the line's file, the key, what was expected and what was found.
    """
    lines = {line: compose_line(conf, line) for line in active_lines(conf)}
    _check_localized(conf, {line for line, sections in lines.items() if "features" in sections})
    write_text(out, HEADER + yaml.safe_dump({"lines": lines}, sort_keys=True, allow_unicode=True))


def _check_localized(conf: Path, wanted: set[str]) -> None:
    found = lists_of_lines(conf)[LOCALIZED]
    if wanted != set(found) or len(found) != len(set(found)):
        raise ConfigError(
            f"{conf}/lines.yaml: expected {LOCALIZED} to hold every active line whose file has `localize: true` once "
            f"({', '.join(sorted(wanted)) or 'none'}), found {found}; `make activate LINE=...` adds a line"
        )


def active_lines(conf: Path) -> list[str]:
    """Names of the lines that the pipeline runs, checked against conf/line/ and the lists by kind.

    Raises:
        ConfigError: where conf/lines.yaml cannot be read, contradicts itself or names a line without a file.
    """
    path, lists = conf / "lines.yaml", lists_of_lines(conf)
    for union, kinds in UNIONS.items():
        by_kind = [line for kind in kinds for line in lists[kind]]
        if sorted(by_kind) != sorted(lists[union]):
            raise ConfigError(
                f"{path}: expected {union} to hold every line of {', '.join(kinds)} once, "
                f"found {lists[union]} against {by_kind}"
            )
    for line in lists["active_lines"]:
        if not (conf / "line" / f"{line}.yaml").is_file():
            raise ConfigError(f"{path}: line {line!r} has no file {conf}/line/{line}.yaml; `make line` makes one")
    return lists["active_lines"]


def lists_of_lines(conf: Path) -> dict[str, list[str]]:
    """The lists of conf/lines.yaml: names of lines by kind, and the active ones.

    Raises:
        ConfigError: where the file is missing or is anything else than lists of names.
    """
    path = conf / "lines.yaml"
    lists = read_yaml(path)
    way_out = f"mend it, or bring it back with `git checkout {path}`"
    for name, lines in lists.items() if isinstance(lists, dict) else ():
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise ConfigError(
                f"{path}: {name}: expected a list of names ([] where there is none), found {lines!r}; {way_out}"
            )
        if twice := {line for line in lines if lines.count(line) > 1}:
            raise ConfigError(
                f"{path}: {name}: expected each line once, found {', '.join(sorted(twice))} twice: two lines cannot "
                "have one name; take one out, or give the other a file and a name of its own (`make line NAME=`)"
            )
    if not isinstance(lists, dict) or not set(LISTS) <= set(lists):
        raise ConfigError(f"{path}: expected the lists {', '.join(LISTS)}, found {lists!r}; {way_out}")
    return lists


def read_yaml(path: Path) -> Any:
    """A YAML file's content.

    Raises:
        ConfigError: where the file is missing or malformed.
    """
    way_out = f"mend it, or bring it back with `git checkout {path}`"
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected a YAML file, found nothing there; {way_out}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected YAML, found: {' '.join(str(error).split())}; {way_out}") from error


def compose_line(conf: Path, line: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The resolved sections of one line, validated.

    Args:
        conf: folder of the settings.
        line: its name.
        overrides: Hydra's, e.g. "localizer=temporalmaxer".

    Raises:
        ConfigError: on an unknown key, a wrong type, a value out of range or a line that does not compose.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    where = f"{conf}/line/{line}.yaml"
    try:
        with initialize_config_dir(config_dir=str(conf.resolve()), version_base="1.3"):
            composed = compose("config", overrides=[f"line={line}", *overrides])
            values: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"{where}: does not compose: {' '.join(str(error).split())}") from error
    sections = {field.name for field in fields(LineParams)}
    unknown = sorted(set(values) - sections - SHARED_KEYS)
    if unknown:
        known = ", ".join(sorted(sections | SHARED_KEYS))
        raise ConfigError(f"{where}: unknown key {', '.join(map(repr, unknown))}; known keys are {known}")
    lacking = LACKING.get(values["source"], frozenset())
    if not isinstance(values["localize"], bool) or (lacking and values["localize"]):
        expected = "false of a line without recordings" if lacking else "true or false"
        raise ConfigError(f"{where}: localize: expected {expected}, found {values['localize']!r}")
    if not values["localize"]:
        lacking |= set(LOCALIZING)
    unused = "spot" if values["train_localizer"]["learner"] == "pyramid" else "head"
    values["train_localizer"][unused] = None  # a line may keep settings of one while it tries another
    chosen = {name: values[name] for name in values if name in sections - lacking}
    if "detect" in chosen:
        _drop_unused_detectors(conf, chosen["detect"], where)
    if "dataset" in chosen:
        _tell_accepted_by(chosen, where)
    from_mapping(LineParams, chosen, where)
    return chosen


def _tell_accepted_by(chosen: dict[str, Any], where: str) -> None:
    """Puts `DatasetParams.accepted_by` into the sections that ask for it, a hash of the settings above."""
    if "accepted_by" in chosen["dataset"]:
        raise ConfigError(f"{where}: dataset.accepted_by tells the other settings and cannot be set; take it out")
    deciding = {name: chosen[name] for name in ACCEPTING}
    deciding["dataset"] = {name: chosen["dataset"].get(name) for name in ACCEPTING_OF_DATASET}
    told = hashlib.sha256(json.dumps(_without_needless(deciding), sort_keys=True).encode()).hexdigest()[:STAMP_DIGITS]
    chosen["dataset"]["accepted_by"] = told
    if "simulate_review" in chosen:
        chosen["simulate_review"]["dataset"]["accepted_by"] = told


def _without_needless(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {name: _without_needless(value) for name, value in values.items() if name not in CHANGES_NO_LABEL}


def _drop_unused_detectors(conf: Path, detect: dict[str, Any], where: str) -> None:
    """Drops what a line sets for detectors that it does not use: it may keep that while it tries another.

    Such settings are checked all the same, upon the defaults of their own detector.
    """
    for backend, settings_class in BACKENDS.items():
        if backend in detect and backend != detect.get("backend"):
            changed, where_there = detect.pop(backend), f"{where}: detect.{backend}"
            if not isinstance(changed, dict):
                raise ConfigError(f"{where_there}: expected a mapping of settings, found {changed!r}")
            defaults = yaml.safe_load((conf / "detector" / f"{backend}.yaml").read_text())[backend]
            from_mapping(settings_class, defaults | changed, where_there)


def main() -> None:
    """The command line of the stage."""
    parser = argparse.ArgumentParser(prog="python -m tasks.configure", description=configure.__doc__)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        configure(arguments.conf, arguments.out)
    except LineactError as error:
        print(f"configure: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
