"""conf/services.yaml and services/compose.yaml: what is refused, what is set, and that both name the same places."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
import yaml

from flows.backup import mlflow_store
from flows.moved_files import move_files
from flows.moved_rows import count_of, move_rows, same_rows
from flows.server import use_server
from flows.services import artifacts_of, environment_of, refuse_unsafe, services_of
from flows.tracking import client
from lineact.errors import ConfigError, InputError

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = yaml.safe_load((ROOT / "conf/services.yaml").read_text())
COMPOSE = yaml.safe_load((ROOT / "services/compose.yaml").read_text())


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "conf/services.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(SETTINGS | changes))
    return path


def test_the_embedded_side_is_the_default():
    services = services_of(ROOT / "conf/services.yaml")
    assert services is not None
    assert services.use == "embedded"
    assert environment_of(ROOT / "conf/services.yaml") == {}


def test_a_project_without_the_file_is_embedded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert services_of() is None
    assert environment_of() == {}
    assert artifacts_of("lineact-demo") is None
    refuse_unsafe()


MLFLOW = SETTINGS["mlflow"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"use": "both"}, "use: expected one of 'embedded', 'services', found 'both'"),
        ({"mysql": {}}, "unknown key 'mysql'"),
        ({"mlflow": MLFLOW | {"database": "mysql://h/d"}}, r"mlflow\.database: expected postgresql\+psycopg2://"),
        ({"mlflow": MLFLOW | {"artifacts": "/srv"}}, r"mlflow\.artifacts: expected s3://"),
        ({"mlflow": MLFLOW | {"artifacts": "s3:///x"}}, r"mlflow\.artifacts: expected s3://"),
        ({"prefect": {"database": MLFLOW["database"]}}, r"prefect\.database: expected postgresql\+asyncpg://"),
        ({"s3": {"endpoint": "10.0.0.5:80", "region": "x"}}, r"s3\.endpoint: expected http"),
        ({"s3": {"endpoint": "http://key:planted@h", "region": "x"}}, r"s3\.endpoint: expected no user"),
        (
            {"mlflow": MLFLOW | {"database": "postgresql+psycopg2://lineact:planted@h/mlflow"}},
            r"mlflow\.database: expected no password, found one; put it into ~/\.pgpass",
        ),
        (
            {
                "mlflow": MLFLOW
                | {"database": "postgresql+psycopg2://lineact@h/mlflow?password=planted&sslmode=require"}
            },
            r"mlflow\.database: expected no more than .*sslmode.* behind the \?, found password",
        ),
        ({"mlflow": MLFLOW | {"database": "mysql://u:planted@h/d"}}, r"found mysql://h/d"),
    ],
)
def test_a_wrong_setting_is_told_and_no_password_with_it(changes, told, tmp_path):
    path = write(tmp_path, **changes)
    with pytest.raises(ConfigError, match=told) as error:
        services_of(path)
    assert "planted" not in str(error.value)
    assert environment_of(path) == {}


def test_a_file_that_is_no_yaml_is_told(tmp_path):
    path = tmp_path / "services.yaml"
    for content in ("a: [", "- 1", ""):
        path.write_text(content)
        with pytest.raises(ConfigError, match="expected settings of services, found"):
            services_of(path)


def test_services_point_mlflow_and_prefect_at_themselves_and_hold_no_secret(tmp_path, monkeypatch):
    passwords = tmp_path / "pgpass"
    passwords.write_text("h:1:*:lineact:planted\n")
    passwords.chmod(0o600)
    path = write(tmp_path, use="services", secrets={"postgres": str(passwords), "s3": str(tmp_path / "none")})
    found = environment_of(path)
    assert found["MLFLOW_TRACKING_URI"] == MLFLOW["database"]
    assert found["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == SETTINGS["prefect"]["database"]
    assert found["PGPASSFILE"] == str(passwords)
    assert "AWS_SHARED_CREDENTIALS_FILE" not in found
    assert "planted" not in str(found)
    monkeypatch.chdir(tmp_path)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    refuse_unsafe()
    assert artifacts_of("lineact-demo") == "s3://lineact/mlflow/lineact-demo"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.plant:5000")
    assert artifacts_of("lineact-demo") is None
    passwords.chmod(0o640)
    with pytest.raises(InputError, match="expected a file that its owner alone can read"):
        refuse_unsafe()


def test_with_wrong_settings_no_database_is_opened_in_place_of_the_plant_s(tmp_path, monkeypatch):
    write(tmp_path, use="servces")
    monkeypatch.chdir(tmp_path)
    for opens in (client, use_server, mlflow_store):
        with pytest.raises(ConfigError, match=r"services\.yaml\.use: expected one of"):
            opens()
    assert not list(tmp_path.glob("mlflow.db*"))


def test_importing_the_flows_settles_it(tmp_path):
    write(tmp_path, use="services")
    asked = "import flows, os; print(os.environ['MLFLOW_TRACKING_URI'])"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_"))}
    for more, expected in (({}, MLFLOW["database"]), ({"MLFLOW_TRACKING_URI": "http://h"}, "http://h")):
        done = subprocess.run(
            [sys.executable, "-c", asked],
            cwd=tmp_path,
            env=own | {"PYTHONPATH": str(ROOT)} | more,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


def test_the_compose_file_serves_what_the_settings_name():
    postgres, store = COMPOSE["services"]["postgres"], COMPOSE["services"]["s3"]
    for name in ("mlflow", "prefect"):
        parts = urlsplit(SETTINGS[name]["database"])
        assert parts.username == postgres["environment"]["POSTGRES_USER"]
        assert postgres["ports"] == [f"127.0.0.1:{parts.port}:5432"]
        made = f"{postgres['environment']['POSTGRES_DB']} {COMPOSE['configs']['databases']['content']}"
        assert re.search(rf"\b{parts.path.lstrip('/')}\b", made)
    port = urlsplit(SETTINGS["s3"]["endpoint"]).port
    assert store["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"-s3.port={port}" in store["command"]


def test_the_compose_file_is_whole_and_holds_no_secret():
    assert set(COMPOSE) == {"services", "configs", "secrets", "volumes"}
    for service in COMPOSE["services"].values():
        assert re.fullmatch(r"[\w/]+:\d+\.\d+", service["image"])  # a version, not the newest
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"])
        assert set(service["secrets"]) <= set(COMPOSE["secrets"])
        assert {one["source"] for one in service.get("configs", [])} <= set(COMPOSE["configs"])
        assert not [name for name in service.get("environment", {}) if name.endswith(("PASSWORD", "KEY", "SECRET"))]
    assert all(secret["file"].startswith("secrets/") for secret in COMPOSE["secrets"].values())
    assert "/services/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    example = json.loads((ROOT / "services/s3.example.json").read_text())
    assert example["identities"][0]["credentials"] == [{"accessKey": "CHANGE-ME", "secretKey": "CHANGE-ME"}]


@pytest.fixture
def metadata():
    made = sa.MetaData()
    sa.Table("parents", made, sa.Column("id", sa.Integer, primary_key=True), sa.Column("facts", sa.JSON))
    made_of = sa.ForeignKey("parents.id")
    sa.Table(
        "children", made, sa.Column("name", sa.String, primary_key=True), sa.Column("parent", sa.Integer, made_of),
        sa.Column("value", sa.Float), sa.Column("place", sa.String),
    )  # fmt: skip
    return made


def database(path: Path, metadata: sa.MetaData, *rows: tuple[str, dict[str, Any]]) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    with engine.begin() as connection:
        for table, row in rows:
            connection.execute(sa.insert(metadata.tables[table]), [row])
    return engine


def moved(row: dict[str, Any]) -> dict[str, Any]:
    return row | ({"place": f"s3://{row['place']}"} if "place" in row else {})


ROWS: list[tuple[str, dict[str, Any]]] = [
    ("parents", {"id": 7, "facts": {"b": [1, 2.5], "a": None}}),
    ("parents", {"id": 8, "facts": None}),
    *(("children", {"name": f"{n}", "parent": 7, "value": n / 3, "place": "x"}) for n in range(2500)),
]


def test_rows_arrive_as_they_were(metadata, tmp_path):
    source = database(tmp_path / "a.db", metadata, *ROWS)
    target = database(tmp_path / "b.db", metadata, ("parents", {"id": 1, "facts": {"from": "the beginning"}}))
    assert count_of(metadata, target, {"parents": 1}) == 0
    assert count_of(metadata, target, {}) == 1
    assert same_rows(metadata, source, target, moved) is None
    assert move_rows(metadata, source, target, moved) == {"children": 2500, "parents": 2}
    assert same_rows(metadata, source, target, moved) == {"children": 2500, "parents": 2}
    with target.connect() as connection:
        assert connection.execute(sa.text("SELECT DISTINCT place FROM children")).all() == [("s3://x",)]
        assert connection.execute(sa.text("SELECT count(*) FROM parents WHERE facts IS NULL")).scalar_one() == 1
    with source.begin() as connection:
        connection.execute(sa.text("UPDATE children SET value = value + 1 WHERE name = '3'"))
    assert same_rows(metadata, source, target, moved) is None


def test_what_is_written_meanwhile_is_noticed_and_changes_nothing(metadata, tmp_path):
    source = database(tmp_path / "a.db", metadata, *ROWS)
    target = database(tmp_path / "b.db", metadata, ("parents", {"id": 1, "facts": {"kept": True}}))
    asked = 0

    def meanwhile(row: dict[str, Any]) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return row | ({"facts": {"asked": asked}} if "facts" in row else {})

    with pytest.raises(InputError, match=r"table parents: expected 2 rows as they were, found 2 that differ"):
        move_rows(metadata, source, target, meanwhile)
    with target.connect() as connection:
        assert connection.execute(sa.text("SELECT id FROM parents")).all() == [(1,)]
        assert connection.execute(sa.text("SELECT count(*) FROM children")).scalar_one() == 0


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_table_that_nobody_knows_stops_the_move(side, metadata, tmp_path):
    engines = {name: database(tmp_path / f"{name}.db", metadata, *ROWS[:2]) for name in ("source", "target")}
    with engines[side].begin() as connection:
        connection.execute(sa.text("CREATE TABLE left_behind (id INTEGER)"))
        connection.execute(sa.text("CREATE TABLE of_a_newer_version (id INTEGER)"))
        connection.execute(sa.text("INSERT INTO of_a_newer_version VALUES (1)"))
    with pytest.raises(
        InputError, match=rf"{side}\.db: expected the tables of this version, found \['of_a_newer_version'\] beside"
    ):
        move_rows(metadata, engines["source"], engines["target"], dict)


def test_files_arrive_once_and_none_is_overwritten(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    for name in ("1/run/artifacts/x.bin", "1/run/artifacts/deep/ü y.txt", "0/empty"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode() * 1000 if "empty" not in name else b"")
    assert move_files(str(source), str(target)) == (3, 3)
    names = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert names == {
        path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*") if path.is_file()
    }
    (target / "0/empty").unlink()
    assert move_files(str(source), str(target)) == (3, 1)
    (target / "0/empty").write_text("other")
    with pytest.raises(InputError, match=r"0/empty: expected nothing or the file of .*a, found another one"):
        move_files(str(source), str(target))
    assert move_files(str(tmp_path / "none"), str(target)) == (0, 0)
