"""Moving between sides, both of SQLite here: who may write meanwhile, and what a killed command leaves."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from flows import move as module
from flows.move import BEGUN, LEFT, Side, move
from lineact.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
LINE = "press_a"
HOLD = "import sys; from flows.one_run import only_run_of\nwith only_run_of(sys.argv[1]): print('runs', flush=True); "
OPEN = "import sqlite3, sys; opened = sqlite3.connect('file:mlflow.db?mode=rw', uri=True); opened.execute('SELECT 1 "
OPEN += "FROM runs').fetchall(); print('opened', flush=True); sys.stdin.read()"


def use_of() -> str:
    return yaml.safe_load(Path("conf/services.yaml").read_text())["use"]


def begin_using(use: str) -> None:
    content = yaml.safe_load((ROOT / "conf/services.yaml").read_text())
    Path("conf/services.yaml").write_text(yaml.safe_dump(content | {"use": use}))


def program(script: str, *arguments: str) -> tuple["subprocess.Popen[str]", str]:
    """Another process and the first line that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline()


def exit_of(act: Callable[[], object]) -> int | None:
    """Runs it in a process of its own, as a command does: MLflow remembers which databases it laid out."""
    process = multiprocessing.get_context("fork").Process(target=act)
    process.start()
    process.join()
    return process.exitcode


def work(side: Side) -> None:
    """A run and a picture."""
    client = MlflowClient(side.mlflow)
    client.create_run(client.create_experiment("e", f"{side.artefacts}/1"))
    folder = Path(side.artefacts) / "1"
    folder.mkdir(parents=True)
    (folder / "view.png").write_bytes(b"picture")


def output_of(script: str, *arguments: str) -> tuple[str, str]:
    """What it prints first, and then, to its end."""
    command, known = [sys.executable, "-c", script, *arguments], {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    done = subprocess.run(command, env=known, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    first, _, rest = done.stdout.partition("\n")
    return f"{first}\n", rest


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """A checkout whose services are SQLite and a folder, too, each side with a run of its own; DVC is left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    for name in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "PGAPPNAME"):
        monkeypatch.setenv(name, "")
    Path("conf").mkdir()
    begin_using("embedded")
    sides = {
        "embedded": Side(
            f"sqlite:///{tmp_path}/mlflow.db", f"{tmp_path}/mlruns", f"sqlite:///{tmp_path}/prefect/prefect.db"
        ),
        "services": Side(f"sqlite:///{tmp_path}/s.db", f"{tmp_path}/store", f"sqlite:///{tmp_path}/prefect/none.db"),
    }
    monkeypatch.setattr(module, "sides_of", lambda _: sides)
    monkeypatch.setattr(module, "active_lines", lambda _: [LINE])
    for name in ("_push", "_fetch"):
        monkeypatch.setattr(module, name, lambda *_: "DVC")
    monkeypatch.setattr(module, "_leave_remote", lambda: None)
    assert exit_of(lambda: work(sides["embedded"])) == 0
    return sides


def runs_in(address: str) -> int:
    client = MlflowClient(address)
    return len(client.search_runs([one.experiment_id for one in client.search_experiments()]))


def while_moving(monkeypatch, act) -> None:
    """Has something happen after the rows were copied and compared."""
    copy = module._move_mlflow

    def copied(source, target):
        told = copy(source, target)
        act()
        return told

    monkeypatch.setattr(module, "_move_mlflow", copied)


@pytest.mark.usefixtures("plant")
def test_no_run_of_a_line_goes_on_or_begins_while_everything_moves(monkeypatch):
    running, _ = program(HOLD + "sys.stdin.read()", LINE)
    with pytest.raises(InputError, match=f"line {LINE}: another run is going on"):
        move("services")
    running.communicate()
    assert use_of() == "embedded"
    told = []
    while_moving(monkeypatch, lambda: told.append("".join(output_of(HOLD, LINE))))
    move("services")
    assert f"line {LINE}: another run is going on" in told[0]
    assert use_of() == "services"
    assert output_of(HOLD, LINE) == ("runs\n", "")


def test_rows_written_after_the_comparison_stop_the_switch(plant, monkeypatch):
    left = MlflowClient(plant["embedded"].mlflow)
    while_moving(monkeypatch, lambda: left.create_run("1"))
    with pytest.raises(InputError, match="something wrote meanwhile; nothing was switched"):
        move("services")
    assert use_of() == "embedded"


@pytest.mark.usefixtures("plant")
def test_who_opened_a_database_after_the_comparison_stops_the_switch(monkeypatch):
    users = []
    while_moving(monkeypatch, lambda: users.append(program(OPEN)))
    with pytest.raises(InputError, match=r"mlflow\.db: expected that nobody has it open, found process"):
        move("services")
    ((user, said),) = users
    assert said == "opened\n"
    user.communicate()
    assert use_of() == "embedded"


def test_a_killed_move_back_puts_the_old_side_aside_once_and_goes_on(plant, monkeypatch):
    assert exit_of(lambda: move("services")) == 0
    kept = Path("mlflow.db").read_bytes()
    for _ in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(module, "_refuse_written", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            assert exit_of(lambda: move("embedded")) == -signal.SIGKILL
        MlflowClient(plant["services"].mlflow).create_run("1")  # the plant goes on with the services
        assert BEGUN.is_file()
        assert use_of() == "services"
    copied = Path("mlruns/1/view.png").stat()
    told = move("embedded")
    assert use_of() == "embedded"
    assert not BEGUN.exists()
    assert "artefacts: 1 files, 0 of them copied now" in told
    assert Path("mlruns/1/view.png").stat() == copied
    assert runs_in(plant["embedded"].mlflow) == 4
    aside, unfinished = sorted(LEFT.iterdir())
    assert (aside / "mlflow.db").read_bytes() == kept
    assert (aside / "mlruns/1/view.png").is_file()
    assert not (unfinished / "mlruns").exists()


def test_a_file_that_was_half_copied_is_copied_again(plant, monkeypatch):
    from flows import moved_files

    def breaks(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(moved_files, "BLOCK", 3)
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", breaks)
        with pytest.raises(KeyboardInterrupt):
            moved_files.move_files(plant["embedded"].artefacts, plant["services"].artefacts)
    assert not Path("store/1/view.png").exists()
    assert moved_files.move_files(plant["embedded"].artefacts, plant["services"].artefacts) == (1, 1)
    assert [path.name for path in Path("store/1").iterdir()] == ["view.png"]
