"""`python -m flows.compare_classifiers lines=demo,gi_d [seeds=0,1,2] [choices=...] [leave=line]`.

The papers' table: every choice of conf/classifier on every line with every seed, the same crops and splits, tested on
crops that neither trained nor validated. A finished training is kept; the same command goes on where it was stopped.
Starts are embedded-size; `foundation=hub` takes full-size ones. A choice without a start begins from random weights,
and the table says so.
`leave=recording` tests on each recording of a line that the others train for, `leave=line` on each line.
With `-m` it is a grid of settings, see `flows.classifier_sweep`.
"""

import sys

from flows import command_line

if __name__ == "__main__" and "-m" not in sys.argv[1:]:
    command_line.run(lambda: command_line.begin_flow(("seeds", "choices", "foundation", "leave"), "lines"))

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import tracking
from flows.classifier_choices import choices_of
from flows.classifier_comparison import (
    EXPERIMENT,
    Foundation,
    compared_choice,
    line_of,
    lines_with_one_left_out,
    log_trial,
)
from flows.classifier_sweep import grid
from flows.command_line import names_of
from flows.one_run import only_run_of
from flows.pipeline import CONF
from lineact.compare.classifiers.calls import time_calls
from lineact.compare.classifiers.plots import draw_plots
from lineact.compare.classifiers.report import MARKDOWN, Findings, write_report
from lineact.compare.classifiers.scores import Compared, paired_choices, table_rows, versus
from lineact.compare.classifiers.trials import Choice, Line, Trial, run_trial
from lineact.errors import ConfigError, InputError, LineactError
from lineact.files import write_whole
from lineact.leave_one_out import By
from lineact.machine import MachineParams, describe_machine

RESULTS = Path(".lineact/compare_classifiers")
SEEDS = (0, 1, 2)


@task(cache_policy=NO_CACHE, task_run_name="{choice.name} {line.name} {seed}")
def try_choice(choice: Choice, line: Line, seed: int) -> Trial:
    """Trains and tests one choice, or takes what is kept of it."""
    return run_trial(choice, line, seed)


@flow(name="compare_classifiers", flow_run_name="compare classifiers on {lines}")
def compare_classifiers(
    lines: tuple[str, ...],
    seeds: tuple[int, ...] = SEEDS,
    choices: tuple[str, ...] = (),
    foundation: Foundation = "tiny",
    leave: By | None = None,
) -> Path:
    """Compares classifiers; a choice that cannot be trained is left out, and the report says why.

    Args:
        lines: names.
        seeds: of the trainings.
        choices: names; all where there is none.
        foundation: embedded-size, or full-size.
        leave: what is left out in turn and tested on; None for the lines' own test crops.

    Returns:
        The folder with report.md, report.html, table.csv and the plots.

    Raises:
        ConfigError: on an unknown line or choice.
        InputError: where a line has no data set or test crops, or no choice could be trained.
    """
    with only_run_of(EXPERIMENT):
        asked = [compared_choice(name, foundation) for name in choices or choices_of(CONF)]
        data, refused = lines_with_one_left_out(lines, leave) if leave else ([line_of(name) for name in lines], {})
        source = f"flows.compare_classifiers lines={','.join(lines)} seeds={','.join(map(str, seeds))}"
        source += f" leave={leave}" if leave else ""
        tags = {"lines": ",".join(lines), "git_commit": tracking.git_commit()}
        with tracking.comparison_run(EXPERIMENT, f"compare_classifiers {','.join(lines)}", source, tags) as parent_id:
            trials, children, left_out = _all_trials(parent_id, asked, data, seeds)
            kept = tuple(choice for choice in asked if choice.name not in left_out)
            if not kept:
                raise InputError("; ".join(f"{name}: {reason}" for name, reason in left_out.items()))
            compared = Compared(
                kept, tuple(data), seeds, {key: one for key, one in trials.items() if key[0] not in left_out}
            )
            findings = _findings(compared, refused | left_out)
            write_whole(RESULTS, partial(_write, findings=findings))
            _log_findings(parent_id, children, findings)
        return RESULTS


Key = tuple[str, str, int]  # choice, line, seed


def _all_trials(
    parent_id: str, choices: Sequence[Choice], lines: Sequence[Line], seeds: Sequence[int]
) -> tuple[dict[Key, Trial], dict[Key, str], dict[str, str]]:
    """Trials, their runs in MLflow, and why some choices are left out."""
    trials: dict[Key, Trial] = {}
    children: dict[Key, str] = {}
    left_out: dict[str, str] = {}
    for choice in choices:
        try:
            for line in lines:
                for seed in seeds:
                    trial = try_choice(choice, line, seed)
                    trials[choice.name, line.name, seed] = trial
                    children[choice.name, line.name, seed] = log_trial(parent_id, trial, choice, line)
        except LineactError as error:
            print(f"{choice.name} is left out: {error}", flush=True)
            left_out[choice.name] = str(error)
    return trials, children, left_out


def _findings(compared: Compared, left_out: dict[str, str]) -> Findings:
    first = compared.lines[0].name, compared.seeds[0]
    calls = time_calls({choice.name: compared.trials[choice.name, *first].folder for choice in compared.choices})
    pairs = [pair for choice, other in paired_choices(compared) for pair in versus(compared, choice, other)]
    machine = describe_machine(MachineParams(("openvino",)))
    return Findings(
        compared, table_rows(compared, calls), pairs, f"{machine['cores']} cores, {machine['cpu']}", left_out
    )


def _write(folder: Path, *, findings: Findings) -> None:
    folder.mkdir()
    write_report(folder, findings, draw_plots(folder, findings.compared, findings.rows))


def _log_findings(parent_id: str, children: dict[Key, str], findings: Findings) -> None:
    """Figures of the choices to the parent, call times to their trials, and the report."""
    from mlflow.entities import Metric

    store = tracking.client()
    for row in findings.rows:
        calls = {"call_p50_ms": row.call.p50_ms, "call_p95_ms": row.call.p95_ms}
        for (choice, _, _), child_id in children.items():
            if choice == row.choice:
                store.log_batch(child_id, metrics=[Metric(name, value, 0, 0) for name, value in calls.items()])
        figures = {"accuracy": row.average.value, "accuracy_low": row.average.low, "accuracy_high": row.average.high}
        figures |= {f"accuracy_{line}": found.value for line, found in row.by_line.items()} | calls
        metrics = [Metric(f"{row.choice}.{name}", value, 0, 0) for name, value in figures.items()]
        store.log_batch(parent_id, metrics=metrics)
    store.log_artifacts(parent_id, str(RESULTS))


def main() -> None:
    """`lines=demo,gi_d [seeds=0,1,2] [choices=a,b] [foundation=hub] [leave=recording]`, or `-m ...`."""
    if "-m" in sys.argv[1:]:
        grid()
        return
    values = command_line.parse(sys.argv[1:], ("lines",), ("seeds", "choices", "foundation", "leave"))
    folder = compare_classifiers(
        names_of(values["lines"]),
        seeds_of(values.get("seeds", "")),
        names_of(values.get("choices", "")),
        foundation_of(values.get("foundation", "")),
        left_out_by(values.get("leave", "")),
    )
    print((folder / MARKDOWN).read_text())
    print(
        f"report.html, table.csv and plots are in {folder}, and in MLflow (`make ui`, experiment lineact-{EXPERIMENT})"
    )


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds with commas between; SEEDS where there is none.

    Raises:
        ConfigError: where one is no number from 0 on, or given twice.
    """
    names = names_of(text)
    if not all(name.isdecimal() for name in names):
        raise ConfigError(f"seeds={text}: expected numbers from 0 on with commas between, e.g. seeds=0,1,2")
    return tuple(map(int, names)) or SEEDS


def foundation_of(text: str) -> Foundation:
    """Which starts; the embedded ones where nothing is said.

    Raises:
        ConfigError: on another word.
    """
    if text in ("", "tiny"):
        return "tiny"
    if text != "hub":
        raise ConfigError(f"foundation={text}: expected tiny or hub")
    return "hub"


def left_out_by(text: str) -> By | None:
    """What is left out in turn; nothing where nothing is said.

    Raises:
        ConfigError: on another word.
    """
    for by in get_args(By):
        if text == by:
            return by
    if text:
        raise ConfigError(f"leave={text}: expected {' or '.join(get_args(By))}, or nothing")
    return None


if __name__ == "__main__":
    command_line.run(main)
