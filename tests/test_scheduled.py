"""Scheduled retraining by `make serve`: a real Prefect server, worker, git and DVC; two lines at once, and kills."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Completed, Crashed, Pending, Running, Scheduled

from flows import deployments, keeper, serve
from flows.keeper import MOST_STARTS, Keeper
from flows.monitor_line import start_training
from flows.one_run import LOCKS, look_lock, only_run_of
from flows.server import answers
from lineact.errors import InputError
from tests.small_line import LINE, SETTINGS, environment, lists_of, lock_of, make_checkout, run, stage_in, start
from tests.test_end_to_end import OPEN_GATES
from tests.test_services import free_port

pytestmark = pytest.mark.services
OTHER, UNBORN = "other", "unborn"
SCHEDULE = {"retries": 1, "retry_delay_s": 1.0, "mlflow_wait_s": 60.0}
ENDED = ("Completed", "Failed", "Cancelled")  # one that crashed goes on
RUN_S = 2400  # two lines side by side on two cores, beside other work


@contextlib.contextmanager
def client_of(port: int) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}), get_client(sync_client=True) as client:
        yield client


def wait_until(is_so: Callable[[], Any], seconds: float, log: Path) -> Any:
    deadline_s = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline_s, f"nothing within {seconds} s:\n{log.read_text()[-5000:]}"
        time.sleep(1)
    return found


def end(process: subprocess.Popen) -> None:
    """Ends a process and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=180)
        for one in [*family, psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prefect server without a worker: its port, and the folder of its database."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    log = home / "log"
    known = environment() | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=known, stdout=stream, stderr=stream, start_new_session=True)
    wait_until(lambda: answers(f"http://127.0.0.1:{port}/api"), 200, log)
    yield port, home
    end(process)


def forget_checkout(client: SyncPrefectClient) -> None:
    """As a person does whose checkout moved."""
    with contextlib.suppress(ObjectNotFound):
        client.update_work_pool(deployments.POOL, WorkPoolUpdate(description=""))


@pytest.fixture
def project(server, tmp_path, monkeypatch):
    """A folder with the settings of the lines `small` and `other`; the process is in it, and the server is its own."""
    with client_of(server[0]) as client:
        forget_checkout(client)
    shutil.copytree(Path(__file__).parents[1] / "conf", tmp_path / "conf")
    head = "# @package _global_\ndefaults:\n  - override /source: simulation\n"
    for name, cron in ((LINE, "30 3 * * mon-fri"), (OTHER, "0 2 * * *")):
        own = SETTINGS | {"schedule": {"cron": cron, "timezone": "Europe/Berlin", "work_pool": f"pool_{name}"}}
        (tmp_path / f"conf/line/{name}.yaml").write_text(head + yaml.safe_dump(own))
    (tmp_path / "conf/lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", LINE, OTHER)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_active_line_has_a_deployment_from_its_settings(server, project):
    with client_of(server[0]) as client:
        assert deployments.deploy(client, deployments.schedules()) == {"lineact", f"pool_{LINE}", f"pool_{OTHER}"}
        found = client.read_deployment_by_name(f"retrain/{LINE}")
        assert found.work_pool_name == f"pool_{LINE}"
        assert found.global_concurrency_limit is not None
        assert found.global_concurrency_limit.limit == 1
        assert found.parameters == {"line": LINE}
        (schedule,) = found.schedules
        assert isinstance(schedule.schedule, CronSchedule)
        assert (schedule.schedule.cron, schedule.schedule.timezone) == ("30 3 * * mon-fri", "Europe/Berlin")
        assert found.pull_steps == [{"flows.deployments.isolate": {"line": LINE}}]
        assert found.job_variables["working_dir"] == str(project)
        assert client.read_deployment_by_name("remind/reviews").work_pool_name == "lineact"


def test_another_checkout_s_database_is_refused_before_anything_changes(server, project, tmp_path, monkeypatch):
    with client_of(server[0]) as client:
        deployments.deploy(client, deployments.schedules())
        elsewhere = tmp_path / "elsewhere"
        shutil.copytree(project / "conf", elsewhere / "conf")
        monkeypatch.chdir(elsewhere)
        before = deployments.lines_of(client)
        with pytest.raises(
            InputError, match=rf"found that of checkout .*:{project}: each checkout needs one of its own"
        ):
            deployments.deploy(client, {})
        assert deployments.lines_of(client) == before
        forget_checkout(client)
        deployments.deploy(client, {})


def test_a_page_of_another_site_may_not_start_runs(project):  # noqa: ARG001 - the process is in it
    port = free_port()
    server = serve.start_server("127.0.0.1", port)
    try:
        for origin, is_own in (("http://evil.example", False), (f"http://localhost:{port}", True)):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            told = httpx.options(f"http://127.0.0.1:{port}/api/deployments/", headers=asked).headers
            assert (told.get("access-control-allow-origin") == origin) == is_own
            assert "*" not in told.get("access-control-allow-origin", "")
    finally:
        serve.end(server)


def test_what_a_person_paused_stays_paused_and_a_line_that_went_has_no_deployment(server, project):
    with client_of(server[0]) as client:
        deployments.deploy(client, deployments.schedules())
        small, other = (client.read_deployment_by_name(f"retrain/{line}") for line in (LINE, OTHER))
        client.pause_deployment(small.id)
        client.update_deployment_schedule(other.id, other.schedules[0].id, active=False)
        deployments.deploy(client, deployments.schedules())
        assert client.read_deployment_by_name(f"retrain/{LINE}").paused
        assert [one.active for one in client.read_deployment_by_name(f"retrain/{OTHER}").schedules] == [False]
        assert client.read_deployment_by_name(f"retrain/{OTHER}").id == other.id
        client.resume_deployment(small.id)
        (project / "conf/lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", LINE)))
        deployments.deploy(client, deployments.schedules())
        assert set(deployments.lines_of(client)) == {LINE}
        assert not client.read_deployment_by_name(f"retrain/{LINE}").paused


def set_drift(project: Path, **drift: Any) -> None:
    own = project / f"conf/line/{LINE}.yaml"
    head, _, rest = own.read_text().partition("\nactions:")
    own.write_text(head + "\n" + yaml.safe_dump(yaml.safe_load(f"actions:{rest}") | {"drift": drift}))


def test_a_line_whose_stations_videos_are_named_is_looked_at_until_they_are_not(server, project):
    with client_of(server[0]) as client:
        deployments.deploy(client, deployments.schedules())
        assert deployments.lines_of(client, "monitor") == {}
        set_drift(project, videos="/srv/small/video", every_h=8)
        deployments.deploy(client, deployments.schedules())
        assert set(deployments.lines_of(client, "monitor")) == {LINE}
        assert set(deployments.lines_of(client)) == {LINE, OTHER}
        found = client.read_deployment_by_name(f"monitor/{LINE}")
        assert found.work_pool_name == f"pool_{LINE}"
        assert found.global_concurrency_limit is not None
        assert found.global_concurrency_limit.limit == 1
        assert found.parameters == {"line": LINE}
        (schedule,) = found.schedules
        assert isinstance(schedule.schedule, IntervalSchedule)
        assert schedule.schedule.interval == timedelta(hours=8)
        assert schedule.schedule.anchor_date == deployments.LOOKS_FROM
        in_checkout = {"prefect.deployments.steps.set_working_directory": {"directory": str(project)}}
        assert found.pull_steps == [in_checkout]

        client.pause_deployment(found.id)
        set_drift(project, videos="/srv/small/video", every_h=12)
        deployments.deploy(client, deployments.schedules())
        again = client.read_deployment_by_name(f"monitor/{LINE}")
        assert (again.id, again.paused) == (found.id, True)
        assert [one.schedule.interval for one in again.schedules] == [timedelta(hours=12)]  # type: ignore[union-attr]
        client.resume_deployment(found.id)
        client.update_deployment_schedule(found.id, again.schedules[0].id, active=False)
        deployments.deploy(client, deployments.schedules())
        assert [one.active for one in client.read_deployment_by_name(f"monitor/{LINE}").schedules] == [False]

        set_drift(project, videos="")
        deployments.deploy(client, deployments.schedules())
        assert deployments.lines_of(client, "monitor") == {}
        set_drift(project, videos="/srv/small/video")
        (project / "conf/lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", OTHER)))
        deployments.deploy(client, deployments.schedules())
        assert deployments.lines_of(client, "monitor") == {}


def new_run(client: SyncPrefectClient, *states: Any, flow: str = "retrain") -> FlowRun:
    """A run that went through these states; nobody works on it."""
    deployment = client.read_deployment_by_name(f"{flow}/{LINE}")
    made = client.create_flow_run_from_deployment(deployment.id)
    for state in states:
        client.set_flow_run_state(made.id, state, force=True)
    return client.read_flow_run(made.id)


@pytest.fixture
def deployed(server, project, monkeypatch):  # noqa: ARG001 - the process is in the project
    """The lines are deployed anew, and a run counts as silent at once."""
    monkeypatch.setattr(keeper, "GRACE_S", -1.0)
    monkeypatch.setattr(keeper, "TOLD_S", -1.0)
    with client_of(server[0]) as client:
        for one in deployments.lines_of(client).values():
            client.delete_deployment(one.id)
        deployments.deploy(client, deployments.schedules())
        yield client


@pytest.mark.parametrize("states", [(Running(),), (Pending(),), (Running(), Crashed())])
def test_a_run_that_a_kill_ended_goes_on_as_itself(states, deployed):
    killed, looks = new_run(deployed, *states), Keeper()
    looks.look(deployed)
    if states[-1].type.value != "CRASHED":
        assert state_of(deployed, killed) == states[-1].name  # it may be just ending
        looks.look(deployed)
    assert state_of(deployed, killed) == "Resuming"
    looks.look(deployed)
    assert deployed.read_flow_run(killed.id).run_count == killed.run_count  # once


def state_of(client: SyncPrefectClient, one: FlowRun) -> str:
    found = client.read_flow_run(one.id).state
    assert found is not None
    assert found.name is not None
    return found.name


def test_a_run_whose_process_holds_its_line_is_left_alone(deployed):
    going_on, looks = new_run(deployed, Running()), Keeper()
    script = f"import sys\nfrom flows.one_run import only_run_of\nwith only_run_of({LINE!r}):\n"
    script += "    print(1, flush=True)\n    sys.stdin.read()"
    paths = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, env=paths) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(3):
            looks.look(deployed)
        assert state_of(deployed, going_on) == "Running"
        process.kill()
    looks.look(deployed)
    looks.look(deployed)
    assert state_of(deployed, going_on) == "Resuming"
    assert (LOCKS / f"{LINE}.lock").exists()
    with only_run_of(LINE):
        pass


def test_a_look_that_a_kill_ended_goes_on_and_one_that_holds_its_lock_is_left_alone(deployed, project):
    set_drift(project, videos="/srv/small/video")
    deployments.deploy(deployed, deployments.schedules())
    killed, looks = new_run(deployed, Running(), flow="monitor"), Keeper()
    with only_run_of(look_lock(LINE)):
        for _ in range(3):
            looks.look(deployed)
        assert state_of(deployed, killed) == "Running"
    looks.look(deployed)
    looks.look(deployed)
    assert state_of(deployed, killed) == "Resuming"


def test_a_look_that_alarms_starts_the_lines_training_once(server, deployed, monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server[0]}/api")
    for run_id in ("one", "one", "other"):
        start_training(LINE, SimpleNamespace(run_id=run_id))  # type: ignore[arg-type]
    told = capsys.readouterr().out.splitlines()
    assert all(one.startswith(f"training of {LINE} is started: flow run 'after drift of {LINE}'") for one in told)
    deployment = deployed.read_deployment_by_name(f"retrain/{LINE}")
    mine = [run for run in deployed.read_flow_runs(limit=200) if run.deployment_id == deployment.id]
    assert [run.name for run in mine if not run.auto_scheduled] == [f"after drift of {LINE}"] * 2


def test_what_was_cancelled_or_ends_its_machine_each_time_or_is_done_since_does_not_go_on(deployed):
    cancelled, looks = new_run(deployed, Running(), Cancelling()), Keeper()
    looks.look(deployed)
    looks.look(deployed)
    assert state_of(deployed, cancelled) == "Cancelled"
    kinds: tuple[Any, ...] = (Scheduled, Running)
    again = [kind() for _ in range(MOST_STARTS) for kind in kinds]
    ends_its_machine = new_run(deployed, *again)
    assert ends_its_machine.run_count == MOST_STARTS
    for _ in range(4):
        looks.look(deployed)
    assert state_of(deployed, ends_its_machine) == "Crashed"
    crashed = new_run(deployed, Running(), Crashed())
    new_run(deployed, Running(), Completed())
    looks.look(deployed)
    assert state_of(deployed, crashed) == "Crashed"


def test_a_machine_that_was_off_or_whose_clock_jumped_runs_a_line_once(server, deployed, project):
    """The server has scheduled the next runs; then it is hours later."""
    _, home = server
    own = project / f"conf/line/{OTHER}.yaml"
    own.write_text(own.read_text().replace("0 2 * * *", "17 * * * *"))
    (project / "conf/lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", LINE, OTHER)))
    deployments.deploy(deployed, deployments.schedules())
    deployment = deployed.read_deployment_by_name(f"retrain/{OTHER}")

    def scheduled() -> list[FlowRun]:
        found = deployed.read_flow_runs(limit=200)
        return [one for one in found if one.deployment_id == deployment.id and one.auto_scheduled]

    wait_until(lambda: len(scheduled()) >= 3, 120, home / "log")
    asked_for = deployed.create_flow_run_from_deployment(deployment.id)
    times = {one.id: one.expected_start_time for one in scheduled()}
    late_by = timedelta(hours=2.5)
    jumped = datetime.now(UTC) + late_by
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper, "_now", lambda: jumped)
        Keeper().look(deployed)
    due = sorted((at, one) for one, at in times.items() if at is not None and at <= jumped)
    assert len(due) >= 2
    names = {one.id: state_of(deployed, one) for one in deployed.read_flow_runs(limit=200) if one.id in times}
    assert {names[one] for _, one in due[:-1]} == {"Skipped"}
    assert names[due[-1][1]] == "Scheduled"
    assert state_of(deployed, asked_for) == "Scheduled"
    assert {names[one] for one, at in times.items() if at is not None and at > jumped} <= {"Scheduled"}
    deployed.set_flow_run_state(due[-1][1], Running(), force=True)  # it begins, and the clock jumps back
    Keeper().look(deployed)
    assert len({one.expected_start_time for one in scheduled()}) == len(scheduled())  # no time is scheduled again


def commit(checkout: Path, words: str) -> None:
    subprocess.run(["git", "add", "-A"], cwd=checkout, check=True)
    named = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", *named, "commit", "-qm", words], cwd=checkout, check=True)


def git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=checkout, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """Two committed small lines that differ in their seed, one that is not committed, and a DVC remote."""
    folder = make_checkout(tmp_path / "checkout", SETTINGS | {"register": OPEN_GATES, "schedule": SCHEDULE})
    small = folder / f"conf/line/{LINE}.yaml"
    (folder / f"conf/line/{OTHER}.yaml").write_text(small.read_text() + "seed: 1\n")
    (folder / "conf/lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", LINE, OTHER)))
    assert run(folder, "dvc", "remote", "add", "-d", "store", "../store").returncode == 0
    assert run(folder, "dvc", "repro", "configure").returncode == 0
    commit(folder, "two small lines")
    (folder / f"conf/line/{UNBORN}.yaml").write_text(small.read_text())
    (folder / "conf/lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", LINE, OTHER, UNBORN)))
    (folder / "notes.txt").write_text("half-done")
    return folder


def test_a_worker_looks_in_the_checkout(server, checkout, monkeypatch):
    port, _ = server
    (checkout / "conf/lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", LINE)))
    own = checkout / f"conf/line/{LINE}.yaml"
    own.write_text(f"{own.read_text()}drift: {{videos: /srv/small/video}}\n")
    monkeypatch.chdir(checkout)
    with client_of(port) as client:
        forget_checkout(client)
        deployments.deploy(client, deployments.schedules())
        asked = client.create_flow_run_from_deployment(client.read_deployment_by_name(f"monitor/{LINE}").id)
        known = environment() | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PYTHONPATH": str(checkout)}
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "lineact", "--type", "process"]
        log = checkout.parent / "worker.log"
        with log.open("wb") as stream:
            process = subprocess.Popen([*worker, "--install-policy", "never"], env=known, stdout=stream, stderr=stream)
        try:
            wait_until(lambda: state_of(client, asked) in (*ENDED, "NotLooked", "Crashed"), 300, log)
        finally:
            end(process)
        state = client.read_flow_run(asked.id).state
        assert state is not None
        assert state.name == "NotLooked", log.read_text()
        assert "nothing is released yet" in str(state.message)
        for one in (client.read_deployment_by_name(f"{flow}/{LINE}") for flow in ("monitor", "retrain")):
            client.delete_deployment(one.id)


def family_of(checkout: Path, line: str) -> list[psutil.Process]:
    """A line's flow and all that it started."""
    where = str(checkout / f".lineact/worktrees/{line}")
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "prefect.engine" in one.cmdline() and one.cwd() == where:
                return [one, *one.children(recursive=True)]
    return []


def is_in(checkout: Path, line: str, stage: str) -> bool:
    running = stage_in(family_of(checkout, line))
    return running is not None and running[0] == stage


@pytest.mark.long
@pytest.mark.timeout(2 * RUN_S)
def test_two_lines_retrain_at_once_whatever_is_killed_and_a_person_works_on_undisturbed(checkout, tmp_path):
    port, log = free_port(), tmp_path / "log"
    before = [git(checkout, *asked) for asked in (("rev-parse", "HEAD"), ("status", "--porcelain"), ("diff",))]
    serve = start(checkout, log, "flows.serve", f"port={port}")
    try:
        wait_until(lambda: "Prefect's UI:" in log.read_text(), 300, log)
        with client_of(port) as client:
            runs = {
                line: client.create_flow_run_from_deployment(
                    client.read_deployment_by_name(f"retrain/{line}").id  # as "Quick run" in the UI
                )
                for line in (LINE, OTHER, UNBORN)
            }
            wait_until(lambda: is_in(checkout, LINE, "detect"), RUN_S, log)
            for one in family_of(checkout, LINE):  # a run
                one.kill()
            wait_until(lambda: is_in(checkout, OTHER, "train_detector"), RUN_S, log)
            assert state_of(client, runs[UNBORN]) == "Failed"
            told = client.read_flow_run(runs[UNBORN].id).state
            assert told is not None
            assert "takes what is committed" in str(told.message)
        serve.kill()  # all of it
        serve.wait()
        wait_until(lambda: not answers(f"http://127.0.0.1:{port}/api"), 120, log)
        serve = start(checkout, log, "flows.serve", f"port={port}")
        wait_until(lambda: len(re.findall("Worker 'ProcessWorker .*' started", log.read_text())) == 2, 300, log)
        wait_until(lambda: stage_in(family_of(checkout, LINE)) and stage_in(family_of(checkout, OTHER)), RUN_S, log)
        with client_of(port) as client:
            (server,) = [one for one in psutil.Process(serve.pid).children() if "server" in one.cmdline()]
            for one in [*server.children(recursive=True), server]:  # the server alone
                one.kill()
            wait_until(lambda: "the server ended; it is started again" in log.read_text(), 120, log)
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/api"), 300, log)
            for line in (LINE, OTHER):
                wait_until(lambda: state_of(client, runs[line]) in ENDED, RUN_S, log)  # noqa: B023
                assert state_of(client, runs[line]) == "Completed", log.read_text()[-5000:]
                assert client.read_flow_run(runs[line].id).run_count > 1
        wait_until(lambda: "\n" not in git(checkout, "worktree", "list"), 60, log)  # gone, after the run's end
    finally:
        end(serve)
        for line in (LINE, OTHER):
            for one in family_of(checkout, line):
                one.kill()
    assert [git(checkout, "rev-parse", "HEAD"), git(checkout, "diff")] == before[::2]
    changed = set(git(checkout, "status", "--porcelain").splitlines()) - set(before[1].splitlines())
    assert changed <= {f"?? models/{line}/" for line in (LINE, OTHER)}  # the ledgers
    judge_left(checkout, {line: str(one.id) for line, one in runs.items()})


def judge_left(checkout: Path, runs: dict[str, str]) -> None:
    """What both lines' runs left in MLflow, git and DVC's remote, each once."""
    from mlflow import MlflowClient

    store = MlflowClient(f"sqlite:///{checkout}/mlflow.db")
    branches = {}
    for line in (LINE, OTHER):
        (experiment,) = [one.experiment_id for one in store.search_experiments() if one.name == f"lineact-{line}"]
        (parent,) = store.search_runs([experiment], "tags.`lineact.kind` = 'pipeline'")
        assert parent.info.status == "FINISHED"
        assert parent.data.tags["lineact.flow_run"] == runs[line]
        stages = store.search_runs([experiment], "tags.`lineact.kind` = 'stage' and attributes.status = 'FINISHED'")
        keys = [one.data.tags["lineact.stage_key"] for one in stages]
        assert len(keys) == len(set(keys))
        (version,) = store.search_model_versions(f"name = 'lineact-{line}'")
        assert version.run_id == parent.info.run_id
        assert Path(parent.info.artifact_uri.removeprefix("file://"), "bundle/MLmodel").is_file()
        (branches[line],) = git(checkout, "branch", "--list", f"retrain/{line}/*", "--format=%(refname:short)").split()
        assert set(git(checkout, "diff", "--name-only", "HEAD", branches[line]).split()) >= {"dvc.lock"}
    assert len((checkout / f"models/{LINE}/promotions.jsonl").read_text().splitlines()) == 1
    take(checkout, branches[LINE])


def take(checkout: Path, branch: str) -> None:
    """As the run's log says; what is edited and not committed is put away first."""
    subprocess.run(["git", "checkout", "-q", "conf"], cwd=checkout, check=True)
    git(checkout, "-c", "user.name=a", "-c", "user.email=a@b.invalid", "merge", "-q", branch)
    taken = run(checkout, "dvc", "checkout", "--allow-missing")
    assert taken.returncode == 0, taken.stdout
    assert (checkout / f"models/{LINE}/export/bundle/manifest.json").is_file()
    pushed = {path.parent.name + path.name for path in (checkout.parent / "store").rglob("*") if path.is_file()}
    for entry in lock_of(checkout).values():
        assert {out["md5"] for out in entry["outs"]} <= pushed
