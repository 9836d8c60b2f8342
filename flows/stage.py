"""The Prefect task behind every stage: DVC runs it, MLflow gets its result."""

from typing import Any

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.states import State

from flows import tracking
from flows.dvc_stage import StageResult, repro
from flows.result import is_io_failure
from flows.worktrees import scheduled_run


@task(cache_policy=NO_CACHE, task_run_name="{stage}")
def run_stage(stage: str, line: str, parent_id: str) -> StageResult:
    """Reproduces one stage of a line and projects its result into MLflow.

    Args:
        stage: its word in dvc.yaml.
        line: the line.
        parent_id: MLflow's parent run.

    Raises:
        AwaitingReview: where the stage needs decisions that are not there yet.
        StageError: where it failed.
    """
    logger = get_run_logger()
    target = stage if stage == "configure" else f"{stage}@{line}"
    result = repro(target, logger.info)
    if stage != "configure":
        tracking.log_stage(parent_id, line, result)
    logger.info("%s %s in %.1f s", target, result.outcome, result.seconds)
    return result


def run_stages(stages: list[str], line: str, parent_id: str) -> list[StageResult]:
    """Reproduces stages one after the other; each shows in Prefect under its own word."""
    again = retried()
    return [run_stage.with_options(name=stage, **again)(stage, line, parent_id) for stage in stages]


def retried() -> dict[str, Any]:
    """Options of a scheduled run's tasks: failures of disk, network and servers alone are tried again.

    Who runs a flow by hand sees them at once and mends them.
    """
    run = scheduled_run()
    if run is None or run.schedule is None:
        return {}
    return {
        "retries": run.schedule.retries,
        "retry_delay_seconds": run.schedule.retry_delay_s,
        "retry_condition_fn": _is_worth_a_try,
    }


def _is_worth_a_try(_: Task[..., Any], __: TaskRun, state: State) -> bool:
    try:
        state.result()
    except Exception as error:
        return is_io_failure(error)
    return False
