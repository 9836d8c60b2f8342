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
START_S, SCHEDULE_S = 400, 300


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
        wait_for(server_file.is_file, 60, server, log)
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
            runs = json.loads(asked.stdout)
            return ["demo", "SCHEDULED"] in runs and ["reviews", "SCHEDULED"] in runs

        wait_for(scheduled, SCHEDULE_S, server, log)
        server.send_signal(signal.SIGINT)  # what Ctrl-C does
        server.wait(timeout=400)  # runs that are just starting end first
        assert not answers(api_url)
        assert not server_file.exists()
    finally:
        end_group(server)


FINISH = """
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from flows.server import use_server
use_server()
import flows.label_line as labelling
from flows import waiting
from flows.after_review import start_training
from flows.remind import remind
from flows.retrain import retrain
from lineact.decisions import write_decisions
from lineact.errors import AwaitingReview
from prefect.client.orchestration import get_client
print(start_training("demo"))
retrain.to_deployment(name="demo", parameters={"line": "demo"}, concurrency_limit=1).apply()
print(start_training("demo"))
print(start_training("demo"))
write_decisions(Path("data/demo/review/decisions.csv"), [])
print(start_training("demo"))
with get_client(sync_client=True) as client:
    runs = [run for run in client.read_flow_runs() if run.deployment_id]
    print(sorted((run.name, run.parameters["line"], run.state_type.value) for run in runs))
waiting.now_utc = lambda: datetime(2026, 3, 1, tzinfo=UTC)

def shut(line):
    raise AwaitingReview("3 names of groups")

labelling.pass_gate, labelling.run_stages = shut, lambda stages, line, run_id: []
labelling.tracking.parent_run = lambda line, parent_id: nullcontext("")
print(labelling.label_line("demo", return_state=True).name)
waiting.pass_gate = shut
for day in (2, 4):  # after 25 and 73 hours
    waiting.now_utc = lambda: datetime(2026, 3, day, 1, tzinfo=UTC)
    print(remind())
waiting.now_utc = lambda: datetime(2026, 3, 9, tzinfo=UTC)
waiting.pass_gate = lambda line: None
print(remind())
"""
EVENTS = """
import httpx, os
asked = {"filter": {"event": {"prefix": ["lineact.review."]}}}
found = httpx.post(os.environ["PREFECT_API_URL"] + "/events/filter", json=asked).json()["events"]
print(sorted((one["event"], one["resource"]["prefect.resource.id"]) for one in found))
"""


def test_finishing_a_review_starts_the_lines_deployment_once_and_reminders_are_events(checkout, environment, tmp_path):
    from flows.server import answers

    port, log = free_port(), tmp_path / "server.log"
    api_url = f"http://127.0.0.1:{port}/api"
    environment = environment | {"PREFECT_API_URL": api_url, "PREFECT_HOME": str(tmp_path / "prefect")}

    def run(script: str) -> list[str]:
        asked = [sys.executable, "-c", script]
        done = subprocess.run(asked, cwd=checkout, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    with log.open("wb") as stream:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_for(lambda: answers(api_url), START_S, server, log)
        unknown, first, again, changed, runs, state, reminder, overdue, said = run(FINISH)
        assert "has no deployment of demo" in unknown
        assert "`python -m flows.retrain line=demo`" in unknown
        assert first.startswith("training of demo is started: flow run 'after the review of demo'")
        assert again == first  # the same decisions start it once
        assert changed != first
        assert runs == str([("after the review of demo", "demo", "SCHEDULED")] * 2)
        assert state == "AwaitingReview"
        assert "line demo has waited for 25 hours: 3 names of groups" in reminder
        assert "line demo has waited for 73 hours, 1 of them past its deadline: 3 names of groups" in overdue
        assert "line demo: the review is done" in said
        kinds = ("awaited", "finished", "overdue", "reminder")
        expected = [str([(f"lineact.review.{kind}", "lineact.line.demo") for kind in kinds])]
        wait_for(lambda: run(EVENTS) == expected, 180, server, log)
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
