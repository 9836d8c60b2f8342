"""A plant's services: real PostgreSQL, a real S3 endpoint; moving there and back loses nothing, secrets stay secret."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineact.files import sha256_of_tree
from tests.plant_services import KEY, PASSWORD, SECRET, USER, Postgres, Store, programs, write_services
from tests.small_line import LINE, clone_checkout, environment, lock_of, make_checkout, outs_of

pytestmark = [
    pytest.mark.services,
    pytest.mark.timeout(3600),  # each command of the plant takes seconds to a minute to start
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (make system)"),
]


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def store():
    server = Store()
    yield server
    server.stop()


def git(checkout: Path, *command: str) -> None:
    name = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", *name, *command], cwd=checkout, check=True)


def young(checkout: Path) -> Path:
    """Gives a checkout a history of one commit: DVC reads each of hundreds."""
    shutil.rmtree(checkout / ".git")
    git(checkout, "init", "-q", "-b", "main")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "the first")
    return checkout


def record(checkout: Path, name: str) -> str:
    """Adds a recording to press_a in place of what was there, in a commit; gives the MD5 of its bytes."""
    raw = checkout / "data/press_a/raw"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    content = os.urandom(100_000)
    (raw / name).write_bytes(content)
    run(checkout, "-m", "dvc", "add", "-q", str(raw))
    git(checkout, "add", "data/press_a")  # conf/services.yaml stays as it lies there on every branch
    git(checkout, "commit", "-qm", name)
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def run(checkout: Path, *command: str) -> str:
    """Runs `python ...` in a checkout, without what this process knows of services; gives what it printed."""
    own = {name: value for name, value in environment().items() if not name.startswith(("AWS_", "PG"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=checkout,
        env=own | {"PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (checkout.parent / "log").open("a").write(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


WORK = """
import math, sys
from pathlib import Path
from flows.server import use_server
use_server()
from flows import champion, tracking
from flows.register import register
from flows.versions import create_version
from mlflow.entities import Metric, Param
from prefect import flow, get_run_logger
from flows.retrain import retrain
from lineact.files import sha256_of_tree, write_json, write_text

number = sys.argv[1]
bundle = Path("models/demo/export/bundle")
write_json(bundle / "manifest.json", {"content": number})
write_text(bundle / "networks" / "classifier.onnx", number * 1000)
with tracking.parent_run("demo") as parent:
    client = tracking.client()
    values = [Metric("loss", value, 10 * step, step) for step, value in enumerate((1.5, math.nan, math.inf, 1e-300))]
    client.log_batch(parent, values, [Param("text", "a 'b' \\N{SNOWMAN} " + number)])
    version = create_version("demo", parent, bundle, sha256_of_tree(bundle), {"git_commit": "c" + number})
    name = "lineact-demo"
    if number != "1":
        client.set_registered_model_alias(name, "previous", str(int(version) - 1))
    client.set_registered_model_alias(name, "champion", version)
    client.set_registered_model_tag(name, "tag", number)

@flow
def says():
    get_run_logger().info("said " + number)

says()
retrain.to_deployment(name="demo", parameters={"line": "demo"}, concurrency_limit=1).apply()
"""

ASK = """
import json
from flows import tracking
from flows.server import use_server
use_server()
from prefect.client.orchestration import get_client
import mlflow

client = tracking.client()
found = {"runs": {}, "versions": {}, "artefacts": {}, "places": []}
for experiment in client.search_experiments():
    found["places"].append(experiment.artifact_location)
    for run in client.search_runs([experiment.experiment_id]):
        data = run.data
        history = [(m.value, m.timestamp, m.step) for m in client.get_metric_history(run.info.run_id, "loss")]
        found["runs"][run.info.run_id] = [repr(sorted(history, key=lambda one: one[2])), data.params, data.tags]
        found["runs"][run.info.run_id] += [run.info.status, run.info.start_time, run.info.end_time]
for model in client.search_registered_models():
    found["versions"][model.name] = [dict(model.aliases), model.tags]
    for version in client.search_model_versions(f"name = '{model.name}'"):
        found["versions"][f"{model.name} {version.version}"] = [version.tags, version.run_id, version.source]
    for alias in model.aliases:
        folder = mlflow.artifacts.download_artifacts(f"models:/{model.name}@{alias}", dst_path=f"got-{alias}")
        from lineact.files import sha256_of_tree
        from pathlib import Path
        found["artefacts"][alias] = sha256_of_tree(Path(folder))
with get_client(sync_client=True) as prefect:
    runs = prefect.read_flow_runs()
    found["flows"] = sorted([str(run.id), run.name, run.state_name, str(run.start_time)] for run in runs)
    found["states"] = sorted(str(state.id) for run in runs for state in prefect.read_flow_run_states(run.id))
    logs = prefect.read_logs()
    found["logs"] = sorted([log.message, str(log.timestamp)] for log in logs)
    deployments = prefect.read_deployments()
    found["deployments"] = sorted([str(one.id), one.name, json.dumps(one.parameters)] for one in deployments)
print("FOUND" + json.dumps(found))
"""


def asked(checkout: Path) -> dict[str, Any]:
    """All that MLflow and Prefect tell through their own clients, and where experiments lie."""
    for folder in checkout.glob("got-*"):
        shutil.rmtree(folder)
    said = run(checkout, "-c", ASK)
    return json.loads(next(line for line in said.splitlines() if line.startswith("FOUND"))[5:])


def without_places(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "places"}


def use_of(checkout: Path) -> str:
    return yaml.safe_load((checkout / "conf/services.yaml").read_text())["use"]


@pytest.fixture(scope="module")
def plant(postgres, store, tmp_path_factory):
    """A checkout that worked embedded, moved to services, worked there, moved back; what was to be seen each time."""
    folder = tmp_path_factory.mktemp("plant")
    checkout = young(clone_checkout(folder / "checkout"))
    secrets = write_services(checkout, postgres, store, "plant")
    git(checkout, "checkout", "-qb", "tried")
    recorded = [record(checkout, "rec_0.mp4")]
    git(checkout, "checkout", "-q", "main")
    recorded += [record(checkout, "before.mp4"), record(checkout, "rec_1.mp4")]
    run(checkout, "-c", WORK, "1")
    seen = {"embedded": asked(checkout)}
    told = {"services": run(checkout, "-m", "flows.move", "to=services")}
    seen["services"] = asked(checkout)
    seen["recorded"] = {"of all commits": recorded}
    shutil.rmtree(checkout / ".dvc/cache")
    run(checkout, "-c", WORK, "2")
    seen["worked"] = asked(checkout)
    kept = (checkout / "mlflow.db").read_bytes()
    told["embedded"] = run(checkout, "-m", "flows.move", "to=embedded")
    seen["back"] = asked(checkout)
    cache = checkout / ".dvc/cache"
    seen["fetched"] = {"of all commits": [path.relative_to(cache).as_posix() for path in cache.rglob("*")]}
    return checkout, secrets, seen, told, kept


def test_what_was_embedded_is_in_the_services(plant, postgres, store):
    _, _, seen, told, _ = plant
    assert len(seen["embedded"]["runs"]) == 1
    assert seen["embedded"]["flows"]
    assert seen["embedded"]["deployments"]
    assert ["said 1"] in [log[:1] for log in seen["embedded"]["logs"]]
    assert without_places(seen["services"]) == without_places(seen["embedded"])
    assert not [place for place in seen["embedded"]["places"] if place.startswith("s3:")]
    assert all(place.startswith("s3://lineact/plant/mlflow/") for place in seen["services"]["places"])
    assert "as many on both sides (1 runs" in told["services"]
    assert postgres.sql("mlflow_plant", "SELECT count(*) FROM metrics")[0][0] >= 4
    assert any(name.endswith("bundle/python_model.py") or "bundle/" in name for name in store.contents())


def test_work_goes_on_in_the_services(plant, postgres):
    _, _, seen, _, _ = plant
    assert len(seen["worked"]["runs"]) == 2
    aliases, tags = seen["worked"]["versions"]["lineact-demo"]
    assert {name: int(version) for name, version in aliases.items()} == {"champion": 2, "previous": 1}
    assert tags["tag"] == "2"
    assert seen["worked"]["artefacts"]["champion"] != seen["services"]["artefacts"]["champion"]
    assert seen["worked"]["artefacts"]["previous"] == seen["services"]["artefacts"]["champion"]
    assert len(seen["worked"]["flows"]) > len(seen["services"]["flows"])
    said = "SELECT count(*) FROM log WHERE message = 'said 2'"
    assert postgres.sql("prefect_plant", said) == [(1,)]
    numbers = postgres.sql("mlflow_plant", "SELECT experiment_id FROM experiments ORDER BY 1")
    assert len(numbers) == len(set(numbers))


def test_what_was_in_the_services_is_embedded_again_and_both_old_sides_are_kept(plant, postgres):
    checkout, _, seen, told, kept = plant
    assert without_places(seen["back"]) == without_places(seen["worked"])
    assert not [place for place in seen["back"]["places"] if place.startswith("s3:")]
    assert use_of(checkout) == "embedded"
    (aside,) = (checkout / ".lineact/moved").iterdir()
    assert {path.name for path in aside.iterdir()} >= {"mlflow.db", "mlruns", "prefect.db"}
    assert (aside / "mlflow.db").read_bytes() == kept
    assert "what an earlier embedded side left is in" in told["embedded"]
    assert postgres.sql("mlflow_plant", "SELECT count(*) FROM runs") == [(2,)]
    assert "runs" in told["embedded"]


def test_dvc_brings_back_from_the_store_what_is_gone_here(plant, store):
    checkout, secrets, _, _, _ = plant
    path = checkout / "data/press_a/raw/rec_1.mp4"
    content = path.read_bytes()
    cache = checkout / ".dvc/cache"
    shutil.rmtree(cache)
    path.unlink()
    assert any(name.startswith("plant/dvc/files/md5/") for name in store.contents())
    given = {name: str(file) for name, file in secrets.items()}
    pull = [sys.executable, "-m", "dvc", "pull", "-q", "-r", "services", "data/press_a/raw.dvc"]
    subprocess.run(pull, cwd=checkout, env=environment() | given, check=True)
    assert path.read_bytes() == content


def test_recordings_of_earlier_commits_and_of_branches_are_in_the_store_and_come_back(plant, store):
    _, _, seen, told, _ = plant
    assert "DVC: pushed all commits to s3://lineact/plant/dvc; .dvc" in told["services"]
    assert "DVC: fetched all commits into this checkout's cache; .dvc" in told["embedded"]
    for md5 in seen["recorded"]["of all commits"]:
        name = f"files/md5/{md5[:2]}/{md5[2:]}"
        assert f"plant/dvc/{name}" in store.contents()
        assert name in seen["fetched"]["of all commits"]


def test_no_secret_is_written_down(plant, postgres, store):
    checkout, secrets, _, _, _ = plant
    written = {
        str(path): path.read_bytes()
        for path in checkout.parent.rglob("*")
        if path.is_file() and path not in secrets.values()
    }
    assert str(checkout.parent / "log") in written
    written |= {f"database {name}": postgres.dump(name) for name in ("mlflow_plant", "prefect_plant")}
    written |= {f"store {name}": content for name, content in store.contents().items()}
    planted = [value.encode() for value in (PASSWORD, KEY, SECRET)]
    assert not [name for name, content in written.items() if any(value in content for value in planted)]


def refused(checkout: Path, *command: str) -> str:
    """What a command says that ends with an error of its own."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=checkout, env=environment(), capture_output=True, text=True
    )
    assert done.returncode in (2, 3), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_secrets_that_others_can_read_stop_the_move_and_the_work(plant):
    checkout, secrets, _, _, _ = plant
    for path in secrets.values():
        path.chmod(0o644)
        assert f"{path}: expected a file that its owner alone can read" in refused(
            checkout, "flows.move", "to=services"
        )
        path.chmod(0o600)
    assert use_of(checkout) == "embedded"


def test_a_database_that_holds_something_else_is_not_overwritten(plant, postgres):
    checkout, _, _, _, _ = plant
    before = postgres.dump("mlflow_plant")
    postgres.sql("mlflow_plant", "UPDATE registered_model_tags SET value = 'changed since'")
    told = refused(checkout, "flows.move", "to=services")
    assert "expected an empty database, found" in told
    assert "make this one anew (dropdb, createdb)" in told
    assert PASSWORD not in told
    assert use_of(checkout) == "embedded"
    postgres.sql("mlflow_plant", "UPDATE registered_model_tags SET value = '2'")
    assert len(postgres.dump("mlflow_plant")) == len(before)


ONE_RUN = """
from flows import tracking
with tracking.parent_run("demo") as parent:
    tracking.client().log_metric(parent, "x", 1.0)
    print("experiment in", tracking.client().get_experiment(tracking.experiment_id("demo")).artifact_location)
"""


def test_a_killed_move_goes_on_and_nobody_else_may_be_connected(postgres, store, tmp_path):
    """All rows came over, and the command was killed before the switch: the same command finishes it."""
    import psycopg2

    checkout = young(clone_checkout(tmp_path / "checkout"))
    write_services(checkout, postgres, store, "killed")
    assert f"experiment in {checkout / 'mlruns'}" in run(checkout, "-c", ONE_RUN).replace("file://", "")
    settings = checkout / "conf/services.yaml"
    before = settings.read_text()
    run(checkout, "-m", "flows.move", "to=services")
    settings.write_text(before)
    assert "as many on both sides (1 runs" in run(checkout, "-m", "flows.move", "to=services")
    assert use_of(checkout) == "services"
    assert "experiment in s3://lineact/killed/mlflow/" in run(checkout, "-c", ONE_RUN)
    assert postgres.sql("mlflow_killed", "SELECT count(*) FROM runs") == [(2,)]

    place = {"host": "127.0.0.1", "port": postgres.port, "user": USER, "password": PASSWORD, "dbname": "mlflow_killed"}
    connection = psycopg2.connect(**place)
    told = refused(checkout, "flows.move", "to=embedded")
    connection.close()
    assert "expected nobody else, found 1 connections; end runs, `make serve` and `make ui` of all checkouts" in told
    assert use_of(checkout) == "services"
    assert "expected another side than services, found that it is used already" in refused(
        checkout, "flows.move", "to=services"
    )


@pytest.mark.long
def test_a_line_is_trained_released_and_brought_back_with_services_alone(postgres, store, tmp_path_factory):
    """From raw video to a champion; then this checkout loses data and cache, and DVC brings all of it back."""
    folder = tmp_path_factory.mktemp("line")
    checkout = young(make_checkout(folder / "checkout"))
    secrets = write_services(checkout, postgres, store, "line")
    run(checkout, "-m", "flows.move", "to=services")
    run(checkout, "-m", "flows.retrain", f"line={LINE}")
    check_trained(checkout, secrets, postgres, store)


def check_trained(checkout: Path, secrets: dict[str, Path], postgres: Postgres, store: Store) -> None:
    """What a run with services leaves where, and that DVC brings back what is gone."""
    with closing(sqlite3.connect(checkout / "mlflow.db")) as embedded:
        assert embedded.execute("SELECT count(*) FROM runs").fetchall() == [(0,)]
    assert not (checkout / "mlruns").exists()
    assert not (checkout / ".lineact/prefect/prefect.db").exists()
    assert ("Completed",) in postgres.sql("prefect_line", "SELECT DISTINCT state_name FROM flow_run")
    assert postgres.sql("mlflow_line", "SELECT name, version FROM model_versions") == [(f"lineact-{LINE}", 1)]
    told = postgres.sql("mlflow_line", "SELECT DISTINCT value FROM tags WHERE key = 'lineact.stage'")
    assert {stage for (stage,) in told} == set(lock_of(checkout))
    assert [name for name in store.contents() if name.startswith("line/mlflow/") and "/artifacts/bundle/" in name]

    given = {name: str(path) for name, path in secrets.items()}
    outs, release = outs_of(checkout), checkout / "models" / LINE / "export"
    before = sha256_of_tree(release)
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "push", "-q"], cwd=checkout, env=environment() | given, check=True)
    for gone in (checkout / ".dvc/cache", checkout / "data" / LINE / "embed", release):
        shutil.rmtree(gone)
    subprocess.run([*dvc, "pull", "-q"], cwd=checkout, env=environment() | given, check=True)
    assert outs_of(checkout) == outs
    assert sha256_of_tree(release) == before

    planted = [value.encode() for value in (PASSWORD, KEY, SECRET)]
    written = {str(path): path.read_bytes() for path in checkout.parent.rglob("*") if path.is_file()}
    written |= {name: postgres.dump(name) for name in ("mlflow_line", "prefect_line")}
    written |= store.contents()
    kept = {str(path) for path in secrets.values()}
    assert not [
        name for name, content in written.items() if name not in kept and any(one in content for one in planted)
    ]


def test_new_rows_get_numbers_of_their_own_and_references_are_checked_again(postgres, tmp_path, monkeypatch):
    """In both directions, with rows whose references lead to tables that come later."""
    import sqlalchemy as sa
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from flows.move import mlflow_tables
    from flows.moved_rows import move_rows

    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    postgres.make("numbers")
    addresses = [
        f"sqlite:///{tmp_path / 'a.db'}",
        f"postgresql+psycopg2://{USER}@127.0.0.1:{postgres.port}/numbers",
        f"sqlite:///{tmp_path / 'b.db'}",
    ]
    for address in addresses:
        MlflowClient(address).search_experiments()
    first = MlflowClient(addresses[0])
    numbers = {first.create_experiment(f"e{number}") for number in range(3)}
    run_id = first.create_run(max(numbers)).info.run_id
    first.log_metric(run_id, "x", 0.1 + 0.2, step=3)
    engines = [sa.create_engine(address) for address in addresses]
    sent = move_rows(mlflow_tables(), engines[0], engines[1], dict)
    second = MlflowClient(addresses[1])
    new = second.create_experiment("e3")
    assert int(new) > max(map(int, numbers))
    with pytest.raises(MlflowException, match="already exists"):
        second.create_experiment("e2")
    assert postgres.sql("numbers", "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND condeferrable") == [(0,)]
    back = move_rows(mlflow_tables(), engines[1], engines[2], dict)
    assert back == sent | {"experiments": sent["experiments"] + 1}
    third = MlflowClient(addresses[2])
    (metric,) = third.get_metric_history(run_id, "x")
    assert (metric.value, metric.step) == (0.1 + 0.2, 3)
    assert int(third.create_experiment("e4")) > int(new)
    for engine in engines:
        engine.dispose()
