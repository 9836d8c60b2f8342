"""Backup, the rest deleted, restore: with real MLflow on SQLite."""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from flows.backup import back_up, words_of
from flows.restore import checked, restore
from lineact.archive import read_archive
from lineact.decisions import Decision, write_decisions
from lineact.errors import InputError
from lineact.files import sha256_of_file, sha256_of_tree, write_json, write_text
from lineact.review.journal import Journal

pytestmark = pytest.mark.slow  # laying out MLflow's database takes over ten seconds
MODEL = "lineact-press_a"
REVIEW = Path("data/press_a/review")
LEDGER = Path("models/press_a/promotions.jsonl")
BUNDLE = Path(".lineact/champions/f00d")


def row(number: int) -> Decision:
    return Decision(f"item{number}", "crop", "", "screw", "ann", f"2026-03-01T10:00:{number:02d}+00:00", 2.0, "0")


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A project with a release and a review that is going on; MLflow's database as its own client makes it."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("plant")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        client = MlflowClient()
        run_id = client.create_run(client.create_experiment(MODEL)).info.run_id
        client.log_dict(run_id, {"a": 1}, "bundle/manifest.json")
        client.create_registered_model(MODEL)
        client.create_model_version(MODEL, source=f"runs:/{run_id}/bundle", run_id=run_id)
        client.set_registered_model_alias(MODEL, "champion", "1")
        client.set_terminated(run_id, "FINISHED")
        write_json(BUNDLE / "manifest.json", {"bundle": 1})
        write_text(BUNDLE / "samples" / "a.png", "picture")
        write_text(LEDGER, '{"version": "1"}\n')
        write_text(Path("conf/line/press_a.yaml"), "actions: [screw]\n")
        write_text(Path("data/press_a/raw/harvest/harvest-1.mkv"), "crops")
        write_text(Path("data/press_a/raw/rec_1.mp4"), "a recording")
        write_text(Path("data/press_a/raw.dvc"), "outs: []\n")
        write_text(Path("data/press_a/embed/crops.parquet"), "made again")
        write_decisions(REVIEW / "decisions.csv", [row(0), row(1)])
        journal = Journal(REVIEW / "journal.sqlite")
        journal.add(lambda: [row(2), row(3)])
        journal.close()
    return folder


@pytest.fixture
def project(plant, tmp_path, monkeypatch):
    """A copy of it, in another folder, of which nothing is in MLflow's database yet: the same one all the same."""
    monkeypatch.chdir(plant)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{plant / 'mlflow.db'}")
    archive, _, _ = back_up(tmp_path / "backups")
    here = tmp_path / "project"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}")
    restore(archive, "refuse")
    return archive


def test_after_all_else_is_gone_everything_is_back(plant, project):
    from mlflow import MlflowClient

    client, now = MlflowClient(), Path.cwd()
    version = client.get_model_version_by_alias(MODEL, "champion")
    assert str(version.version) == "1"
    assert version.run_id is not None
    run = client.get_run(version.run_id)
    assert run.info.artifact_uri.startswith(str(now))
    local = Path(client.download_artifacts(version.run_id, "bundle/manifest.json"))
    assert json.loads(local.read_text()) == {"a": 1}
    new = client.create_run(run.info.experiment_id)
    assert new.info.artifact_uri.startswith(str(now))
    for path in (LEDGER, REVIEW / "decisions.csv", Path("conf/line/press_a.yaml"), Path("data/press_a/raw.dvc")):
        assert path.read_bytes() == (plant / path).read_bytes()
    assert sha256_of_tree(BUNDLE) == sha256_of_tree(plant / BUNDLE)
    assert Path("data/press_a/raw/harvest/harvest-1.mkv").read_text() == "crops"
    journal = Journal(REVIEW / "journal.sqlite")
    assert [answer.item_id for answer in journal.rows_after(journal.written_up_to)[0]] == ["item2", "item3"]
    journal.close()
    assert not Path("data/press_a/raw/rec_1.mp4").exists()  # the user's own
    assert not Path("data/press_a/embed").exists()
    assert not list(Path(".lineact").glob("tmp*"))
    assert checked(project).files


def state() -> dict[str, str]:
    return {path.as_posix(): sha256_of_file(path) for path in Path().rglob("*") if path.is_file()}


def test_a_second_restore_changes_nothing(project):
    before = state()
    _, plan = restore(project, "refuse")
    assert plan.other == []
    left = {name for name, sha256 in state().items() if before.get(name) != sha256}
    assert left <= {"mlflow.db"}  # its own bytes tell where it lies
    assert "mlflow.db" in plan.missing + plan.same


def test_what_knows_less_is_replaced_unasked(project):
    write_text(LEDGER, "")
    write_decisions(REVIEW / "decisions.csv", [row(1)])
    shutil.rmtree(BUNDLE)
    Path("mlflow.db").unlink()
    _, plan = restore(project, "refuse")
    assert {"mlflow.db", LEDGER.as_posix(), (REVIEW / "decisions.csv").as_posix()} <= set(plan.missing)
    assert '"version": "1"' in LEDGER.read_text()
    assert (BUNDLE / "manifest.json").is_file()
    with closing(sqlite3.connect("mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def more_decisions():
    write_decisions(REVIEW / "decisions.csv", [row(0), row(1), row(9)])


def more_answers():
    journal = Journal(REVIEW / "journal.sqlite")
    journal.add(lambda: [row(9)])
    journal.close()


def longer_ledger():
    write_text(LEDGER, LEDGER.read_text() + '{"version": "2"}\n')


def another_alias():
    with closing(sqlite3.connect("mlflow.db")) as connection, connection:
        connection.execute(
            "INSERT INTO registered_model_aliases (name, alias, version) VALUES (?, 'previous', 1)", (MODEL,)
        )


def other_settings():
    write_text(Path("conf/line/press_a.yaml"), "actions: [screw, wipe]\n")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (more_decisions, REVIEW / "decisions.csv"),
        (more_answers, REVIEW / "journal.sqlite"),
        (longer_ledger, LEDGER),
        (another_alias, Path("mlflow.db")),
        (other_settings, Path("conf/line/press_a.yaml")),
    ],
)
def test_what_knows_more_is_replaced_by_word_alone(project, change, path):
    change()
    Path("data/press_a/raw.dvc").unlink()
    before = state()
    with pytest.raises(
        InputError, match=rf"found other content in {path.as_posix()}. Nothing was changed; EXISTING=keep"
    ):
        restore(project, "refuse")
    assert state() == before
    restore(project, "keep")
    assert sha256_of_file(path) == before[path.as_posix()]
    assert Path("data/press_a/raw.dvc").is_file()
    restore(project, "overwrite")
    assert sha256_of_file(path) != before[path.as_posix()]
    if path.suffix != ".db":
        assert restore(project, "refuse")[1].other == []


@pytest.mark.usefixtures("project")
def test_a_recording_that_was_forgotten_since_is_told():
    write_text(Path("models/press_a/forgotten.jsonl"), '{"sha256": "a"}\n')
    archive = back_up(Path("later"))[0]
    write_text(Path("models/press_a/forgotten.jsonl"), '{"sha256": "a"}\n{"sha256": "b"}\n')
    with pytest.raises(InputError, match="recordings were forgotten since, and the backup may show them"):
        restore(archive, "refuse")


def test_a_database_that_somebody_has_open_is_not_replaced(project):
    another_alias()
    held = "import sys; stream = open('mlflow.db'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = state()
        with pytest.raises(InputError, match=rf"mlflow.db: .* found process {process.pid}; end `make ui`"):
            restore(project, "overwrite")
        assert state() == before
        process.communicate()


def test_an_altered_archive_changes_nothing(project, tmp_path):
    content = bytearray(project.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    altered = tmp_path / "altered.tar.gz"
    altered.write_bytes(content)
    shutil.rmtree("conf")
    before = state()
    with pytest.raises(InputError, match=r"altered.tar.gz: "):
        restore(altered, "overwrite")
    assert state() == before


@pytest.mark.usefixtures("project")
def test_a_backup_is_of_one_moment_while_runs_are_logged(tmp_path):
    """Pairs that MLflow logs in one transaction are whole in every backup."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient()
    experiment = client.get_experiment_by_name(MODEL)
    assert experiment is not None
    run_id = client.create_run(experiment.experiment_id).info.run_id
    ended = threading.Event()
    logged: list[int] = []

    def log() -> None:
        while not ended.is_set():
            step = len(logged)
            client.log_batch(run_id, metrics=[Metric(name, step, 0, step) for name in ("one", "other")])
            logged.append(step)

    writer = threading.Thread(target=log)
    writer.start()
    try:
        counts = []
        for number in range(3):
            while len(logged) < 3 * (number + 1):
                assert writer.is_alive()
            archive, _, _ = back_up(tmp_path / str(number))
            read_archive(archive, tmp_path / f"read_{number}")
            with closing(sqlite3.connect(tmp_path / f"read_{number}" / "mlflow.db")) as copy:
                assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                found = dict(
                    copy.execute("SELECT key, count(*) FROM metrics WHERE run_uuid = ? GROUP BY key", (run_id,))
                )
            assert found["one"] == found["other"]
            counts.append(found["one"])
    finally:
        ended.set()
        writer.join()
    assert counts == sorted(counts)
    assert counts[0] >= 3


@pytest.mark.usefixtures("project")
def test_it_is_told_what_is_in_it_and_what_is_not(tmp_path):
    archive, manifest, store = back_up(tmp_path)
    told = "\n".join(words_of(archive, manifest, store))
    for said in ("ledgers (1)", "decisions and segments (2)", "MLflow's database (1)", "harvests (1)", "settings (1)"):
        assert said in told
    assert "not in it: the recordings of press_a, which are yours: keep copies" in told
