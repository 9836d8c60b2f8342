"""Looks after the lines' runs while `make serve` stands: killed ones go on, and many missed ones become one."""

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from filelock import FileLock, Timeout

from flows.deployments import MONITOR, lines_of
from flows.one_run import LOCKS, look_lock

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

GRACE_S = 120.0  # a run's process needs so long at most to take its line's lock
TOLD_S = 30.0  # a worker tells a crash twice: the second word must not meet a run that goes on already
GOING_ON = ("PENDING", "RUNNING", "CANCELLING")
BEGUN = ("RUNNING", "CANCELLING", "COMPLETED", "FAILED", "CRASHED")
MOST_STARTS = 5  # a run that ends its machine each time is not started for ever


class Keeper:
    """Looks at the server every now and then; two looks tell a run that was killed from one that is just ending."""

    def __init__(self) -> None:
        self._silent: set[UUID] = set()  # states of runs that nobody seemed to run, at the look before

    def look(self, client: "SyncPrefectClient") -> None:
        """Resumes what was killed and leaves out what was missed.

        Args:
            client: of the server; its errors are raised.
        """
        locks = {deployment.id: line for line, deployment in lines_of(client).items()}
        locks |= {deployment.id: look_lock(line) for line, deployment in lines_of(client, MONITOR).items()}
        skip_missed(client, list(locks))
        silent: set[UUID] = set()
        for run in _runs(client, list(locks), GOING_ON):
            if run.state is None or run.deployment_id is None or not _is_silent(locks[run.deployment_id], run):
                continue
            silent.add(run.state.id)
            if run.state.id in self._silent:
                resume(client, run)
        self._silent = silent
        for run in _last_of_each(_runs(client, list(locks), ("CRASHED",))):
            assert run.deployment_id is not None
            last = next(iter(_runs(client, [run.deployment_id], BEGUN)), None)
            is_told = last is not None and last.id == run.id and _age_s(run) > TOLD_S
            if is_told and run.run_count < MOST_STARTS and not _is_held(locks[run.deployment_id]):
                resume(client, run)


def resume(client: "SyncPrefectClient", run: "FlowRun") -> None:
    """Has the same run go on: finished stages are not run again, and it keeps its worktree and its run in MLflow.

    One that somebody cancelled is ended, one that was started too often is left crashed.
    """
    from prefect.states import Cancelled, Crashed, Scheduled, State

    state: State
    if run.state and run.state.is_cancelling():
        state = Cancelled(message="cancelled; its process had ended without a word")
    elif run.run_count >= MOST_STARTS:
        state = Crashed(message=f"its process ended without a word, {run.run_count} times; Retry starts it again")
    else:
        state = Scheduled(name="Resuming", message="its process ended without a word; finished stages are kept")
    client.set_flow_run_state(run.id, state, force=True)
    print(f"flow run {run.name!r} ({run.id}): {state.name}: {state.message}", file=sys.stderr, flush=True)


def skip_missed(client: "SyncPrefectClient", deployments: list[UUID]) -> None:
    """Leaves out scheduled runs that a later one stands for: a machine that was off at many of its times runs once.

    A run that somebody asked for is never left out.

    Args:
        client: of the server.
        deployments: the lines'.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.states import State

    skipped = State(type=StateType.CANCELLED, name="Skipped", message="missed: a later run of the line does its work")
    missed: dict[UUID | None, list[FlowRun]] = {}
    for run in _runs(client, deployments, ("SCHEDULED",), _now()):
        if run.auto_scheduled and not run.run_count:
            missed.setdefault(run.deployment_id, []).append(run)
    for deployment, due in missed.items():
        assert deployment is not None
        due.sort(key=_time_of)
        begun = [run.start_time for run in _runs(client, [deployment], BEGUN) if run.start_time]
        for number, run in enumerate(due, 1):
            if number < len(due) or any(_time_of(run) <= start <= _now() for start in begun):
                client.set_flow_run_state(run.id, skipped, force=True)


def _time_of(run: "FlowRun") -> datetime.datetime:
    return run.expected_start_time or _now()


def _last_of_each(runs: "list[FlowRun]") -> "list[FlowRun]":
    """Of runs with the last ones first the first of each deployment."""
    last: dict[UUID | None, FlowRun] = {}
    for run in runs:
        last.setdefault(run.deployment_id, run)
    return list(last.values())


def _runs(
    client: "SyncPrefectClient",
    deployments: list[UUID],
    types: tuple[str, ...],
    before: datetime.datetime | None = None,
) -> "list[FlowRun]":
    """The deployments' runs in states of these types, the last ones first."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    asked = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=deployments),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType(kind) for kind in types])),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=before) if before else None,  # type: ignore[arg-type]
    )
    return client.read_flow_runs(flow_run_filter=asked, sort=FlowRunSort.START_TIME_DESC, limit=200)


def _is_silent(name: str, run: "FlowRun") -> bool:
    """Whether a run counts as going on, but no process holds its lock.

    By the lock and not by the clock alone, which may jump: the system lets go of it with the process.
    """
    return _age_s(run) > GRACE_S and not _is_held(name)


def _age_s(run: "FlowRun") -> float:
    """Seconds since the run got its state, or until then, where a clock was set back meanwhile."""
    return abs((_now() - run.state.timestamp).total_seconds()) if run.state else 0.0


def _is_held(name: str) -> bool:
    Path(LOCKS).mkdir(parents=True, exist_ok=True)
    lock = FileLock(LOCKS / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
