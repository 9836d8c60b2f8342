"""`make move-services` and `make move-embedded`: MLflow, Prefect and DVC go to the other side of conf/services.yaml.

Runs, metrics, parameters, tags, registered versions, aliases, artefacts, flow runs with their logs, deployments, and
what stages made. All is copied and compared first; then `use` is changed, which is the switch. The side that was left
keeps what it had. Whatever fails before leaves the old side in use, and the same command goes on.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from flows import command_line
from flows.backup import DATABASE
from flows.lines import edit_yaml
from flows.moved_files import move_files
from flows.moved_rows import count_of, move_rows, revision_of, same_rows
from flows.one_run import LOCKS, only_run_of
from flows.pipeline import CONF
from flows.server import standing_server
from flows.services import SERVICES_FILE, Services, Use, refuse_readable_secrets, services_of
from lineact.archive import has_open
from lineact.errors import ConfigError, InputError
from lineact.files import write_text
from tasks.configure import active_lines

if TYPE_CHECKING:
    import sqlalchemy as sa

LEFT = Path(".lineact/moved")  # what a new embedded side takes the place of
UNFINISHED = "unfinished"  # below it: databases of a move that was killed
BEGUN = Path(".lineact/move_begun")  # of a move to the embedded side: where it comes from
ARTEFACTS = Path("mlruns")
PLACES = ("artifact_location", "artifact_uri", "storage_location", "source")  # columns of MLflow's database
REMOTE = "services"  # DVC's name of the store
MLFLOW_BEGINS = {"experiments": 1, "workspaces": 1}  # with so many rows, both called "default"
PREFECT_BEGINS = dict.fromkeys(("block_type", "block_schema", "block_document", "configuration", "csrf_token"))
Change = Callable[[dict[str, Any]], dict[str, Any]]


class Side(NamedTuple):
    """Where things are.

    Attributes:
        mlflow: SQLAlchemy's address of MLflow's database.
        artefacts: the folder or S3 address below which experiments' artefacts lie.
        prefect: SQLAlchemy's address of Prefect's database.
    """

    mlflow: str
    artefacts: str
    prefect: str


def sides_of(services: Services) -> dict[str, Side]:
    """Both sides."""
    home = Path(os.environ["PREFECT_HOME"]).resolve()
    return {
        "embedded": Side(
            f"sqlite:///{Path(DATABASE).resolve()}",
            str(ARTEFACTS.resolve()),
            f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        ),
        "services": Side(services.mlflow.database, services.mlflow.artifacts.rstrip("/"), services.prefect.database),
    }


def move(to: Use) -> list[str]:
    """Brings everything over and switches.

    Args:
        to: the side that is used afterwards.

    Returns:
        What was moved, in words.

    Raises:
        ConfigError: where conf/services.yaml is missing or wrong, or `to` is used already.
        InputError: where something has a database open, the other side holds rows of its own, something arrived
            otherwise, or a secret is readable by others.
    """
    services = services_of()
    if services is None:
        raise ConfigError(f"{SERVICES_FILE}: expected the plant's services, found no file")
    if services.use == to:
        raise ConfigError(f"{SERVICES_FILE}: expected another side than {to}, found that it is used already")
    for name, value in services.places.items():
        os.environ.setdefault(name, value)
    refuse_readable_secrets(os.environ)
    os.environ["PGAPPNAME"] = f"lineact-move-{os.getpid()}"  # tells this command's own connections
    sides = sides_of(services)
    with contextlib.ExitStack() as held:
        for line in sorted({*active_lines(CONF), *(path.stem for path in LOCKS.glob("*.lock"))}):
            held.enter_context(only_run_of(line))
        return _move(services, to, sides[services.use], sides[to])


def _move(services: Services, to: Use, source: Side, target: Side) -> list[str]:
    embedded = target if to == "embedded" else source
    _refuse_users(source, embedded)
    if to == "embedded":
        _begin(source, target)
    else:
        BEGUN.unlink(missing_ok=True)
    has_prefect = _has_prefect(source)
    told = [_push(services) if to == "services" else _fetch(services)]
    told += [_move_artefacts(source, target), _move_mlflow(source, target)]
    told.append(_move_prefect(source, target) if has_prefect else "Prefect: no server has run here yet")
    if to == "embedded":
        _leave_remote()
    _refuse_written(source, target, has_prefect)  # minutes may have passed since the rows were compared
    _refuse_users(source, embedded)
    BEGUN.unlink(missing_ok=True)
    edit_yaml(SERVICES_FILE, lambda content: content.update(use=to))
    return told


def _refuse_users(source: Side, embedded: Side) -> None:
    """Lets pass where nobody writes to the side that is left."""
    standing = standing_server()
    if standing:
        raise InputError(f"{standing[0]}: expected no Prefect server, found one; end `make serve` first")
    files = [Path(address.partition(":///")[2]) for address in (embedded.mlflow, embedded.prefect)]
    for path, processes in has_open([path for path in files if path.exists()]).items():
        told = ", ".join(map(str, processes))
        raise InputError(
            f"{path}: expected that nobody has it open, found process {told}; end runs and `make ui` first"
        )
    for address in (source.mlflow, source.prefect):
        if not address.startswith("sqlite"):
            _refuse_connected(_engine(address))


def _refuse_connected(engine: "sa.Engine") -> None:
    import sqlalchemy as sa

    asked = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND application_name <> current_setting('application_name')"
    )
    with engine.connect() as connection:
        count = connection.execute(sa.text(asked)).scalar_one()
    engine.dispose()
    if count:
        raise InputError(
            f"{engine.url.render_as_string()}: expected nobody else, found {count} connections; end runs, `make serve` "
            "and `make ui` of all checkouts first"
        )


def _engine(address: str) -> "sa.Engine":
    """A connection of this thread; Prefect's own addresses name drivers for other uses."""
    import sqlalchemy as sa

    return sa.create_engine(address.replace("+asyncpg", "+psycopg2").replace("+aiosqlite", ""))


def _begin(source: Side, embedded: Side) -> None:
    """Makes room, and notes it, so that a command that was killed does not put aside what it copied itself.

    It goes on with the artefacts that it copied. Databases are copied anew, and the last unfinished ones kept: the
    services may have gone on since.
    """
    home = Path(embedded.prefect.partition(":///")[2])
    databases = [file for path in (Path(DATABASE), home) for file in sorted(path.parent.glob(f"{path.name}*"))]
    origin = "\n".join(source)
    if BEGUN.is_file() and BEGUN.read_text() == origin:
        shutil.rmtree(LEFT / UNFINISHED, ignore_errors=True)
        _put_aside(databases, LEFT / UNFINISHED)
        return
    artefacts = [ARTEFACTS] if ARTEFACTS.exists() else []
    _put_aside(databases + artefacts, LEFT / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    write_text(BEGUN, origin)


def _put_aside(paths: list[Path], folder: Path) -> None:
    if paths:
        folder.mkdir(parents=True)
        for path in paths:
            path.rename(folder / path.name)
        print(f"what an earlier embedded side left is in {folder}", flush=True)


def _move_artefacts(source: Side, target: Side) -> str:
    moved = move_files(source.artefacts, target.artefacts)
    return f"artefacts: {moved.files} files, {moved.copied} of them copied now"


def _move_mlflow(source: Side, target: Side) -> str:
    from mlflow import MlflowClient

    reading, writing = _engine(source.mlflow), _engine(target.mlflow)
    for side in (source, target):
        MlflowClient(side.mlflow).search_experiments()  # lays out the tables where there are none
    if revision_of(reading) != revision_of(writing):
        raise InputError(
            f"{writing.url.render_as_string()}: expected MLflow's tables as of {revision_of(reading)}, found "
            f"{revision_of(writing)}; `mlflow db upgrade` brings both to this version"
        )
    metadata = mlflow_tables()
    changed = _places_changed(source.artefacts, target.artefacts)
    counts = _rows_moved(metadata, reading, writing, changed, MLFLOW_BEGINS)
    shown = ", ".join(f"{counts[table]} {table}" for table in ("runs", "metrics", "params", "tags", "model_versions"))
    return f"MLflow: {sum(counts.values())} rows, as many on both sides ({shown})"


def mlflow_tables() -> "sa.MetaData":
    """All tables of MLflow's database."""
    import mlflow.store.model_registry.dbmodels.models
    import mlflow.store.tracking.dbmodels.models
    import mlflow.store.workspace.dbmodels.models  # noqa: F401  all make their tables known
    from mlflow.store.db.base_sql_model import Base

    return Base.metadata


def _places_changed(before: str, now: str) -> Change:
    """Where an artefact lies is written down by its whole address."""

    def change(row: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for name in PLACES:
            value = row.get(name)
            for prefix in (before, f"file://{before}"):
                if isinstance(value, str) and (value == prefix or value.startswith(f"{prefix}/")):
                    found[name] = now + value[len(prefix) :]
        return row | found

    return change


def _has_prefect(side: Side) -> bool:
    return not side.prefect.startswith("sqlite") or Path(side.prefect.partition(":///")[2]).exists()


def _move_prefect(source: Side, target: Side) -> str:
    for side in (source, target):
        _upgrade_prefect(side.prefect)
    from prefect.server.database.orm_models import Base

    reading, writing = _engine(source.prefect), _engine(target.prefect)
    counts = _rows_moved(Base.metadata, reading, writing, dict, PREFECT_BEGINS)
    shown = ", ".join(f"{counts[table]} {table}" for table in ("flow_run", "task_run", "log", "deployment"))
    return f"Prefect: {sum(counts.values())} rows, as many on both sides ({shown})"


def _refuse_written(source: Side, target: Side, had_prefect: bool) -> None:
    """Lets pass where the side that is left still has the rows that were copied, and no others."""
    asked = [(mlflow_tables(), source.mlflow, target.mlflow, _places_changed(source.artefacts, target.artefacts))]
    if had_prefect:
        from prefect.server.database.orm_models import Base

        asked.append((Base.metadata, source.prefect, target.prefect, dict))
    for metadata, left, entered, change in asked:
        reading, writing = _engine(left), _engine(entered)
        counts = same_rows(metadata, reading, writing, change)
        for engine in (reading, writing):
            engine.dispose()
        if counts is None:
            raise _written(left, entered)
    if _has_prefect(source) and not had_prefect:
        raise _written(source.prefect, target.prefect)


def _written(left: str, entered: str) -> InputError:
    anew = "" if entered.startswith("sqlite") else f"make {entered} anew (dropdb, createdb), "
    return InputError(
        f"{left}: expected the rows that were copied, found that something wrote meanwhile; nothing was switched. End "
        f"all runs, servers and pages of all checkouts, {anew}and give the command again"
    )


def _upgrade_prefect(address: str) -> None:
    """Lays out Prefect's tables, or brings them to this version, by Prefect's own command."""
    _run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
        {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address},
    )


def _rows_moved(
    metadata: "sa.MetaData", reading: "sa.Engine", writing: "sa.Engine", change: Change, first: Mapping[str, int | None]
) -> dict[str, int]:
    """Moves rows to a database that holds nothing of its own, or all of them already: a killed command goes on."""
    try:
        count = count_of(metadata, writing, first)
        if not count:
            return move_rows(metadata, reading, writing, change)
        if counts := same_rows(metadata, reading, writing, change):
            return counts
    finally:
        for engine in (reading, writing):
            engine.dispose()
    raise InputError(
        f"{writing.url.render_as_string()}: expected an empty database, found {count} rows, perhaps of an earlier "
        f"move; name another database in {SERVICES_FILE}, or make this one anew (dropdb, createdb)"
    )


def _push(services: Services) -> str:
    with _dvc_settings() as settings:
        settings.setdefault("remote", {})[REMOTE] = _remote(services)
        default = settings.setdefault("core", {}).setdefault("remote", REMOTE)
    skipped = _all_commits("push", services)
    others = f"; {default} stays DVC's default remote" if default != REMOTE else ""
    return f"DVC: pushed all commits to {services.dvc.remote}{skipped}{others}; .dvc/config belongs into git"


def _fetch(services: Services) -> str:
    skipped = _all_commits("fetch", services)
    return f"DVC: fetched all commits into this checkout's cache{skipped}; .dvc/config belongs into git"


def _remote(services: Services) -> dict[str, str]:
    remote = {"url": services.dvc.remote, "region": services.s3.region}
    return remote | ({"endpointurl": services.s3.endpoint} if services.s3.endpoint else {})


def _all_commits(command: str, services: Services) -> str:
    """Brings over what every commit of every branch and tag tracks; tells of those that DVC could not read.

    DVC reads .dvc/config of each commit, and skips those that do not know the remote: the system's settings, which it
    reads as they are, name it.
    """
    from dvc.config import Config
    from dvc.dirs import system_config_dir

    before = Path(system_config_dir()) / Config.CONFIG
    lines = [f"['remote \"{REMOTE}\"']", *(f"    {name} = {value}" for name, value in _remote(services).items())]
    if before.is_file():
        lines.insert(0, before.read_text())
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / Config.CONFIG).write_text("\n".join(lines) + "\n")
        arguments = [command, "--run-cache", "--all-commits", "--remote", REMOTE]
        told = _run([sys.executable, "-m", "dvc", *arguments], {"DVC_SYSTEM_CONFIG_DIR": folder})
    skipped = told.count("failed to collect")
    return f", but for {skipped} commits that DVC cannot read" if skipped else ""


def _leave_remote() -> None:
    with _dvc_settings() as settings:
        if settings["core"].get("remote") == REMOTE:
            del settings["core"]["remote"]


def _dvc_settings() -> "AbstractContextManager[dict[str, Any]]":
    """.dvc/config, written when the block ends; `dvc remote` would take five processes of seconds each."""
    from dvc.config import Config

    return Config(str(Path(".dvc").resolve())).edit("repo")


def _run(command: list[str], more: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | more)
    if done.returncode:
        shown = " ".join(command[2:])
        raise InputError(f"`{shown}` failed, and nothing was switched: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout + done.stderr


def main() -> None:
    """`to=services` or `to=embedded`."""
    asked = command_line.parse(sys.argv[1:], ("to",))["to"]
    to: Use | None = next((use for use in get_args(Use) if use == asked), None)
    if to is None:
        raise ConfigError(f"to={asked}: expected one of {', '.join(get_args(Use))}")
    for line in move(to):
        print(line)
    print(f"{SERVICES_FILE} says `use: {to}` now, which belongs into git; the other side keeps what it had")


if __name__ == "__main__":
    command_line.run(main)
