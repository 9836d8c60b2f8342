"""One run per line at a time, whoever starts it: a person, the schedule, or both at once."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from lineact.errors import InputError

LOCKS = Path(".lineact/locks")
PATIENCE_S = 0.5  # `flows.keeper` looks for a moment whether a line is held


@contextlib.contextmanager
def only_run_of(line: str) -> Iterator[None]:
    """Holds the line for this process; its own flows may hold it within one another.

    The system lets go of it with the process, killed or not.

    Raises:
        InputError: where another process holds it.
    """
    LOCKS.mkdir(parents=True, exist_ok=True)
    lock = FileLock(LOCKS / f"{line}.lock", is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout as error:
        raise InputError(
            f"line {line}: another run is going on in this checkout; wait for its end, or stop it (Ctrl+C, or in "
            "Prefect's UI)"
        ) from error
    try:
        yield
    finally:
        lock.release()


def look_lock(line: str) -> str:
    """What a look for drift holds in place of the line: a training may go on meanwhile, another look not."""
    return f"{line}.drift"
