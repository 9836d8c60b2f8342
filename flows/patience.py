"""Waiting, with a limit, for an MLflow that is away: a server, its database, or SQLite's lock.

What is tried again is whole: each step looks first for what an earlier try left, so that nothing is there twice.
"""

import functools
import re
import sys
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flows.worktrees import scheduled_run
from lineact.errors import InputError

PAUSE_S = 10.0  # between two tries
AWAY = (429, 502, 503, 504)  # HTTP: too many requests, or a proxy before a server that is not there
# what no waiting mends: a disk, a password, a database's or role's name
_FOR_GOOD = re.compile(
    "database or disk is full|authentication failed|does not exist|no password supplied|no pg_hba.conf entry"
)
# botocore's words, as other messages quote them; a store that refuses (AccessDenied, NoSuchBucket) is not away
_STORE_AWAY = re.compile(
    "Could not connect to the endpoint URL|Connect timeout on endpoint URL|Read timeout on endpoint URL|"
    "Failed to connect to proxy URL|An HTTP Client (?:raised an unhandled exception|failed to establish a connection)|"
    "Connection was closed before we received a valid response|S3UploadFailedError(?!.*An error occurred)|"
    r"An error occurred \((?:SlowDown|InternalError|ServiceUnavailable|RequestTimeout|50\d)\)"
)
P = ParamSpec("P")
R = TypeVar("R")


class MlflowAwayError(InputError):
    """MLflow stayed away for longer than a run waits."""


def patient(step: Callable[P, R]) -> Callable[P, R]:
    """A step of a run that waits for MLflow: of a scheduled run for the line's `schedule.mlflow_wait_s`, else not."""

    @functools.wraps(step)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        begun_s, is_told = time.monotonic(), False  # a clock that jumps is no matter
        while True:
            try:
                return step(*args, **kwargs)
            except Exception as error:
                limit_s = _limit_s()
                if limit_s == 0 or not is_away(error):
                    raise
                waited_s = time.monotonic() - begun_s
                if waited_s >= limit_s:
                    raise MlflowAwayError(_words(limit_s, error)) from error
                if not is_told:
                    tell(f"MLflow is away ({_first_line(error)}): waiting for it, at most {limit_s:g} s")
                    is_told = True
                time.sleep(min(PAUSE_S, limit_s - waited_s))

    return waiting


def is_away(error: BaseException | None) -> bool:
    """Whether a server, a store, a database or its lock, wherever in the chain of causes, did not answer."""
    import requests.exceptions
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    gone = (requests.exceptions.ConnectionError, requests.exceptions.Timeout, sqlalchemy.exc.OperationalError)
    while error is not None:
        is_answer = isinstance(error, MlflowException) and (
            error.get_http_status_code() in AWAY or any(f"error code {code}" in str(error) for code in AWAY)
        )
        if is_answer or isinstance(error, gone):  # MLflow says 503 of whatever its database refuses
            return _FOR_GOOD.search(str(error)) is None
        if is_store_away(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_store_away(error: BaseException) -> bool:
    """Whether this is an S3 store that did not answer, or a message that quotes one."""
    import botocore.exceptions

    gone = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)
    return isinstance(error, gone) or _STORE_AWAY.search(f"{type(error).__name__}: {error}") is not None


def tell(words: str) -> None:
    """Says something where the run's log is: in Prefect's within a run, else on standard error."""
    if "prefect" in sys.modules:
        from prefect.exceptions import MissingContextError
        from prefect.logging import get_run_logger

        try:
            get_run_logger().warning(words)
        except MissingContextError:
            pass
        else:
            return
    print(words, file=sys.stderr, flush=True)


def _limit_s() -> float:
    run = scheduled_run()
    return run.schedule.mlflow_wait_s if run and run.schedule else 0.0


def _words(limit_s: float, error: BaseException) -> str:
    return (
        f"MLflow was away for {limit_s:g} s (schedule.mlflow_wait_s): {_first_line(error)}. Finished stages are kept "
        "and nothing is registered twice; start MLflow, then the run again (in Prefect's UI: Retry, or Run)"
    )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
