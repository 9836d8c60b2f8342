"""The journal: every answer is on the disk here before the page shows it as given; decisions.csv is written from it.

An SQLite database in WAL mode beside decisions.csv. Rows are only ever added. What was written to decisions.csv is
marked by one number: rows up to it are in that file, which from then on is the truth about them (a person may edit it);
rows after it are pending.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock

from lineact.decisions import Decision, decided_at
from lineact.errors import FullDiskError, InputError
from lineact.schema import DECISION_COLUMNS

VERSION = 1
WAIT_S = 30.0  # for another server's transaction
_COLUMNS = ", ".join(DECISION_COLUMNS)
_CREATE = """
CREATE TABLE answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT NOT NULL, task TEXT NOT NULL, suggested TEXT NOT NULL,
    decided TEXT NOT NULL, reviewer TEXT NOT NULL, decided_at TEXT NOT NULL, seconds REAL NOT NULL, basis TEXT NOT NULL
);
CREATE INDEX answers_of_item ON answers (item_id);
CREATE TABLE written (up_to INTEGER NOT NULL);
INSERT INTO written VALUES (0)
"""
_INSERT = f"INSERT INTO answers ({_COLUMNS}) VALUES ({', '.join('?' * len(DECISION_COLUMNS))})"  # noqa: S608


class Journal:
    """One connection to a line's journal; several servers may have one each."""

    def __init__(self, path: Path) -> None:
        """Opens the journal, made where it is missing.

        Raises:
            InputError: where the file is something else, or of another version.
            FullDiskError: where there is no room to make it.
        """
        self.path = path
        self._lock = RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")  # a committed answer survives a power cut
            with self._writing():
                found = self._connection.execute("PRAGMA user_version").fetchone()[0]
                if found == 0:
                    for statement in _CREATE.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.DatabaseError as error:
            raise _told(error, path) from error
        if found not in (0, VERSION):
            raise InputError(f"{path}: expected a journal of version {VERSION}, found {found}; use a newer lineact")
        self._identity = _identity_of(path)

    def add(self, make: Callable[[], Sequence[Decision]]) -> None:
        """Adds answers, all or none; on the disk when this returns.

        Args:
            make: gives the rows; called when nobody else can write. A row that is not later than the newest of its item
                gets a later time: clocks are set back.

        Raises:
            FullDiskError: where there is no room.
            InputError: where the file was removed meanwhile: SQLite would go on writing to what nobody finds again.
        """
        try:
            with self._writing():
                if _identity_of(self.path) != self._identity:
                    raise InputError(
                        f"{self.path}: expected the journal that was opened, found that it was removed or replaced; "
                        "start the review page again"
                    )
                self._connection.executemany(_INSERT, [astuple(self._after_newest(row)) for row in make()])
        except sqlite3.DatabaseError as error:
            raise _told(error, self.path) from error

    def _after_newest(self, decision: Decision) -> Decision:
        query = "SELECT max(decided_at) FROM answers WHERE item_id = ?"
        newest = self._connection.execute(query, (decision.item_id,)).fetchone()[0]
        return decision if newest is None else later_than(decision, datetime.fromisoformat(newest))

    def rows_after(self, number: int) -> tuple[list[Decision], int]:
        """Rows added after a number, in order, and the last one's number."""
        query = f"SELECT number, {_COLUMNS} FROM answers WHERE number > ? ORDER BY number"  # noqa: S608
        with self._lock:
            rows = self._connection.execute(query, (number,)).fetchall()
        return [Decision(*row[1:]) for row in rows], rows[-1][0] if rows else number

    @property
    def written_up_to(self) -> int:
        """Rows up to this number are in decisions.csv."""
        with self._lock:
            return self._connection.execute("SELECT up_to FROM written").fetchone()[0]

    def write_pending(self, write: Callable[[list[Decision]], None], *, everything: bool = False) -> int:
        """Gives the pending rows to `write` while nobody else can add any, then marks them as written.

        A process killed between the two writes them again: `write` must leave out what is there already.

        Args:
            write: what writes decisions.csv.
            everything: whether all rows ever given are pending.

        Returns:
            How many rows there were.
        """
        with self._writing():
            rows, last = self.rows_after(0 if everything else self.written_up_to)
            write(rows)
            if rows:
                self._connection.execute("UPDATE written SET up_to = max(up_to, ?)", (last,))
        return len(rows)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._connection.close()


def pending_in(path: Path) -> int:
    """How many rows of a journal are not in decisions.csv yet. It waits for nobody who writes, and changes nothing.

    Raises:
        InputError: where the file is something else.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)) as connection:
            query = "SELECT count(*) FROM answers WHERE number > (SELECT up_to FROM written)"
            return connection.execute(query).fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise _told(error, path) from error


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def later_than(decision: Decision, newest: datetime) -> Decision:
    """The row, with a later time where it is not later than the newest one of its item."""
    if decided_at(decision) > newest:
        return decision
    return replace(decision, decided_at=stamp(newest + timedelta(milliseconds=1)))


def stamp(when: datetime) -> str:
    """A time as rows have it: UTC, ISO 8601, milliseconds."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds")


def _told(error: sqlite3.DatabaseError, path: Path) -> Exception:
    if "disk is full" in str(error):
        return FullDiskError(path)
    if "locked" in str(error):
        return InputError(f"{path}: another command has been writing to it for {WAIT_S:g} s; try again when it is done")
    return InputError(f"{path}: expected a journal of answers, found: {error}; move the file away if it is not one")
