"""A PostgreSQL server with a password and an S3 store with keys, as real processes (make system)."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from tests.test_services import free_port

ROOT = Path(__file__).resolve().parents[1]
PASSWORD, KEY, SECRET = (secrets.token_hex(16) for _ in range(3))  # in no file: tests look for them everywhere
USER, BUCKET = "lineact", "lineact"
START_S = 180
NOBODY = "nobody"  # PostgreSQL refuses to run as root


def programs() -> Path | None:
    """The folder of PostgreSQL's own programs, the newest; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A server of its own on a free port of this machine; TCP with password alone."""

    def __init__(self) -> None:
        bin_folder = programs()
        assert bin_folder is not None, "PostgreSQL is not installed (make system)"
        self._bin = bin_folder
        self._folder = Path(tempfile.mkdtemp(prefix="lineact-pg-", dir="/tmp"))  # nobody reaches pytest's not
        self.port = free_port()
        (self._folder / "password").write_text(PASSWORD)
        self._as = ["runuser", "-u", NOBODY, "--"] if os.geteuid() == 0 else []
        if self._as:
            owner = pwd.getpwnam(NOBODY)
            for path in (self._folder, self._folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        secret = f"--pwfile={self._folder / 'password'}"
        self._run("initdb", "-D", str(self._folder / "data"), "-U", USER, "--auth=scram-sha-256", secret, "-E", "UTF8")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-t", "120", "-l", log, "-o", options, "start")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._bin / program), *arguments]
        with (Path(tempfile.gettempdir()) / f"lineact-pg-{self.port}.log").open("ab") as log:
            done = subprocess.run(command, cwd="/", stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, Path(log.name).read_text()

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._folder)
        (Path(tempfile.gettempdir()) / f"lineact-pg-{self.port}.log").unlink()

    def sql(self, database: str, text: str) -> list[tuple]:
        """Rows of a query, or none of a statement."""
        import psycopg2

        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def dump(self, database: str) -> bytes:
        """All that a database holds, as SQL."""
        command = [str(self._bin / "pg_dump"), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, database]
        return subprocess.run(
            command, env=os.environ | {"PGPASSWORD": PASSWORD}, capture_output=True, check=True
        ).stdout

    def make(self, *databases: str) -> None:
        for name in databases:
            self.sql("postgres", f"CREATE DATABASE {name}")


class Store:
    """moto's server as a process: an S3 endpoint that keeps all in memory. It asks for keys, whichever."""

    def __init__(self) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.2)
        self.client.create_bucket(Bucket=BUCKET)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self):
        import boto3

        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.endpoint, **keys)

    def contents(self) -> dict[str, bytes]:
        """All objects by name."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        names = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return {name: self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read() for name in names}

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def write_services(project: Path, postgres: Postgres, store: Store, tag: str) -> dict[str, Path]:
    """conf/services.yaml of a project, with databases, folders in the store and secret files of its own.

    Returns:
        The files with secrets by the environment variable that names them.
    """
    databases = {name: f"{name}_{tag}" for name in ("mlflow", "prefect")}
    postgres.make(*databases.values())
    folder = project.parent / f"secrets-{tag}"
    folder.mkdir()
    passwords, keys = folder / "pgpass", folder / "s3"
    passwords.write_text(f"127.0.0.1:{postgres.port}:*:{USER}:{PASSWORD}\n")
    keys.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    for path in (passwords, keys):
        path.chmod(0o600)
    place = f"{USER}@127.0.0.1:{postgres.port}"
    settings = yaml.safe_load((ROOT / "conf/services.yaml").read_text())
    settings |= {
        "mlflow": {
            "database": f"postgresql+psycopg2://{place}/{databases['mlflow']}",
            "artifacts": f"s3://{BUCKET}/{tag}/mlflow",
        },
        "prefect": {"database": f"postgresql+asyncpg://{place}/{databases['prefect']}"},
        "dvc": {"remote": f"s3://{BUCKET}/{tag}/dvc"},
        "s3": {"endpoint": store.endpoint, "region": "us-east-1"},
        "secrets": {"postgres": str(passwords), "s3": str(keys)},
    }
    (project / "conf").mkdir(exist_ok=True)
    (project / "conf/services.yaml").write_text(yaml.safe_dump(settings))
    return {"PGPASSFILE": passwords, "AWS_SHARED_CREDENTIALS_FILE": keys}
