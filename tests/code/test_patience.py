"""Waiting for an MLflow that is away: a real server that is stopped and started again; nothing is there twice."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from flows import patience, tracking
from flows.dvc_stage import StageError, StageResult
from flows.patience import MlflowAwayError, is_away, patient
from flows.result import PushError, is_io_failure
from lineact.errors import FullDiskError, InputError

ROOT = Path(__file__).resolve().parents[2]
LINE = "demo"
SCHEDULE = {
    "cron": "0 2 * * *",
    "timezone": "UTC",
    "work_pool": "lineact",
    "retries": 1,
    "retry_delay_s": 1.0,
    "remote": None,
}


def be_scheduled(limit_s: float) -> None:
    """Makes the working folder that of a scheduled run that waits so long for MLflow."""
    note = {"line": LINE, "flow_run": "run-1", "commit": "0", "begun_at": "2026-01-01T000000"}
    Path("scheduled_run.json").write_text(json.dumps(note | {"schedule": SCHEDULE | {"mlflow_wait_s": limit_s}}))


class Flaky:
    """A step that fails so many times and then says "done"."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


def gone() -> Exception:
    import requests.exceptions

    return requests.exceptions.ConnectionError("Max retries exceeded")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(patience, "PAUSE_S", 0.01)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_scheduled_run_waits_and_says_so_once(capsys):
    be_scheduled(60.0)
    step = Flaky(3, gone())
    assert patient(step.__call__)() == "done"
    assert step.calls == 4
    told = capsys.readouterr().err
    assert told.count("MLflow is away") == 1
    assert "at most 60 s" in told


@pytest.mark.usefixtures("folder")
def test_a_run_by_hand_does_not_wait():
    step = Flaky(1, gone())
    with pytest.raises(Exception, match="Max retries exceeded"):
        patient(step.__call__)()
    assert step.calls == 1


@pytest.mark.usefixtures("folder")
def test_the_limit_ends_the_waiting_with_the_way_out():
    be_scheduled(0.05)
    step = Flaky(1000, gone())
    with pytest.raises(MlflowAwayError, match=r"away for 0\.05 s \(schedule\.mlflow_wait_s\).*registered twice; start"):
        patient(step.__call__)()
    assert 1 < step.calls < 1000


@pytest.mark.usefixtures("folder")
def test_other_errors_are_not_waited_for():
    be_scheduled(60.0)
    step = Flaky(1, InputError("the ledger was changed"))
    with pytest.raises(InputError):
        patient(step.__call__)()
    assert step.calls == 1


def from_store(text: str) -> Exception:
    """What boto3 makes of an answer that the store gave."""
    from boto3.exceptions import S3UploadFailedError

    return S3UploadFailedError(f"Failed to upload plot.png to lineact/mlflow/1: {text}")


def store_errors() -> list[tuple[Exception, bool]]:
    from botocore import exceptions
    from botocore.exceptions import ClientError
    from mlflow.exceptions import MlflowException

    url = "http://127.0.0.1:1/lineact"
    quoted = f'##### File view.png #####\nCould not connect to the endpoint URL: "{url}"'
    denied, busy = ({"Error": {"Code": code, "Message": "m"}} for code in ("AccessDenied", "SlowDown"))
    return [
        (exceptions.EndpointConnectionError(endpoint_url=url), True),
        (exceptions.ConnectTimeoutError(endpoint_url=url), True),
        (exceptions.ReadTimeoutError(endpoint_url=url), True),
        (exceptions.HTTPClientError(error="broken"), True),
        (exceptions.ConnectionClosedError(endpoint_url=url), True),
        (from_store("the connection was lost"), True),
        (from_store(str(ClientError(busy, "PutObject"))), True),
        (from_store(str(ClientError(denied, "PutObject"))), False),
        (ClientError(busy, "PutObject"), True),
        (ClientError(denied, "PutObject"), False),
        (exceptions.NoCredentialsError(), False),
        (MlflowException(f"The following failures occurred while downloading artifacts:\n{quoted}"), True),
    ]


def refused_by_database() -> list[tuple[Exception, bool]]:
    """PostgreSQL's own words, as SQLAlchemy raises them and as MLflow then wraps them in an answer 503."""
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    found: list[tuple[Exception, bool]] = []
    for words, is_gone in (
        ('FATAL:  password authentication failed for user "lineact"', False),
        ('FATAL:  database "mlflow" does not exist', False),
        ('FATAL:  role "lineact" does not exist', False),
        ("fe_sendauth: no password supplied", False),
        ("FATAL:  the database system is starting up", True),
        ("Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?", True),
        ("server closed the connection unexpectedly", True),
    ):
        told = f'connection to server at "127.0.0.1", port 5432 failed: {words}'
        raised = sqlalchemy.exc.OperationalError("", {}, Exception(told))
        wrapped = MlflowException(str(raised), error_code=TEMPORARILY_UNAVAILABLE)
        wrapped.__cause__ = raised
        found += [(raised, is_gone), (wrapped, is_gone)]
    return found


def errors() -> list[tuple[Exception, bool]]:
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException, RestException

    busy = sqlalchemy.exc.OperationalError("INSERT", {}, Exception("database is locked"))
    full = sqlalchemy.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))
    return [
        (busy, True),
        (full, False),
        (MlflowException("API request to endpoint /x failed with error code 503 != 200"), True),
        (MlflowException("API request to endpoint /x failed with error code 404 != 200"), False),
        (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}), True),
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}), False),
        (FullDiskError(Path("x")), False),
    ]


@pytest.mark.parametrize(("error", "away"), errors() + store_errors() + refused_by_database())
def test_what_counts_as_away(error, away):
    assert is_away(error) is away
    wrapped = RuntimeError("around")
    wrapped.__cause__ = error
    assert is_away(wrapped) is away


@pytest.mark.parametrize(("error", "away"), store_errors())
def test_a_store_that_is_away_is_tried_again_also_where_a_message_quotes_it(error, away):
    quoted = f"{type(error).__name__}: {error}"
    for raised in (error, PushError(f"DVC's remote store: found:\n{quoted}"), StageError(quoted, 1)):
        assert is_io_failure(raised) is away


def start_mlflow(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """MLflow's own server on a database in the folder; returns when it answers."""
    from urllib.error import URLError
    from urllib.request import urlopen

    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        f"{folder}/artefacts",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (folder / "mlflow.log").open("ab") as log:
        quiet = environment | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        server = subprocess.Popen(command, env=quiet, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    while True:
        assert server.poll() is None, (folder / "mlflow.log").read_text()[-3000:]
        with contextlib.suppress(URLError, OSError), urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return server
        time.sleep(0.5)


def stop(server: "subprocess.Popen[bytes]") -> None:
    """The server, and the workers that it started."""
    os.killpg(server.pid, 9)
    server.wait()


@pytest.fixture
def away_for_a_while(folder, monkeypatch):
    """A scheduled run whose MLflow is a real server, and a switch for it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")  # `set_tracking_uri` would hold for ever
    servers = [start_mlflow(folder, port)]

    class Switch:
        def off(self) -> None:
            stop(servers.pop())

        def on(self) -> None:
            servers.append(start_mlflow(folder, port))

    yield Switch()
    for server in servers:
        stop(server)


def write_stage() -> StageResult:
    """A stage's outputs and its entry in dvc.lock."""
    made = Path("data/demo/ingest")
    made.mkdir(parents=True)
    (made / "metrics.json").write_text('{"frames": 3}')
    entry = {"cmd": "x", "deps": [], "params": {}, "outs": [{"path": str(made), "md5": "a"}]}
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"ingest@demo": entry}}))
    return StageResult("ingest", "ran", 1.0)


@pytest.mark.services
def test_a_run_goes_on_where_mlflow_was_away_in_the_middle_and_nothing_is_there_twice(
    away_for_a_while, monkeypatch, capsys
):
    monkeypatch.setattr(tracking, "_flow_run", lambda: {tracking.FLOW_RUN_TAG: "run-1"})
    monkeypatch.setattr(tracking, "provenance", lambda _: {})
    be_scheduled(600.0)
    result = write_stage()
    log_batch = type(tracking.client()).log_batch
    interrupted: list[Thread] = []

    def log_batch_and_lose_the_server(self, *arguments, **named):
        if not interrupted:  # the child run is there, its metrics are not
            away_for_a_while.off()
            interrupted.append(Thread(target=away_for_a_while.on))
            interrupted[0].start()
        return log_batch(self, *arguments, **named)

    monkeypatch.setattr(type(tracking.client()), "log_batch", log_batch_and_lose_the_server)
    with tracking.parent_run(LINE) as parent_id:
        child_id = tracking.log_stage(parent_id, LINE, result)
    interrupted[0].join()
    assert "MLflow is away" in capsys.readouterr().err
    runs = tracking.client().search_runs([tracking.experiment_id(LINE)])
    assert {run.info.run_id: run.info.status for run in runs} == {parent_id: "FINISHED", child_id: "FINISHED"}
    assert tracking.client().get_run(child_id).data.metrics["frames"] == 3
    assert tracking.client().get_run(parent_id).data.tags["stage.ingest"] == f"ran {child_id}"


@pytest.mark.services
def test_a_run_whose_mlflow_stays_away_ends_and_goes_on_later_in_the_same_runs(away_for_a_while, monkeypatch):
    monkeypatch.setattr(tracking, "_flow_run", lambda: {tracking.FLOW_RUN_TAG: "run-1"})
    monkeypatch.setattr(tracking, "provenance", lambda _: {})
    be_scheduled(0.5)
    result = write_stage()
    parents = []

    def run() -> None:
        with tracking.parent_run(LINE) as parent_id:
            parents.append(parent_id)
            if len(parents) == 1:
                away_for_a_while.off()
            tracking.log_stage(parent_id, LINE, result)

    with pytest.raises(MlflowAwayError, match=r"away for 0\.5 s"):
        run()
    away_for_a_while.on()
    be_scheduled(60.0)
    run()
    assert parents[0] == parents[1]
    runs = tracking.client().search_runs([tracking.experiment_id(LINE)])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED"]
