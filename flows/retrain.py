"""`python -m flows.retrain line=demo`: label -> gate -> train -> compare with the champion -> register."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows import command_line

if __name__ == "__main__":
    command_line.run(command_line.begin_flow)

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from flows import tracking
from flows.champion import ready_champion
from flows.checkout import checkout_of
from flows.dvc_stage import StageResult
from flows.label_line import label_line
from flows.one_run import only_run_of
from flows.parents_end import end_with_parent
from flows.pipeline import has_recordings
from flows.register import Registration, register
from flows.result import commit_result, push_result, way_to_take
from flows.stage import retried
from flows.summary import print_summary
from flows.train_line import train_line
from flows.worktrees import WORKTREES, ScheduledRun, leave_worktree, noted_run, scheduled_run
from lineact.errors import InputError

NOT_RELEASED = "nothing is released: a line without recordings has no video to evaluate and time a pair on"


@task(name="register", cache_policy=NO_CACHE)
def register_pair(line: str, parent_id: str) -> Registration:
    """Registers the pair; the alias `champion` moves where the line's gates hold."""
    return register(line, parent_id)


def drop_worktree(flow: Any, flow_run: Any, state: State) -> None:  # noqa: ARG001 - Prefect's own names
    """Removes the worktree of a scheduled run that ended well; another's is taken up by the line's next run."""
    run = scheduled_run()
    if run is None:
        return
    os.chdir(checkout_of(Path.cwd()))
    with contextlib.suppress(InputError), only_run_of(run.line):  # the line's next run may have it already
        if noted_run(WORKTREES / run.line) == run.flow_run:
            leave_worktree(run.line)


@flow(name="retrain", flow_run_name="retrain {line}", on_completion=[drop_worktree])
def retrain(line: str) -> "Registration | State | None":
    """From raw video to a registered recogniser of one line; or from labelled pictures to trained models.

    Args:
        line: name of an active line.

    Returns:
        What became of the challenger; where decisions are missing, a completed state named AwaitingReview; None where
        the line has no recordings to judge a release on.
    """
    run = scheduled_run()
    if run is None:
        with only_run_of(line):
            return _retrain(line)
    end_with_parent()  # a worker that was killed: the run goes on under the next one
    with only_run_of(line), crashing_without_server():
        ended = _retrain(line)
        branch = keep_result(run)
        push_to_remote.with_options(**retried())(run)
    if branch and isinstance(ended, State):
        # the queue that waits is in the run's files
        words = f"{ended.message}; first, in the checkout: `{way_to_take(branch)}`"
        return Completed(name=ended.name, message=words)
    return ended


@contextlib.contextmanager
def crashing_without_server() -> Iterator[None]:
    """Ends a run whose Prefect server went away as a crashed one, which goes on, and not as a failed one."""
    from httpx import TransportError

    try:
        yield
    except TransportError as error:
        sys.exit(f"the Prefect server went away: {error!r}")


def _retrain(line: str) -> "Registration | State | None":
    started_s = time.monotonic()
    registration = None
    with tracking.parent_run(line) as run_id:
        if has_recordings(line):
            ready_champion(line, run_id)  # before hours of labelling
        labelled = label_line(line, run_id, return_state=True)
        if labelled.name == "AwaitingReview":
            # A state of its own: prefect sums up another run's state as "All states completed"
            return Completed(name="AwaitingReview", message=labelled.message)
        results: list[StageResult] = labelled.result()  # type: ignore[assignment]
        results = results + train_line(line, run_id)
        if has_recordings(line):
            registration = register_pair.with_options(**retried())(line, run_id)
    words = registration.words if registration else NOT_RELEASED
    print_summary(line, results, words, time.monotonic() - started_s)
    return registration


@task(name="commit", cache_policy=NO_CACHE)
def keep_result(run: ScheduledRun) -> str | None:
    """Commits what a scheduled run wrote on a branch of its own."""
    branch = commit_result(run)
    told = f"in the checkout, `{way_to_take(branch)}` takes it" if branch else "nothing changed: no branch is needed"
    get_run_logger().info("result of %s: %s", run.line, told)
    return branch


@task(name="push", cache_policy=NO_CACHE)
def push_to_remote(run: ScheduledRun) -> str | None:
    """Pushes a scheduled run's files to the line's DVC remote, where it has one."""
    return push_result(run, get_run_logger().info)


def main() -> None:
    """`line=demo`."""
    state = retrain(command_line.parse(sys.argv[1:], ("line",))["line"], return_state=True)
    command_line.end_with(state)


if __name__ == "__main__":
    command_line.run(main)
