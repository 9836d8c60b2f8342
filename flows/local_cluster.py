"""A Dask scheduler and workers as processes of this machine, started by Dask's own commands."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from lineact.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
START_S = 120.0
IDLE = "15 minutes"  # a scheduler whose starter was killed ends by itself, and its workers with it


class LocalCluster:
    """Ends its processes with the block.

    Args:
        folder: where workers run; gets their logs and what they write meanwhile.
        environment: what the scheduler's has beside this process's.

    Attributes:
        address: the scheduler's.
        processes: all that were started, by name; "scheduler" is one.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self._folder, self._environment = folder.resolve(), environment
        self.processes: dict[str, subprocess.Popen] = {}
        self._file = self._folder / "scheduler.json"
        self.address = ""

    def __enter__(self) -> "LocalCluster":
        self._folder.mkdir(parents=True, exist_ok=True)
        self.start_scheduler()
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in reversed(self.processes.values()):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start_scheduler(self) -> subprocess.Popen:
        """Starts the scheduler on a free port of the loopback interface.

        Raises:
            InputError: where it does not come up.
        """
        self._file.unlink(missing_ok=True)
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self._file)]
        process = self._start("scheduler", ["scheduler", *options, "--idle-timeout", IDLE], **self._environment)
        deadline_s = time.monotonic() + START_S
        while not self.address:
            if self._file.is_file() and (told := self._file.read_text()).endswith("}"):
                self.address = json.loads(told)["address"]
            elif process.poll() is not None or time.monotonic() > deadline_s:
                raise InputError(f"{self.log('scheduler')}: expected a Dask scheduler to start; see there")
            time.sleep(0.1)
        return process

    def start_worker(self, name: str, resource: str = "CPU", **environment: str) -> subprocess.Popen:
        """Starts a worker that takes one recording at a time.

        Args:
            name: names its log.
            resource: what it offers one of.
            environment: what is other there than here.
        """
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--name", name]
        options += ["--resources", f"{resource}=1", "--local-directory", str(self._folder / "scratch")]
        return self._start(name, ["worker", self.address, *options], **environment)

    def log(self, name: str) -> Path:
        """What a process prints."""
        return self._folder / f"{name}.log"

    def _start(self, name: str, command: list[str], **environment: str) -> subprocess.Popen:
        own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with self.log(name).open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command],
                cwd=self._folder,
                env=os.environ | own | environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self.processes[name] = process
        return process
