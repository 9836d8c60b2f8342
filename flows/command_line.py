"""`key=value` arguments of the flows' commands, and errors as one line."""

import errno
import logging
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn

from flows import is_no_repetition
from flows.pipeline import stages_of
from flows.server import use_server
from lineact.errors import AwaitingReview, ConfigError, FullDiskError, LineactError

if TYPE_CHECKING:
    from prefect.states import State

ERROR = "error: "
INTERRUPTED = "interrupted: the same command goes on; finished stages are kept"


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


def names_of(text: str) -> tuple[str, ...]:
    """Different names with commas between.

    Raises:
        ConfigError: where one is given twice.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if len(set(names)) < len(names):
        raise ConfigError(f"{text}: expected different names, found one twice")
    return names


def begin_flow(optional: tuple[str, ...] = (), lines: str = "line") -> None:
    """What the command of a flow does before prefect is imported and MLflow opens a run.

    Args:
        optional: arguments that the command takes beside that of its line or lines.
        lines: the argument that names them: one, or several with commas between.

    Raises:
        ConfigError: where the argument is malformed or the line is not active.
        InputError: where no Prefect server comes up.
    """
    sys.excepthook = _tell_interrupt
    signal.signal(signal.SIGTERM, _end_by_signal)
    logging.getLogger("prefect.flow_runs").addFilter(is_no_repetition)
    for line in names_of(parse(sys.argv[1:], (lines,), optional)[lines]):
        stages_of(line)
    use_server()


def _tell_interrupt(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # by a hook, since Ctrl+C may come in the seconds in which prefect is imported
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _end_by_signal(number: int, _: FrameType | None) -> NoReturn:
    """Ends this process by an exception, so that the line's stage, its MLflow run and the server end with it.

    While a flow runs, prefect has a handler of its own, which lets the flow end and then sends the signal again.
    """
    print(INTERRUPTED, file=sys.stderr)
    sys.exit(128 + number)


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
    print(error if isinstance(error, AwaitingReview) else f"{ERROR}{error}", file=sys.stderr)
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
