"""MLflow as a projection of DVC's state: one parent run per pipeline run, one child per stage result.

A child is found again by its stage key (command, dependency hashes, params of dvc.lock). A stage that was restored or
unchanged points to the earlier child; where the database was lost, the child is made anew from the stage's outputs.
"""

import contextlib
import getpass
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.csv

from flows.checkout import checkout_of
from flows.dvc_stage import StageResult
from flows.patience import MlflowAwayError, is_away, patient
from flows.pipeline import artefact_folder, hash_of_data_set, lock_entry, metrics_of, stage_key
from flows.services import artifacts_of, refuse_unsafe
from lineact.files import sha256_of_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAIR = (
    "detection_recall_iou40",
    "detection_accuracy_iou40",
    "detection_map50",
    "action_accuracy",
    "action_macro_f1",
    "ng_recall",
)
HEADLINES = {
    "dataset": ("crops_train", "crops_val", "certificate_error", "certificate_upper"),
    "import_crops": ("crops_train", "crops_val", "crops_holdout"),
    "import_yolo": ("crops_train", "crops_val", "crops_holdout"),
    "annotation_cost": ("hours_all", "hours_all_by_hand"),
    "evaluate_crops": ("student_accuracy", "student_macro_f1", "teacher_accuracy", "majority_accuracy"),
    "evaluate": PAIR,
    "evaluate_pictures": PAIR,
    "features": ("real_time_factor",),
    "evaluate_localizer": ("map", "edit"),
    "benchmark": (
        "classifier_p50_ms",
        "classifier_p95_ms",
        "classifier_p99_ms",
        "pair_p99_ms",
        "frame_p95_ms",
        "event_p95_ms",
    ),
}
WRITTEN_BY_A_RUN = ("dvc.lock", "params.yaml")
NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")  # characters that MLflow refuses in the name of a parameter
CHECKOUT_TAG = "lineact.checkout"  # several checkouts may share one tracking server, but not the lock of a line
FLOW_RUN_TAG = "lineact.flow_run"  # Prefect's id of the flow run
CURVE_STEP_COLUMN = "epoch"
SHOWN_CHARACTERS = 500  # of a parameter's value in MLflow's table; MLflow itself would cut at 6,000 with a mere warning
PARAMS_FILE = "params.json"  # among a child's artifacts: every value whole


def client() -> "MlflowClient":
    """A client of the tracking database.

    Raises:
        ConfigError: where the settings of the plant's services are wrong.
        InputError: where others can read the files with their passwords.
    """
    from mlflow import MlflowClient

    refuse_unsafe()
    return MlflowClient()


def experiment_id(line: str) -> str:
    """The line's experiment, made at first use."""
    found = client().get_experiment_by_name(f"lineact-{line}")
    if found:
        return found.experiment_id
    # else MLflow opens it among chats and traces
    tags = {"mlflow.experimentKind": "custom_model_development"}
    return client().create_experiment(f"lineact-{line}", artifact_location=_artifacts_of(line), tags=tags)


def _artifacts_of(line: str) -> str | None:
    """Where a new experiment's artefacts go; None for where MLflow or its server puts them.

    Without a server MLflow would put those that a scheduled run logs first into the run's worktree, which goes.
    """
    from mlflow import get_tracking_uri

    in_store = artifacts_of(f"lineact-{line}")
    checkout = checkout_of(Path.cwd())
    if in_store or checkout == Path.cwd() or get_tracking_uri().startswith("http"):
        return in_store
    return str(checkout / "mlruns" / f"lineact-{line}")


@contextlib.contextmanager
def parent_run(line: str, parent_id: str | None = None) -> Iterator[str]:
    """The parent run of a pipeline run: the one that another flow opened, or one of its own.

    Its own is closed with the hashes of what it rests on, as FAILED where the block raises, as KILLED where it is
    interrupted. Whoever opens one holds the line, so that a run that still counts as going on was killed: it goes on
    where it is of the same flow run, else it is closed. Where MLflow is away for too long, it is left open.

    Args:
        line: the line.
        parent_id: the run id, where another flow opened it and will close it.

    Yields:
        its run id.
    """
    if parent_id is not None:
        yield parent_id
        return
    parent_id = _open_parent(line)
    try:
        yield parent_id
    except MlflowAwayError:
        raise
    except BaseException as error:
        _end_broken(parent_id, line, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    patient(end_parent)(parent_id, line, "FINISHED")


@patient
def _open_parent(line: str) -> str:
    """The parent run that this flow run had before it was killed, or a new one."""
    flow_run = _flow_run().get(FLOW_RUN_TAG)
    close_killed(line, flow_run)
    same = f"tags.`{FLOW_RUN_TAG}` = '{flow_run}' and tags.`lineact.kind` = 'pipeline'"
    found = client().search_runs([experiment_id(line)], same, max_results=1) if flow_run else []
    if not found:
        return start_parent(line)
    client().update_run(found[0].info.run_id, status="RUNNING")
    return found[0].info.run_id


def _end_broken(parent_id: str, line: str, status: str) -> None:
    """Closes the parent of a run that broke off; what broke it counts, not that MLflow is away, too."""
    try:
        end_parent(parent_id, line, status)
    except Exception as error:
        if not is_away(error):
            raise


def close_killed(line: str, flow_run: str | None = None) -> None:
    """Closes this checkout's runs of a line that a killed flow left open; nobody else may be running the line.

    Args:
        line: the line.
        flow_run: Prefect's id of the run that goes on: its own parent and children stay open.
    """
    left = client().search_runs([experiment_id(line)], "attributes.status = 'RUNNING'")
    kept = {run.info.run_id for run in left if flow_run and run.data.tags.get(FLOW_RUN_TAG) == flow_run}
    for run in left:
        is_ours = run.data.tags.get(CHECKOUT_TAG) == str(checkout_of(Path.cwd()))
        if is_ours and not {run.info.run_id, run.data.tags.get("mlflow.parentRunId")} & kept:
            client().set_terminated(run.info.run_id, "KILLED")


def start_parent(line: str) -> str:
    """Opens the parent run of a pipeline run.

    Returns:
        its run id.
    """
    tags = {"line": line, "user": getpass.getuser(), "lineact.kind": "pipeline", "git_commit": git_commit()}
    tags[CHECKOUT_TAG] = str(checkout_of(Path.cwd()))
    tags |= {"mlflow.user": tags["user"], "mlflow.source.name": f"flows.retrain line={line}", **_flow_run()}
    run = client().create_run(experiment_id(line), tags=tags, run_name=f"retrain {line}")
    return run.info.run_id


def _flow_run() -> dict[str, str]:
    """Prefect's run that this is a part of, so that one leads to the other; none where no flow runs here."""
    if "prefect" not in sys.modules:  # importing it takes seconds
        return {}
    from prefect.runtime import flow_run

    return {FLOW_RUN_TAG: str(flow_run.id)} if flow_run.id else {}


@contextlib.contextmanager
def comparison_run(experiment: str, name: str, source: str, tags: Mapping[str, str]) -> Iterator[str]:
    """The parent run of a comparison; whoever opens one holds what it compares, so that one left open was killed.

    Args:
        experiment: a line, or the comparison of several: see `experiment_id`.
        name: the run's name.
        source: the command.
        tags: further ones.

    Yields:
        its run id.
    """
    close_killed(experiment)
    user = getpass.getuser()
    tags = {"user": user, "lineact.kind": "comparison", CHECKOUT_TAG: str(checkout_of(Path.cwd())), **tags}
    tags |= {"mlflow.user": user, "mlflow.source.name": source}
    run_id = client().create_run(experiment_id(experiment), tags=tags, run_name=name).info.run_id
    status = "KILLED"
    try:
        yield run_id
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        client().set_terminated(run_id, status)


def log_compared(
    parent_id: str,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    curves: Sequence[Mapping[str, float]] = (),
) -> str:
    """Logs one of the things that a comparison compares, as a finished child run.

    Args:
        parent_id: from `comparison_run`.
        experiment: as there.
        name: of the child.
        tags: of the child.
        params: settings, nested or flat.
        metrics: figures, under the same names for all that is compared.
        curves: rows over epochs, each with the key `epoch`.

    Returns:
        The child's run id.
    """
    from mlflow.entities import Metric, Param

    store = client()
    tags = {"mlflow.parentRunId": parent_id, CHECKOUT_TAG: str(checkout_of(Path.cwd())), **tags}
    run_id = store.create_run(experiment_id(experiment), tags=tags, run_name=name).info.run_id
    logged = [Metric(figure, value, 0, 0) for figure, value in metrics.items()]
    for row in curves:
        step = int(row[CURVE_STEP_COLUMN])
        logged += [Metric(f"curve.{key}", value, 0, step) for key, value in row.items() if key != CURVE_STEP_COLUMN]
    store.log_batch(run_id, metrics=logged, params=[Param(key, _shown(value)) for key, value in _flat(params).items()])
    store.set_terminated(run_id, "FINISHED")
    return run_id


@patient
def log_stage(parent_id: str, line: str, result: StageResult) -> str:
    """Makes sure that a stage's result has a child run, and names it on the parent.

    Returns:
        the child's run id: a new one, or the earlier one with the same key.
    """
    key = stage_key(result.stage, line)
    child_id = None if result.outcome == "ran" else _child_with(line, key)
    if child_id is None:
        child_id = _log_child(parent_id, line, result, key)
    tracking = client()
    tracking.set_tag(parent_id, f"stage.{result.stage}", f"{result.outcome} {child_id}")
    metrics = metrics_of(result.stage, line)
    for name in HEADLINES.get(result.stage, ()):
        value = metrics.get(name)
        if value is not None:
            tracking.log_metric(parent_id, name, value)
    return child_id


def end_parent(parent_id: str, line: str, status: str) -> None:
    """Closes the parent run with the hashes of what it rests on.

    Args:
        parent_id: its run id.
        line: the line.
        status: MLflow's word: "FINISHED", "FAILED" or "KILLED".
    """
    tracking = client()
    for name, value in provenance(line).items():
        tracking.set_tag(parent_id, name, value)
    tracking.set_terminated(parent_id, status)


def provenance(line: str) -> dict[str, str]:
    """Git commit, and hashes of dvc.lock and of the line's data set where they exist."""
    found = {"git_commit": git_commit()}
    if Path("dvc.lock").is_file():
        found["dvc_lock_sha256"] = sha256_of_file(Path("dvc.lock"))
        try:
            found["data_hash"] = hash_of_data_set(line)
        except KeyError:
            found["data_hash"] = "none: no data set yet"
    return found


def git_commit() -> str:
    """The checkout's commit, with "+changes" where the tree differs from it.

    Files that a run itself writes do not count: dvc.lock's hash is a tag of its own.
    """
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    if commit.returncode:
        return "none: not a git checkout"
    asked = ["git", "status", "--porcelain", "-uno", "--", ".", *(f":!{path}" for path in WRITTEN_BY_A_RUN)]
    dirty = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return commit.stdout.strip() + ("+changes" if dirty else "")


def _child_with(line: str, key: str) -> str | None:
    # finished ones alone: a killed flow leaves a child without its metrics
    finished = f"tags.`lineact.stage_key` = '{key}' and attributes.status = 'FINISHED'"
    runs = client().search_runs([experiment_id(line)], finished, max_results=1)
    return runs[0].info.run_id if runs else None


def _open_child(line: str, key: str, parent_id: str) -> str | None:
    """The child that this run began before MLflow went away."""
    begun = f"tags.`lineact.stage_key` = '{key}' and tags.`mlflow.parentRunId` = '{parent_id}'"
    runs = client().search_runs([experiment_id(line)], f"{begun} and attributes.status = 'RUNNING'", max_results=1)
    return runs[0].info.run_id if runs else None


def _log_child(parent_id: str, line: str, result: StageResult, key: str) -> str:
    from mlflow.entities import Metric, Param, RunTag

    tracking = client()
    tags = {
        "mlflow.parentRunId": parent_id,
        "line": line,
        CHECKOUT_TAG: str(checkout_of(Path.cwd())),
        "lineact.kind": "stage",
        "lineact.stage": result.stage,
        "lineact.stage_key": key,
        "lineact.outcome": result.outcome,
    }
    run_id = _open_child(line, key, parent_id)
    if run_id is None:
        run_id = tracking.create_run(experiment_id(line), tags=tags, run_name=f"{result.stage} {line}").info.run_id
    section = lock_entry(result.stage, line).get("params", {}).get("params.yaml", {})
    params = [Param(name, _shown(value)) for name, value in _flat(_inner(section)).items()]
    metrics = [Metric(name, value, 0, 0) for name, value in metrics_of(result.stage, line).items() if value is not None]
    metrics.append(Metric("stage_seconds", result.seconds, 0, 0))
    plots = artefact_folder(result.stage, line) / "plots"
    if (plots / "curves.csv").is_file():
        metrics += _curve_metrics(plots / "curves.csv")
    # the client splits what exceeds MLflow's 100 parameters and 1,000 metrics a request
    tracking.log_batch(run_id, metrics=metrics, params=params, tags=[RunTag("outcome", result.outcome)])
    tracking.log_dict(run_id, dict(_inner(section)), PARAMS_FILE)
    if plots.is_dir():
        tracking.log_artifacts(run_id, str(plots), "plots")
    tracking.set_terminated(run_id, "FINISHED")
    return run_id


def _curve_metrics(path: Path) -> list[Any]:
    from mlflow.entities import Metric

    columns = pyarrow.csv.read_csv(path).to_pydict()
    steps = columns.pop(CURVE_STEP_COLUMN)
    return [
        Metric(f"curve.{name}", float(value), 0, int(step))
        for name, values in columns.items()
        for step, value in zip(steps, values, strict=True)
        if isinstance(value, int | float)
    ]


def _inner(section: Mapping[str, Any]) -> Mapping[str, Any]:
    # dvc.lock holds {"lines.demo.detect": {...}}: one tracked section
    return next(iter(section.values()), {})


def _shown(value: Any) -> str:
    """A parameter's value in MLflow's table; one that was cut says where it is whole."""
    text = str(value)
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}… ({len(text)} characters, whole in {PARAMS_FILE})"


def _flat(section: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(section, Mapping):
        return {prefix: section}
    flat: dict[str, Any] = {}
    for name, value in section.items():
        known = NOT_IN_NAMES.sub("_", str(name))  # a prompt's "*" for all other actions, for one
        flat |= _flat(value, f"{prefix}.{known}" if prefix else known)
    return flat
