"""`make backup [TO=DIR]`: what cannot be computed again, in one archive; `make restore` brings it back.

A person's words (decisions, segments, journals, harvests), settings, ledgers, MLflow's database with its artefacts, and
the champions' bundles. Recordings are the user's own and lie in DVC's remote; what stages made of them is made again.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from flows import command_line
from flows.services import refuse_unsafe
from flows.tracking import git_commit
from lineact.archive import Manifest, snapshot, write_archive
from lineact.errors import InputError
from lineact.evaluate.champion import CHAMPIONS

BACKUPS = Path(".lineact/backups")
DATABASE = "mlflow.db"
TRIES = 5  # ledgers may grow while the database is copied
LEDGERS = ("models/*/promotions.jsonl", "models/*/forgotten.jsonl")
JOURNALS = "data/*/review/journal.sqlite"
# In the order in which they are read: a journal marks what is in decisions.csv, so that file must not be the older one.
PLAIN = (
    "data/*/review/decisions.csv",
    "data/*/review/segments.json",
    "data/*/raw/harvest/*.mkv",
    "data/*/raw.dvc",
    "conf/**/*.yaml",
    "dvc.lock",
    "params.yaml",
    "models/*/dvc.yaml",
    ".dvc/config",
    ".lineact/waiting/*.json",
    ".lineact/forget/*.json",
    f"{CHAMPIONS}/**/*",
)


class Store(NamedTuple):
    """Where MLflow keeps what it knows.

    Attributes:
        database: SQLite's file; None where a server or another database has it.
        artefacts: folders on this machine below which artefacts lie.
        elsewhere: addresses of what is not on this machine.
    """

    database: Path | None
    artefacts: tuple[Path, ...]
    elsewhere: tuple[str, ...]


def mlflow_store() -> Store:
    """Asks MLflow's own settings, and its experiments for where their artefacts lie.

    Raises:
        ConfigError: where the settings of the plant's services are wrong, so that nobody knows which store counts.
        InputError: where others can read the services' passwords.
    """
    refuse_unsafe()
    import mlflow
    from mlflow.entities import ViewType
    from mlflow.utils.file_utils import local_file_uri_to_path

    address = mlflow.get_tracking_uri()
    if not address.startswith("sqlite:///"):
        return Store(None, (), (address,))
    database = Path(address.removeprefix("sqlite:///"))
    if not database.is_file():
        return Store(None, (), ())
    experiments = mlflow.MlflowClient().search_experiments(ViewType.ALL)
    places = {str(experiment.artifact_location) for experiment in experiments}
    local = {place for place in places if place.startswith(("/", "file:")) or "://" not in place}
    folders = {Path(local_file_uri_to_path(place)).absolute() for place in local}
    return Store(database, tuple(sorted(folders)), tuple(sorted(places - local)))


def back_up(to: Path) -> tuple[Path, Manifest, Store]:
    """Writes an archive.

    Args:
        to: folder for it.

    Returns:
        The archive, what is in it, and where MLflow's store is.

    Raises:
        InputError: where a database cannot be read, or ledgers grow all the while.
    """
    made_at = datetime.now(UTC)
    store, root = mlflow_store(), Path.cwd()
    with tempfile.TemporaryDirectory(dir=_scratch()) as scratch:
        files = _databases(store, Path(scratch))
        for pattern in PLAIN:
            files |= {path.as_posix(): path for path in sorted(Path().glob(pattern)) if _is_whole(path)}
        for folder in store.artefacts:
            files |= {_name_of(path, root): path for path in sorted(folder.rglob("*")) if _is_whole(path)}
        about = {"git_commit": git_commit(), "root": str(root)}
        archive = to / f"lineact-{made_at:%Y%m%dT%H%M%SZ}.tar.gz"
        return archive, write_archive(archive, files, about, made_at.isoformat(timespec="seconds")), store


def _scratch() -> Path:
    folder = Path(".lineact")
    folder.mkdir(exist_ok=True)
    return folder


def _databases(store: Store, scratch: Path) -> dict[str, Path]:
    """Copies of the databases, and the ledgers as they were while MLflow's was copied."""
    for _ in range(TRIES):
        before = _ledgers()
        if store.database is not None:
            snapshot(store.database, scratch / DATABASE)
        if _ledgers() == before:
            break
    else:
        raise InputError("the promotion ledgers grow while MLflow's database is copied; try again after the runs")
    files = {DATABASE: scratch / DATABASE} if store.database is not None else {}
    for name, content in before.items():
        files[name] = scratch / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_bytes(content)
    for journal in sorted(Path().glob(JOURNALS)):
        files[journal.as_posix()] = scratch / journal
        snapshot(journal, scratch / journal)
    return files


def _ledgers() -> dict[str, bytes]:
    paths = (path for pattern in LEDGERS for path in Path().glob(pattern))
    return {path.as_posix(): path.read_bytes() for path in paths}


def _is_whole(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and not path.name.startswith(".tmp-")


def _name_of(path: Path, root: Path) -> str:
    """Its place in the archive: below the project, or as it is named in MLflow's database."""
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    raise InputError(
        f"{path}: expected MLflow's artefacts below {root}, found them elsewhere; back that folder up as you do "
        "others, or move the project there"
    )


def words_of(archive: Path, manifest: Manifest, store: Store) -> Iterator[str]:
    """What is in it, and what is not."""
    kinds = {
        "decisions and segments": ("decisions.csv", "segments.json", "journal.sqlite"),
        "files of released bundles": (f"{CHAMPIONS}/",),
        "harvests": ("/raw/harvest/",),
        "ledgers": ("promotions.jsonl", "forgotten.jsonl"),
        "MLflow's database": (DATABASE,),
        "MLflow's artefacts": ("mlruns/",),
        "settings": ("conf/",),
    }
    counts = {
        kind: sum(any(part in name for part in parts) for name in manifest.files) for kind, parts in kinds.items()
    }
    told = ", ".join(f"{kind} ({count})" for kind, count in counts.items() if count)
    yield f"{archive}: {archive.stat().st_size / 1e6:.1f} MB, {len(manifest.files)} files: {told}"
    lines = sorted(path.parent.name for path in Path("data").glob("*/raw.dvc"))
    if lines:
        yield f"not in it: the recordings of {', '.join(lines)}, which are yours{_pushed()}"
    for address in store.elsewhere:
        yield f"not in it: what MLflow keeps at {address}; back that up where it is"
    if archive.parent == BACKUPS:
        yield "it lies on this machine: copy it to another one, or name a folder there with TO="


def _pushed() -> str:
    listed = subprocess.run([sys.executable, "-m", "dvc", "remote", "list"], capture_output=True, text=True)
    names = ", ".join(line.split()[0] for line in listed.stdout.splitlines() if line.split())
    return f": `dvc push` brings them to {names}" if names else ": keep copies, or add a DVC remote for them"


def main() -> None:
    """`[to=DIR]`."""
    values = command_line.parse(sys.argv[1:], (), ("to",))
    archive, manifest, store = back_up(Path(values.get("to") or BACKUPS).expanduser())
    print("\n".join(words_of(archive, manifest, store)))


if __name__ == "__main__":
    command_line.run(main)
