"""`python -m flows.compare_localizers lines=ua [extractors=...] [heads=...] [steps=4] [labelled=1,0.1] [seeds=0]`.

With `heads=spot changes=none,A,AB,ABC,ABCD,ABCDE` it writes the second paper's ablation: SPOT with these of its five
changes.

The second paper's table: extractor x head x step on each line's held-out recordings, average precision beside the cost
of the extraction. Networks that see clips take their embedded weights, which `python -m flows.pretrain_foundation
only=NAME` makes; a row without weights is marked. Features and trained heads are kept: the same command goes on.
"""

import sys

from flows import command_line

if __name__ == "__main__":
    command_line.run(
        lambda: command_line.begin_flow(("extractors", "heads", "steps", "labelled", "seeds", "changes"), "lines")
    )

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from itertools import product
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import tracking
from flows.command_line import names_of
from flows.one_run import only_run_of
from flows.pipeline import CONF, TINY
from lineact.compare.localizers import MARKDOWN, Choice, Station, Trial, run_trial, write_report
from lineact.errors import ConfigError, InputError
from lineact.evaluate_localizer import EvaluateLocalizerParams
from lineact.features import FeaturesParams
from lineact.files import write_whole
from lineact.machine import MachineParams, describe_machine
from lineact.schema import VIDEOS, read_table
from lineact.settings import from_mapping
from lineact.temporal.activitynet import read_ground_truth
from lineact.temporal.features.extractors import EMBEDDED, I3D_FLOW, NAMES
from lineact.temporal.features.opening import STUDENT
from lineact.temporal.parts import of_recordings
from lineact.temporal.spot import SpotChanges
from lineact.train_localizer import TrainLocalizerParams
from tasks.configure import LOCALIZED, compose_line, lists_of_lines

EXPERIMENT = "compare_localizers"
RESULTS = Path(".lineact/compare_localizers")
SPOT, NO_CHANGE = "spot", "none"
CHANGES = dict(zip("ABCDE", (field.name for field in fields(SpotChanges)), strict=True))  # as the second paper has them
EXTRACTORS = (STUDENT, *(name for name in EMBEDDED if name != I3D_FLOW))


@task(cache_policy=NO_CACHE, task_run_name="{station.line} {choice.name}")
def try_choice(station: Station, choice: Choice) -> Trial:
    """Extracts, trains and measures one choice, or takes what is kept of it."""
    return run_trial(station, choice)


@flow(name="compare_localizers", flow_run_name="compare localizers on {lines}")
def compare_localizers(
    lines: tuple[str, ...],
    extractors: tuple[str, ...] = EXTRACTORS,
    heads: tuple[str, ...] = ("actionformer", "temporalmaxer"),
    steps: tuple[int, ...] = (),
    labelled: tuple[float, ...] = (1.0,),
    seeds: tuple[int, ...] = (0,),
    changes: tuple[str, ...] = (),
) -> Path:
    """Compares localisers.

    Args:
        lines: names; each has `localize: true` and a released pair.
        extractors: names.
        heads: names of files in conf/localizer/.
        steps: frames from one clip to the next; none: the line's own.
        labelled: shares of the training recordings whose segments are used.
        seeds: of the trainings.
        changes: of SPOT, letters of `CHANGES` or `none`, each a row; none: as conf/localizer/spot.yaml has it.

    Returns:
        The folder with report.md, report.html, table.csv and the plot.

    Raises:
        ConfigError: on an unknown line, extractor or head.
        InputError: where a line's recordings, segments or pair are not there.
    """
    with only_run_of(EXPERIMENT):
        stations = [station_of(name) for name in lines]
        source = f"flows.compare_localizers {' '.join(sys.argv[1:])}"
        tags = {"lines": ",".join(lines), "git_commit": tracking.git_commit()}
        with tracking.comparison_run(EXPERIMENT, f"compare_localizers {','.join(lines)}", source, tags) as parent_id:
            trials = []
            for station in stations:
                for settings in product(extractors, steps or (None,), heads, labelled, seeds, changes or (None,)):
                    choice = choice_of(station.line, *settings)
                    trials.append(try_choice(station, choice))
                    log_trial(parent_id, trials[-1])
            write_whole(RESULTS, partial(_write, trials=trials))
            tracking.client().log_artifacts(parent_id, str(RESULTS))
        return RESULTS


def station_of(line: str) -> Station:
    """A line's recordings, segments and released pair.

    Raises:
        ConfigError: where the line is not localised.
        InputError: where something is not there yet.
    """
    if line not in (known := lists_of_lines(CONF)[LOCALIZED]):
        raise ConfigError(
            f"line {line!r}: expected one of the localised lines ({', '.join(known) or 'none'}); set `localize: true` "
            f"in conf/line/{line}.yaml and call `make activate LINE={line}`"
        )
    data, bundle = Path("data") / line, Path("models") / line / "export" / "bundle"
    videos, segments = data / "ingest" / "videos.parquet", data / "review" / "segments.json"
    for path in (videos, segments, bundle):
        if not path.exists():
            raise InputError(f"{path}: expected it, found nothing; `python -m flows.retrain line={line}` makes it")
    table = read_table(videos, VIDEOS)
    truth = of_recordings(read_ground_truth(segments), table["name"].to_pylist())
    return Station(line, table, data / "raw", bundle, truth)


def choice_of(
    line: str, extractor: str, step: int | None, head: str, labelled: float, seed: int, of_spot: str | None = None
) -> Choice:
    """The line's settings with these changes.

    Raises:
        ConfigError: where they do not compose.
    """
    if of_spot is not None and (head != SPOT or not (of_spot == NO_CHANGE or set(of_spot) <= set(CHANGES))):
        raise ConfigError(
            f"changes: expected heads={SPOT} and letters of {''.join(CHANGES)} or {NO_CHANGE}, found heads={head} and "
            f"{of_spot!r}"
        )
    if extractor not in (STUDENT, *NAMES):
        raise ConfigError(f"extractors: expected some of {', '.join((STUDENT, *NAMES))}, found {extractor!r}")
    if not (CONF / "localizer" / f"{head}.yaml").is_file():
        known = ", ".join(sorted(path.stem for path in (CONF / "localizer").glob("*.yaml")))
        raise ConfigError(f"heads: expected some of {known} (conf/localizer/), found {head!r}")
    weights = "null" if extractor == STUDENT else str(TINY / extractor)
    changes = [f"localizer={head}", f"train_localizer.labelled_share={labelled}", f"train_localizer.seed={seed}"]
    changes += [f"features.extractor.name={extractor}", f"features.extractor.weights={weights}"]
    if extractor != STUDENT:
        changes.append("features.clips.stack=16")  # as the papers have it
    if step is not None:
        changes.append(f"features.clips.step={step}")
    if of_spot is not None:
        made = "" if of_spot == NO_CHANGE else of_spot
        changes += [f"train_localizer.spot.changes.{key}={letter in made}" for letter, key in CHANGES.items()]
    sections = compose_line(CONF, line, changes)
    where = f"conf/line/{line}.yaml with {' '.join(changes)}"
    return Choice(
        head if of_spot is None else f"{head} {of_spot}",
        from_mapping(FeaturesParams, sections["features"], where),
        from_mapping(TrainLocalizerParams, sections["train_localizer"], where),
        from_mapping(EvaluateLocalizerParams, sections["evaluate_localizer"], where),
    )


def log_trial(parent_id: str, trial: Trial) -> None:
    """Makes the trial a run in MLflow, beside the others of its comparison."""
    choice, figures = trial.choice, trial.figures or {}
    metrics = {name: float(value) for name, value in figures.items() if value is not None}
    params = {"head": choice.head, "features": choice.features, "labelled": choice.training.labelled_share}
    tags = {"line": trial.line, "extractor": choice.features.extractor.name, "head": choice.head}
    if trial.marked:
        tags["marked"] = trial.marked
    tracking.log_compared(parent_id, EXPERIMENT, f"{trial.line} {choice.name}", tags, params, metrics)


def _write(folder: Path, *, trials: Sequence[Trial]) -> None:
    folder.mkdir()
    machine = describe_machine(MachineParams(("openvino",)))
    write_report(folder, trials, trials[0].choice.evaluation.t_ious[0], f"{machine['cores']} cores, {machine['cpu']}")


def main() -> None:
    """`lines=ua [extractors=a,b] [heads=a,b] [steps=2,4] [labelled=1,0.1] [seeds=0,1] [changes=none,A]`; empty values
    count as none.
    """
    known = ("extractors", "heads", "steps", "labelled", "seeds", "changes")
    values = command_line.parse(sys.argv[1:], ("lines",), known)
    asked = {name: names_of(values[name]) for name in ("extractors", "heads", "changes") if values.get(name)}
    try:
        steps = tuple(int(word) for word in names_of(values.get("steps", "")))
        seeds = tuple(int(word) for word in names_of(values.get("seeds", "0") or "0"))
        labelled = tuple(float(word) for word in names_of(values.get("labelled", "1") or "1"))
    except ValueError as error:
        raise ConfigError(f"steps and seeds: expected whole numbers, labelled: shares, found {error}") from error
    folder = compare_localizers(names_of(values["lines"]), **asked, steps=steps, labelled=labelled, seeds=seeds)
    print((folder / MARKDOWN).read_text())
    print(f"report and plot are in {folder}, and in MLflow (`make ui`, experiment lineact-{EXPERIMENT})")


if __name__ == "__main__":
    command_line.run(main)
