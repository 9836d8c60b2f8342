"""A command as a child process: its output streamed, its process group ended with the flow."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def run_child(module: str, arguments: list[str], log: Callable[[str], None]) -> tuple[int, list[str]]:
    """Runs `python -m <module>` in a process group of its own, which ends with this call.

    Args:
        module: of Python.
        arguments: of its command.
        log: receives each line of output as it appears.

    Returns:
        Its exit code, and what it printed.
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,  # a group of its own, so that it and what it starts end together
    )
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            line = line.rstrip()
            if line:
                lines.append(line)
                log(line)
        return process.wait(), lines
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
