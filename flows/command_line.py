"""`key=value` arguments of the flows' commands, and errors as one line."""

import errno
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline import stages_of
from lineact.errors import AwaitingReview, ConfigError, FullDiskError, LineactError

if TYPE_CHECKING:
    from prefect.states import State


def parse(arguments: Iterable[str], required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, str]:
    """Turns `["line=demo"]` into `{"line": "demo"}`.

    Raises:
        ConfigError: on an argument that is not `key=value`, an unknown key or a missing one.
    """
    usage = " ".join([f"{key}=..." for key in required] + [f"[{key}=...]" for key in optional])
    values: dict[str, str] = {}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not separator or key not in required + optional:
            raise ConfigError(f"argument {argument!r}: expected {usage}")
        values[key] = value
    missing = [key for key in required if not values.get(key)]
    if missing:
        raise ConfigError(f"argument {missing[0]!r} is missing: expected {usage}")
    return values


def refuse_unknown_line(optional: tuple[str, ...] = ()) -> None:
    """Ends the command of a flow with a wrong `line=...` before prefect is imported and MLflow opens a run.

    Args:
        optional: further arguments that the command takes.

    Raises:
        ConfigError: where the argument is malformed or the line is not active.
    """
    stages_of(parse(sys.argv[1:], ("line",), optional)["line"])


def run(main: Callable[[], None]) -> None:
    """Runs a command; an error of lineact becomes one line on standard error and the error's exit code."""
    try:
        main()
    except LineactError as error:
        _end_with_line(error)
    except Exception as error:
        if not _names_a_full_disk(error):
            raise
        _end_with_line(FullDiskError(Path.cwd()))


def _end_with_line(error: LineactError) -> None:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def _names_a_full_disk(error: BaseException | None) -> bool:
    """Whether the system or SQLite (MLflow's database) says so, wherever in the chain of causes."""
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or "database or disk is full" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def end_with(state: "State") -> None:
    """Ends a flow's command by its final state.

    Raises:
        AwaitingReview: where the flow ended at the review gate.
        Exception: what the flow failed with.
    """
    if state.name == "AwaitingReview":
        raise AwaitingReview(state.message or "awaiting review")
    state.result()
