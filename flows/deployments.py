"""Prefect deployments: `retrain` of each active line as its `schedule` says, `monitor` as its `drift`, and reminders.

A run of `retrain` begins with the pull step `isolate`: the worker then starts the flow in the line's git worktree, with
the code that is committed. The others run in the checkout. A line's deployments run once at a time each.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flows.pipeline import CONF
from flows.worktrees import enter_worktree
from lineact.errors import InputError, LineactError
from tasks.configure import active_lines, compose_line

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

POOL = "lineact"  # of lines without a schedule, and of reminders
REMIND_CRON = "0 * * * *"  # so often it is asked whether a reminder is due; no stage runs for it
LINE_TAG = "line:"
RETRAIN, MONITOR = "retrain", "monitor"  # names of flows
LOOKS_FROM = datetime(2026, 1, 1, tzinfo=UTC)  # whenever `make serve` starts, the looks' times stay


class Sections(NamedTuple):
    """What a line's settings say of its deployments.

    Attributes:
        schedule: of `retrain`; None of a line without recordings: its pictures change by hand alone.
        drift: of `monitor`; None where nobody looks by itself.
    """

    schedule: dict[str, Any] | None
    drift: dict[str, Any] | None

    @property
    def pool(self) -> str:
        """Work pool of the line."""
        return self.schedule["work_pool"] if self.schedule else POOL


def isolate(line: str) -> dict[str, str]:
    """Prefect's pull step before a line's run: makes its worktree, or takes up the one that a kill left.

    Args:
        line: that the run is of.

    Returns:
        The folder in which the flow then runs.

    Raises:
        LineactError: as `enter_worktree`; the run is then failed, in these words.
    """
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a call sent twice registers twice; `flows.patience` waits
    run_id = os.environ["PREFECT__FLOW_RUN_ID"]
    try:
        return {"directory": str(enter_worktree(line, run_id))}
    except LineactError as error:
        from prefect.client.orchestration import get_client
        from prefect.states import Failed

        print(f"error: {error}", file=sys.stderr, flush=True)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run_id, Failed(message=str(error)), force=True)  # type: ignore[arg-type]
        raise


def schedules() -> dict[str, Sections]:
    """The active lines' settings of when they run.

    Raises:
        ConfigError: where a line does not compose, e.g. because its cron expression cannot be read.
    """
    found = {}
    for line in active_lines(CONF):
        composed = compose_line(CONF, line)
        drift = composed.get("drift")
        found[line] = Sections(composed.get("schedule"), drift if drift and drift["videos"] else None)
    return found


def deploy(client: "SyncPrefectClient", sections: Mapping[str, Sections]) -> set[str]:
    """Brings the server's deployments to what conf/ says; what a person paused there stays paused.

    Args:
        client: of the server.
        sections: from `schedules`.

    Returns:
        The work pools that workers are needed for.

    Raises:
        InputError: where another checkout is served from the same database.
    """
    refuse_shared(client)
    pools = {POOL, *(section.pool for section in sections.values())}
    for pool in sorted(pools):
        _make_pool(client, pool)
    wanted = {RETRAIN: set(sections), MONITOR: {line for line, section in sections.items() if section.drift}}
    for flow_name, lines in wanted.items():
        for line, deployment in lines_of(client, flow_name).items():
            if line not in lines:
                client.delete_deployment(deployment.id)
    for line, section in sections.items():
        _deploy_line(client, line, section)
        if section.drift:
            _deploy_looks(client, line, section, section.drift["every_h"])
    _deploy_reminders(client)
    return pools


def refuse_shared(client: "SyncPrefectClient") -> None:
    """Marks Prefect's database as this checkout's: who serves a line looks after its runs by locks in its own folder.

    Raises:
        InputError: where it is another checkout's.
    """
    from prefect.client.schemas.actions import WorkPoolUpdate

    _make_pool(client, POOL)
    here, marked = f"checkout {socket.gethostname()}:{Path.cwd()}", client.read_work_pool(POOL).description
    if marked and marked != here:
        raise InputError(
            f"Prefect's database: expected that of {here}, found that of {marked}: each checkout needs one of its own "
            f"(conf/services.yaml: prefect.database); where that one moved here, empty the description of work pool "
            f"{POOL}"
        )
    if not marked:
        client.update_work_pool(POOL, WorkPoolUpdate(description=here))


def lines_of(client: "SyncPrefectClient", flow_name: str = RETRAIN) -> "dict[str, DeploymentResponse]":
    """The lines' deployments of a flow on the server, by line."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    asked = FlowFilter(name=FlowFilterName(any_=[flow_name]))
    found = client.read_deployments(flow_filter=asked, limit=200)
    return {one.name: one for one in found if f"{LINE_TAG}{one.name}" in one.tags}


def _make_pool(client: "SyncPrefectClient", name: str) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))


def _deploy_line(client: "SyncPrefectClient", line: str, section: Sections) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    from flows.retrain import retrain

    told = section.schedule
    cron = CronSchedule(cron=told["cron"], timezone=told["timezone"]) if told else None
    _apply(
        client,
        retrain,
        line,
        cron,
        entrypoint="flows/retrain.py:retrain",
        parameters={"line": line},
        work_pool_name=section.pool,
        concurrency_limit=1,
        tags=[f"{LINE_TAG}{line}"],
        pull_steps=[{"flows.deployments.isolate": {"line": line}}],
    )


def _deploy_looks(client: "SyncPrefectClient", line: str, section: Sections, every_h: float) -> None:
    from prefect.client.schemas.schedules import IntervalSchedule

    from flows.monitor_line import monitor

    _apply(
        client,
        monitor,
        line,
        IntervalSchedule(interval=timedelta(hours=every_h), anchor_date=LOOKS_FROM, timezone="UTC"),
        entrypoint="flows/monitor_line.py:monitor",
        parameters={"line": line},
        work_pool_name=section.pool,
        concurrency_limit=1,
        tags=[f"{LINE_TAG}{line}"],
        pull_steps=[_in_checkout()],
    )


def _in_checkout() -> dict[str, Any]:
    return {"prefect.deployments.steps.set_working_directory": {"directory": str(Path.cwd())}}


def _deploy_reminders(client: "SyncPrefectClient") -> None:
    from prefect.client.schemas.schedules import CronSchedule

    from flows.remind import remind

    _apply(
        client,
        remind,
        "reviews",
        CronSchedule(cron=REMIND_CRON, timezone="UTC"),
        entrypoint="flows/remind.py:remind",
        work_pool_name=POOL,
        pull_steps=[_in_checkout()],
    )


def _apply(client: "SyncPrefectClient", flow: Any, name: str, times: Any, **settings: Any) -> None:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.utilities.callables import parameter_schema

    try:
        standing = client.read_deployment_by_name(f"{flow.name}/{name}")
        # a schedule is made anew by each deployment; Prefect keeps "paused" of the deployment itself
        is_active = all(schedule.active for schedule in standing.schedules)
    except ObjectNotFound:
        is_active = True
    client.create_deployment(
        flow_id=client.create_flow_from_name(flow.name),
        name=name,
        schedules=[DeploymentScheduleCreate(schedule=times, active=is_active)] if times else [],
        job_variables={"working_dir": str(Path.cwd())},
        parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=True,
        **settings,
    )
