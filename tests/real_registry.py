"""A real MLflow server on loopback, with a registry in SQLite, that can go away and come back."""

import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineact.files import sha256_of_tree
from tests.test_services import free_port

WAIT_S = 120


class RealRegistry:
    """One store below a folder; whoever uses it sets MLFLOW_TRACKING_URI to `url`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    @contextmanager
    def up(self) -> Iterator[None]:
        """The server answers inside."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self._folder / "store")]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self._folder / "mlflow.log").open("a") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            self._wait()
            yield
        finally:
            server.terminate()
            server.wait()

    def release(self, line: str, bundle: Path, facts: dict[str, str]) -> str:
        """Registers a bundle as the line's champion; the id of its run."""
        from flows.tracking import client
        from flows.versions import create_version

        found = client().get_experiment_by_name(line)
        experiment = found.experiment_id if found else client().create_experiment(line)
        run_id = client().create_run(experiment).info.run_id
        version = create_version(line, run_id, bundle, sha256_of_tree(bundle), facts)
        client().set_registered_model_alias(f"lineact-{line}", "champion", version)
        return str(run_id)

    def _wait(self) -> None:
        for _ in range(WAIT_S):
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=1).close()  # noqa: S310 - http
                return
            except OSError:
                threading.Event().wait(1)
        raise AssertionError("the registry did not come up")
