"""`make serve` as a user starts it: a real Prefect server and the scheduled deployment of the demo."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.services
SCHEDULED = """
import json
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    names = {deployment.id: deployment.name for deployment in client.read_deployments()}
    print(json.dumps([[names.get(run.deployment_id), run.state_type.value] for run in client.read_flow_runs()]))
"""
START_S, SCHEDULE_S = 200, 120


@pytest.fixture
def checkout(tmp_path):
    """The tracked files as they are on disk, in a repository of their own."""
    folder = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    changed = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    if changed:
        subprocess.run(["git", "apply", "-"], cwd=folder, check=True, input=changed)
    return folder


@pytest.fixture
def environment():
    """Without what the flows set in this process, which points to this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def wait_for(what, seconds: float, server: subprocess.Popen, log: Path):
    """Asks every second until `what()` is true; returns what it said."""
    deadline_s = time.monotonic() + seconds
    while not (found := what()):
        assert server.poll() is None, f"flows.serve ended:\n{log.read_text()[-3000:]}"
        assert time.monotonic() < deadline_s, f"nothing within {seconds} s:\n{log.read_text()[-3000:]}"
        time.sleep(1)
    return found


def test_serve_schedules_the_demo_and_ends_with_its_server(checkout, environment, tmp_path):
    from flows.server import answers

    port, log = free_port(), tmp_path / "serve.log"
    api_url = f"http://127.0.0.1:{port}/api"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.serve", f"port={port}"],
            cwd=checkout,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: answers(api_url), START_S, server, log)
        server_file = checkout / ".lineact/prefect/server.json"
        wait_for(server_file.is_file, 10, server, log)
        assert json.loads(server_file.read_text())["api_url"] == api_url

        def scheduled() -> bool:
            asked = subprocess.run(
                [sys.executable, "-c", SCHEDULED],
                cwd=checkout,
                env=environment | {"PREFECT_API_URL": api_url, "PREFECT_HOME": str(checkout / ".lineact/prefect")},
                capture_output=True,
                text=True,
            )
            assert asked.returncode == 0, asked.stderr
            return ["demo", "SCHEDULED"] in json.loads(asked.stdout)

        wait_for(scheduled, SCHEDULE_S, server, log)
        server.send_signal(signal.SIGINT)  # what Ctrl-C does
        server.wait(timeout=60)
        assert not answers(api_url)
        assert not server_file.exists()
    finally:
        end_group(server)


def end_group(server: subprocess.Popen) -> None:
    """The server is a child of flows.serve and in its group."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, kind)
        except ProcessLookupError:
            return
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            continue


@pytest.mark.parametrize(("argument", "named"), [("port=http", "port=http: expected a number"), ("prt=1", "'prt=1'")])
def test_serve_refuses_wrong_arguments(argument, named, environment):
    asked = subprocess.run(
        [sys.executable, "-m", "flows.serve", argument], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert asked.returncode == 2
    assert named in asked.stderr
    assert "Traceback" not in asked.stderr
