"""The Prefect task behind every stage: DVC runs it, MLflow gets its result."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows import tracking
from flows.dvc_stage import StageResult, repro


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
    return [run_stage.with_options(name=stage)(stage, line, parent_id) for stage in stages]
