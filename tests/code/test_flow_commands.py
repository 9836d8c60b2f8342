"""The flows' commands when something is wrong: one clear error at the end, and no server of somebody else."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from flows import is_no_repetition
from flows import server as module
from flows.live import runtime_command
from flows.serve import loopback_host, refuse_second_server
from flows.server import note_server, standing_server, use_standing_server
from lineact.errors import AwaitingReview, ConfigError, InputError
from lineact.runtime.__main__ import arguments_of, settings_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path):
    """What the flows read of this project before their first stage."""
    for name in ("conf", "flows", "lineact", "tasks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    return tmp_path


def ask(project: Path, flow: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    command = [sys.executable, "-m", f"flows.{flow}", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("flow", ["retrain", "label_line", "train_line", "compare_detectors"])
def test_an_unknown_line_is_refused_before_anything_starts(flow, project):
    asked = ask(project, flow, "line=nope")
    assert asked.returncode == 2
    assert asked.stdout == ""
    assert asked.stderr == (
        "error: conf/lines.yaml: unknown line 'nope'; active lines are demo. "
        "To add it: `make line NAME=nope VIDEOS=DIR`\n"
    )
    assert not (project / "mlflow.db").exists()
    assert not list((project / ".lineact/prefect").iterdir())


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("conf/line/demo.yaml", "\nmatch:", '\nschedule: {cron: "0 25 * * *"}\nmatch:', "expected .*hour, found '25'"),
        ("conf/line/demo.yaml", "\nmatch:", "\nschedule: {cron: nightly}\nmatch:", "cron: expected five fields"),
        ("conf/lines.yaml", "  - demo\n", "  - demo\n  - demo\n", "each line once, found demo twice: two lines cannot"),
    ],
)
def test_serve_names_a_bad_schedule_or_a_doubled_line_before_any_server_starts(file, old, new, named, project):
    path = project / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    asked = ask(project, "serve", "port=1")
    assert asked.returncode == 2
    assert asked.stdout == ""
    (told,) = asked.stderr.splitlines()
    assert told.startswith(f"error: {file}")
    assert re.search(named, told)


@pytest.mark.parametrize("flow", ["answer_queue", "review", "live"])
def test_the_other_commands_of_a_line_refuse_an_unknown_one(flow, project):
    (project / "params.yaml").write_text("lines: {demo: {}}\n")
    asked = ask(project, flow, "line=nope", *(["annotations=a.json"] if flow == "answer_queue" else []))
    assert asked.returncode in (2, 3)
    assert asked.stderr.startswith("error: ")
    assert "nope" in asked.stderr
    assert "line=nope" not in asked.stderr  # no command that would refuse it as well
    assert len(asked.stderr.splitlines()) == 1


def test_live_runs_the_line_s_release_on_its_last_recording(project, monkeypatch):
    monkeypatch.chdir(project)
    with pytest.raises(InputError, match=r"models/demo/export/bundle: expected a release, .* flows.retrain line=demo"):
        runtime_command("demo", "", "")
    Path("models/demo/export/bundle").mkdir(parents=True)
    Path("data/demo/raw").mkdir(parents=True)
    for name in ("rec_00.mp4", "rec_01.mp4"):
        Path("data/demo/raw", name).touch()
    command = runtime_command("demo", "", "")
    assert command[1:3] == ["-m", "lineact.runtime"]
    settings = settings_of(arguments_of(command[3:]))
    asked = arguments_of(command[3:])
    assert (asked.bundle, asked.source) == ("models/demo/export/bundle", "data/demo/raw/rec_01.mp4")
    assert (asked.camera, asked.out) == ("demo", Path(".lineact/live/demo"))
    assert (settings.source.mode, settings.source.repeat, settings.view.port) == ("latest", True, 8766)
    camera = arguments_of(runtime_command("demo", "rtsp://cell7/1", "9000")[3:])
    assert (camera.source, camera.repeat, camera.view) == ("rtsp://cell7/1", False, 9000)


@pytest.mark.slow
def test_a_failed_stage_ends_a_flow_with_one_error_and_no_traceback(project):
    config = project / "conf/config.yaml"
    config.write_text(config.read_text().replace("  min_motion:", "  min_motionn:"))
    asked = ask(project, "retrain", "line=demo")
    assert asked.returncode == 2  # the stage's own
    told = asked.stdout + asked.stderr
    assert told.count("unknown key 'min_motionn'") == 2  # by the stage, and by the command's last line
    assert "Beginning flow run" in told
    assert "Traceback" not in told
    last = asked.stderr[asked.stderr.index("\nerror: ") :].splitlines()[1:]
    assert last[0] == "error: `dvc repro configure` failed; its last lines:"
    assert "unknown key 'min_motionn'" in last[1]
    assert len(last) == 2


@pytest.mark.parametrize("name", ["prefect.flow_runs", "prefect.task_runs"])
def test_prefect_shows_tracebacks_of_defects_alone(name):
    import prefect  # noqa: F401  configures the loggers

    shown: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = shown.append  # type: ignore[assignment, method-assign]
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        for error in (InputError("file: broken"), AwaitingReview("12 items wait"), ZeroDivisionError("a defect")):
            try:
                raise error
            except Exception:
                logger.exception("Encountered exception during execution: %r", error)
        logger.error("Finished in state %s", "Failed('Flow run encountered an exception: InputError: file: broken')")
    finally:
        logger.removeHandler(handler)
    in_a_deployment = 1 if name == "prefect.flow_runs" else 0  # there, no command's last line tells the error
    assert [record.exc_info and record.exc_info[0] for record in shown] == [
        ZeroDivisionError,
        *[None] * in_a_deployment,
    ]
    assert [is_no_repetition(record) for record in shown] == [True, *[False] * in_a_deployment]


def test_a_temporary_server_does_not_outlive_a_killed_command(project):
    """Not even one that was killed while its server was starting."""
    starts = "from flows.server import start_temporary_server; start_temporary_server()"
    command = subprocess.Popen(
        [sys.executable, "-c", starts], cwd=project, env=os.environ | {"PYTHONPATH": str(project)}
    )
    while not (started := psutil.Process(command.pid).children()):
        assert command.poll() is None
        time.sleep(0.05)
    assert os.getpgid(started[0].pid) != os.getpgid(command.pid)
    command.kill()
    command.wait()
    assert not psutil.wait_procs(started, timeout=180)[1]


@pytest.fixture
def other_server(tmp_path, monkeypatch):
    """Somebody else's Prefect server, and a project without one; gives the address."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    monkeypatch.chdir(tmp_path)
    # set first, so that whatever the code under test sets is taken back
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.delenv("PREFECT_API_URL")
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


@contextmanager
def sleeping():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_server_is_used_while_its_process_runs_and_no_longer(other_server):
    with sleeping() as process:
        note_server(other_server, process.pid)
        assert standing_server() == (other_server, process.pid)
        with pytest.raises(
            InputError, match=f"this project's server runs there already; end it first: kill {process.pid}"
        ):
            refuse_second_server("http://127.0.0.1:1/api")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert standing_server() is None  # though a zombie is left
        process.wait()
        use_standing_server()
        assert "PREFECT_API_URL" not in os.environ
        with pytest.raises(InputError, match="another server answers there"):
            refuse_second_server(other_server)
        refuse_second_server("http://127.0.0.1:1/api")
        with sleeping() as second:
            note_server(other_server, second.pid)
            use_standing_server()
            assert os.environ["PREFECT_API_URL"] == other_server


def test_another_program_with_the_number_of_a_killed_server_is_not_taken_for_it(other_server):
    with sleeping() as process:
        note_server(other_server, process.pid)
        noted = json.loads(module.SERVER_FILE.read_text())
        for changed in (noted | {"started_s": noted["started_s"] - 60}, {"api_url": other_server, "pid": process.pid}):
            module.SERVER_FILE.write_text(json.dumps(changed))
            assert standing_server() is None
        module.SERVER_FILE.write_text('{"api_url"')
        assert standing_server() is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost"])
def test_the_server_may_listen_to_this_machine(host):
    assert loopback_host(host) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org", "127.0.0.1.example.org"])  # noqa: S104
def test_the_server_may_not_listen_to_others(host):
    with pytest.raises(ConfigError, match=r"expected 127\.0\.0\.1 or localhost.*tunnel"):
        loopback_host(host)
