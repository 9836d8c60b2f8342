"""What a report tells of a line: runs and versions of MLflow, and the ledger; and what of these cannot be had."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from flows.ledger import Entry, read_ledger
from flows.tracking import FLOW_RUN_TAG, client
from flows.versions import model_name
from flows.waiting import WAITING
from lineact.errors import InputError

PIPELINE, STAGE, COMPARISON, DRIFT = "pipeline", "stage", "comparison", "drift"
RELEASED = ("evaluate", "evaluate_events", "benchmark")  # stages whose figures are those of a release
PAGE = 500  # runs asked for at a time


class Run(NamedTuple):
    """A run of MLflow.

    Attributes:
        run_id: MLflow's.
        experiment_id: MLflow's.
        name: for people.
        kind: "pipeline", "stage", "comparison", "drift" or what else its tag says.
        stage: of a stage's run.
        status: MLflow's word.
        started_at: UTC.
        metrics: name to number.
        tags: name to text.
    """

    run_id: str
    experiment_id: str
    name: str
    kind: str
    stage: str
    status: str
    started_at: datetime
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def flow_run(self) -> str:
        """Prefect's id of it; "" where it is not known."""
        return self.tags.get(FLOW_RUN_TAG, "")


class Version(NamedTuple):
    """A registered version.

    Attributes:
        number: its version.
        run_id: that it was registered from.
        aliases: that stand on it.
        gates: each gate's name, whether it held, and why.
        registered_at: UTC.
        bundle_sha256: of its bundle.
    """

    number: str
    run_id: str
    aliases: tuple[str, ...]
    gates: tuple[tuple[str, bool, str], ...]
    registered_at: datetime
    bundle_sha256: str


@dataclass(frozen=True)
class Facts:
    """What is known of a line.

    Attributes:
        line: its name.
        description: of what the camera sees.
        runs: the newest first.
        versions: the newest first.
        entries: of the ledger, the oldest first.
        waiting_since: when the line began to wait for a review; "" where it does not.
        missing: what cannot be had, and how it comes to be, in words.
    """

    line: str
    description: str
    runs: Sequence[Run] = ()
    versions: Sequence[Version] = ()
    entries: Sequence[Entry] = ()
    waiting_since: str = ""
    missing: list[str] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Run]:
        """Runs of a kind, the newest first."""
        return [run for run in self.runs if run.kind == kind]

    def run(self, run_id: str) -> Run | None:
        """The run with this id."""
        return next((run for run in self.runs if run.run_id == run_id), None)

    def stage(self, stage: str, parent: Run | None = None) -> Run | None:
        """The run that a stage's result is from: of a pipeline run, else the newest one that has it.

        What is told of a release is told of the champion, where there is one, and not of a newer challenger.
        """
        if parent is None and self.champion and stage in RELEASED:
            parent = self.run(self.champion.run_id)
            if parent is None:
                return None
        for pipeline in self.of_kind(PIPELINE) if parent is None else [parent]:
            found = self.run(pipeline.tags.get(f"stage.{stage}", "").partition(" ")[2])
            if found is not None:
                return found
        return None

    @property
    def champion(self) -> Version | None:
        """The version that stations run."""
        return next((version for version in self.versions if "champion" in version.aliases), None)


def facts_of(line: str, description: str) -> Facts:
    """Reads what there is; a source that does not answer is named among what is missing."""
    facts = Facts(line, description, waiting_since=_waiting_since(line))
    try:
        facts = _replace(facts, entries=read_ledger(line))
    except InputError as error:
        facts.missing.append(f"the ledger: {error}")
    if not has_database():
        facts.missing.append(f"MLflow has no database yet: `python -m flows.retrain line={line}` makes it")
        return facts
    from mlflow.exceptions import MlflowException

    try:
        return _replace(facts, runs=_runs_of(line), versions=_versions_of(line))
    except (MlflowException, OSError) as error:
        facts.missing.append(f"MLflow does not answer: {str(error).splitlines()[0]}")
        return facts


def has_database() -> bool:
    """Whether MLflow was ever used here; its client would make a database to look into."""
    import mlflow

    address = mlflow.get_tracking_uri()
    return not address.startswith("sqlite:///") or Path(address.removeprefix("sqlite:///")).is_file()


def _replace(facts: Facts, **changes: Any) -> Facts:
    return Facts(**{**{name: getattr(facts, name) for name in Facts.__dataclass_fields__}, **changes})


def _runs_of(line: str) -> list[Run]:
    store = client()
    experiment = store.get_experiment_by_name(f"lineact-{line}")
    found: list[Run] = []
    token: str | None = None
    while experiment is not None:
        page = store.search_runs([experiment.experiment_id], max_results=PAGE, page_token=token)
        found += map(_run_of, page)
        token = page.token
        if not token:
            break
    return sorted(found, key=lambda run: run.started_at, reverse=True)


def _run_of(run: Any) -> Run:
    tags = run.data.tags
    return Run(
        run.info.run_id,
        run.info.experiment_id,
        run.info.run_name,
        tags.get("lineact.kind", ""),
        tags.get("lineact.stage", ""),
        run.info.status,
        _time_of(run.info.start_time),
        dict(run.data.metrics),
        tags,
    )


def _versions_of(line: str) -> list[Version]:
    store = client()
    models = store.search_registered_models(f"name = '{model_name(line)}'")
    aliases = dict(models[0].aliases) if models else {}
    found = [
        Version(
            str(version.version),
            version.run_id or "",
            tuple(sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))),
            _gates_of(version.tags.get("gates", "[]")),
            _time_of(version.creation_timestamp),
            version.tags.get("bundle_sha256", ""),
        )
        for version in store.search_model_versions(f"name = '{model_name(line)}'")
    ]
    return sorted(found, key=lambda version: int(version.number), reverse=True)


def _gates_of(text: str) -> tuple[tuple[str, bool, str], ...]:
    try:
        return tuple((str(gate["name"]), bool(gate["passed"]), str(gate["reason"])) for gate in json.loads(text))
    except (ValueError, TypeError, KeyError):  # somebody else's tag
        return ()


def _time_of(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _waiting_since(line: str) -> str:
    path = WAITING / f"{line}.json"
    try:
        return datetime.fromisoformat(json.loads(path.read_text())["since"]).isoformat(timespec="minutes")
    except (OSError, ValueError, KeyError):
        return ""
