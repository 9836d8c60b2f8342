"""One DVC stage as a child process, and its outcome read."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from flows.child import run_child
from flows.dvc_files import drop_broken_rwlock, kept_lock
from lineact.errors import AwaitingReview, LineactError

Outcome = Literal["ran", "restored", "unchanged"]

_EXITED = re.compile(r"exited with (-?\d+)")
_OF_DVC = ("Running stage", "> ", "Stage ", "Verifying data sources", "ERROR: failed to repro")


@dataclass(frozen=True)
class StageResult:
    """How a stage ended.

    Attributes:
        stage: its name.
        outcome: "ran", "restored" from DVC's run cache, or "unchanged".
        seconds: wall time including DVC's own.
    """

    stage: str
    outcome: Outcome
    seconds: float


class StageError(LineactError):
    """A stage failed; the text carries the last lines it printed.

    Attributes:
        exit_code: the stage's own, so that a flow's command ends as the stage did: 2 a setting, 3 an input, ...
    """

    def __init__(self, words: str, exit_code: int = LineactError.exit_code) -> None:
        super().__init__(words)
        self.exit_code = exit_code


def repro(target: str, log: Callable[[str], None]) -> StageResult:
    """Runs `dvc repro <target>`.

    Args:
        target: "configure" or "<stage>@<line>".
        log: receives each line of output as it appears.

    Raises:
        AwaitingReview: where the stage ended with exit code 75.
        StageError: where it failed otherwise.
    """
    started_s = time.monotonic()
    drop_broken_rwlock()
    with kept_lock():
        lines = _run(target, log)
    return StageResult(target.partition("@")[0], outcome_of(target, lines), time.monotonic() - started_s)


def _run(target: str, log: Callable[[str], None]) -> list[str]:
    """Runs DVC; gives its output."""
    # --wait-for-lock: without it a second DVC process makes the first one throw away finished work.
    code, lines = run_child("dvc", ["--wait-for-lock", "repro", target], log)
    if code != 0:
        raise _failure(target, lines)
    return lines


def outcome_of(target: str, lines: list[str]) -> Outcome:
    """Reads DVC's output: did it run the target, restore it, or find it unchanged?"""
    for line in lines:
        if line.startswith(f"Running stage '{target}'"):
            return "ran"
        if line.startswith(f"Stage '{target}' is cached"):
            return "restored"
    return "unchanged"


def _failure(target: str, lines: list[str]) -> LineactError:
    stage_code = next((int(found[1]) for found in map(_EXITED.search, reversed(lines)) if found), None)
    told = _words_of_stage(target, lines)
    if stage_code == AwaitingReview.exit_code:
        return AwaitingReview(told[-1].removeprefix(f"{target}: ") if told else f"awaiting review: {target}")
    tail = "\n".join(told[-6:] or lines[-6:])
    # a stage that a signal ended has a negative code, which no process can end with
    exit_code = stage_code if stage_code and stage_code > 0 else StageError.exit_code
    return StageError(f"`dvc repro {target}` failed; its last lines:\n{tail}", exit_code)


def _words_of_stage(target: str, lines: list[str]) -> list[str]:
    """What the stage itself said: from its last message "<target>: ..." on, or, where it has none, all but DVC's."""
    told = [line for line in lines if not line.startswith(_OF_DVC) and not line.endswith("' didn't change, skipping")]
    messages = [number for number, line in enumerate(told) if line.startswith(f"{target}: ")]
    return told[messages[-1] :] if messages else told
