"""Messages on disk until somebody has acknowledged them; they outlive a kill and a power cut."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineact.errors import FullDiskError, InputError, LineactError
from lineact.runtime.errors import BusyError

BUSY_S = 1.0  # so long a call waits for another process that writes there
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DENIED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR)
_TABLES = """
CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS last_added (only INTEGER PRIMARY KEY CHECK (only = 1), event_id TEXT NOT NULL);
"""


class Outbox:
    """A queue of messages in an SQLite file. For use by several threads.

    Args:
        path: of the file; its folder is there.

    Raises:
        FullDiskError: where the disk is full; from every method, as the others.
        BusyError: where another process writes there.
        InputError: where the file is no such queue, is damaged, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._guarded():
            self._database = sqlite3.connect(path, BUSY_S, check_same_thread=False, isolation_level=None)
            try:
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=FULL")  # of WAL only this survives a power cut
                self._database.executescript(_TABLES)
            except sqlite3.Error:
                self._database.close()
                raise

    def add(self, event_id: str, payload: bytes) -> None:
        """Puts a message at the end; where that fails it is not in the queue."""
        with self._guarded(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("INSERT INTO waiting (payload) VALUES (?)", (payload,))
            self._database.execute("INSERT OR REPLACE INTO last_added VALUES (1, ?)", (event_id,))

    def after(self, number: int, count: int) -> list[tuple[int, bytes]]:
        """The first messages with a greater number, with their numbers."""
        query = "SELECT number, payload FROM waiting WHERE number > ? ORDER BY number LIMIT ?"
        with self._guarded():
            return self._database.execute(query, (number, count)).fetchall()

    def remove(self, number: int) -> None:
        """Takes a message out for good."""
        with self._guarded():
            self._database.execute("DELETE FROM waiting WHERE number = ?", (number,))

    def last_added(self) -> str | None:
        """The event that was last put in, whether it still waits or not."""
        with self._guarded():
            row = self._database.execute("SELECT event_id FROM last_added").fetchone()
        return row and row[0]

    def __len__(self) -> int:
        with self._guarded():
            return self._database.execute("SELECT COUNT(*) FROM waiting").fetchone()[0]

    def close(self) -> None:
        """Closes the file."""
        with self._guarded():
            self._database.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One call at a time; what SQLite raises is told in the words of this project."""
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.Error) -> LineactError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest of it tells more closely
        if code == sqlite3.SQLITE_FULL:
            return FullDiskError(self._path)
        if code in _BUSY:
            return BusyError(f"{self._path}: another process writes there ({error}); end that one, e.g. an SQL browser")
        if code in _DENIED:
            return InputError(f"{self._path}: cannot be read and written ({error}); mend its permissions, or the disk")
        return InputError(
            f"{self._path}: expected the events that wait for the broker, found something else ({error}); move it "
            "away, e.g. to send its events by hand"
        )
