"""`make restore FROM=FILE`: brings back what `make backup` kept.

Every file is checked against its hash before the first one is put in its place. What is there already and knows less
is replaced; what knows more, or something else, is left, and the whole restore refused, unless EXISTING= says what of
the two is to stay.
"""

import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

from flows import command_line
from flows.backup import DATABASE
from lineact.archive import Manifest, has_open, read_archive, same_content
from lineact.errors import ConfigError, InputError
from lineact.files import write_whole

Existing = Literal["refuse", "keep", "overwrite"]
CHOICES: tuple[Existing, ...] = ("refuse", "keep", "overwrite")
SHOWN = 8  # files that an error names
PLACES = ("artifact_location", "artifact_uri", "storage_location", "source")  # columns of MLflow's database
# A person's words and ledgers come last: what they speak of is there when they are.
LAST = (DATABASE, "journal.sqlite", "decisions.csv", "forgotten.jsonl", "promotions.jsonl")
LOGS = ("-wal", "-shm", "-journal")


class Plan(NamedTuple):
    """What a restore does.

    Attributes:
        same: files that are there as they were kept.
        missing: files that are not there, or know less than the kept ones.
        other: files that know more than the kept ones, or something else.
    """

    same: list[str]
    missing: list[str]
    other: list[str]


def restore(archive: Path, existing: Existing) -> tuple[Manifest, Plan]:
    """Puts everything in its place.

    Args:
        archive: of `make backup`.
        existing: what becomes of what is there and knows more, or something else.

    Raises:
        InputError: where the archive is not whole; where `existing` says to refuse; where a server or a review page
            has a database open.
    """
    Path(".lineact").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=".lineact") as scratch:
        kept = Path(scratch)
        manifest = read_archive(archive, kept)
        if (kept / DATABASE).is_file():
            _move_places(kept / DATABASE, manifest.about["root"], str(Path.cwd()))
        plan = _plan(manifest, kept)
        if plan.other and existing == "refuse":
            raise InputError(_refusal(archive, manifest, plan.other))
        wanted = plan.missing + (plan.other if existing == "overwrite" else [])
        _refuse_open(wanted)
        for name in sorted(wanted, key=lambda name: (name.endswith(LAST), name)):
            _put(kept / name, Path(name))
    return manifest, plan


def checked(archive: Path) -> Manifest:
    """Reads an archive and checks it, and changes nothing.

    Raises:
        InputError: where it is not whole.
    """
    with tempfile.TemporaryDirectory() as scratch:
        return read_archive(archive, Path(scratch))


def _plan(manifest: Manifest, kept: Path) -> Plan:
    plan = Plan([], [], [])
    for name, sha256 in sorted(manifest.files.items()):
        path = Path(name)
        if same_content(path, sha256):
            plan.same.append(name)
        elif not path.exists() or _knows_less(path, kept / name):
            plan.missing.append(name)
        else:
            plan.other.append(name)
    return plan


def _knows_less(here: Path, kept: Path) -> bool:
    """Whether all that a file says is said by the kept one as well."""
    test = next((test for end, test in _TESTS.items() if here.name.endswith(end)), None)
    try:
        return test is not None and test(here, kept)
    except (OSError, ValueError, sqlite3.DatabaseError):
        return False


def _begins_the_same(here: Path, kept: Path) -> bool:
    return kept.read_bytes().startswith(here.read_bytes())


def _has_fewer_lines(here: Path, kept: Path) -> bool:
    return set(here.read_bytes().splitlines()) <= set(kept.read_bytes().splitlines())


def _has_fewer_rows(here: Path, kept: Path) -> bool:
    """Whether each row of each table is in the kept database, too; of a journal, whether each answer is."""
    with closing(sqlite3.connect(here)) as connection:
        connection.execute("ATTACH ? AS kept", (str(kept),))
        found = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        tables = ["answers"] if ("answers",) in found else [name for (name,) in found]
        only_here = 'SELECT * FROM main."{0}" EXCEPT SELECT * FROM kept."{0}" LIMIT 1'
        return not any(connection.execute(only_here.format(table)).fetchall() for table in tables)


_TESTS: dict[str, Callable[[Path, Path], bool]] = {
    DATABASE: _has_fewer_rows,
    "journal.sqlite": _has_fewer_rows,
    "decisions.csv": _has_fewer_lines,
    ".jsonl": _begins_the_same,
}


def _refusal(archive: Path, manifest: Manifest, other: list[str]) -> str:
    shown = ", ".join(other[:SHOWN]) + (f" and {len(other) - SHOWN} more" if len(other) > SHOWN else "")
    forgotten = [name for name in other if name.endswith("forgotten.jsonl")]
    said = "; recordings were forgotten since, and the backup may show them" if forgotten else ""
    return (
        f"{archive}: made at {manifest.made_at}; expected that what is here knows no more, found other content in "
        f"{shown}{said}. Nothing was changed; EXISTING=keep leaves these as they are and brings back the rest, "
        "EXISTING=overwrite replaces them, too"
    )


def _refuse_open(names: list[str]) -> None:
    databases = [Path(name) for name in names if name.endswith((DATABASE, ".sqlite")) and Path(name).exists()]
    for path, processes in has_open(databases).items():
        told = ", ".join(map(str, processes))
        raise InputError(
            f"{path}: expected that nobody has it open, found process {told}; end `make ui`, the review page or the "
            "run first. Nothing was changed"
        )


def _put(kept: Path, target: Path) -> None:
    for log in LOGS if target.name.endswith((DATABASE, ".sqlite")) else ():
        target.with_name(target.name + log).unlink(missing_ok=True)  # of the database that was there
    write_whole(target, lambda temporary: shutil.move(kept, temporary))


def _move_places(database: Path, before: str, now: str) -> None:
    """MLflow writes down where artefacts lie by their whole path; the project may lie elsewhere now."""
    if before == now:
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
            for column in columns.intersection(PLACES):
                for prefix in ("", "file://"):
                    old, new = f"{prefix}{before}/", f"{prefix}{now}/"
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '  # noqa: S608 - names of columns
                        f'WHERE substr("{column}", 1, ?) = ?',
                        (new, len(old) + 1, len(old), old),
                    )


def main() -> None:
    """`from=FILE [existing=refuse|keep|overwrite] [check=yes]`."""
    values = command_line.parse(sys.argv[1:], ("from",), ("existing", "check"))
    archive, check = Path(values["from"]).expanduser(), values.get("check") or "no"
    existing = next((one for one in CHOICES if one == (values.get("existing") or "refuse")), None)
    if existing is None or check not in ("yes", "no"):
        raise ConfigError("expected EXISTING=keep or overwrite, and CHECK=yes or nothing")
    if check == "yes":
        manifest = checked(archive)
        print(f"{archive}: whole, {len(manifest.files)} files, made at {manifest.made_at}")
        return
    manifest, plan = restore(archive, existing)
    done = len(plan.missing) + (len(plan.other) if existing == "overwrite" else 0)
    print(f"{archive}: made at {manifest.made_at} of git commit {manifest.about['git_commit']}")
    print(f"{done} files brought back, {len(plan.same)} were there already")
    if plan.other:
        print(f"{len(plan.other)} had other content here and were {'replaced' if existing != 'keep' else 'left'}")
    print("next: `dvc pull` or your own copies bring the recordings back, `python -m flows.retrain line=...` the rest")


if __name__ == "__main__":
    command_line.run(main)
