"""Messages on disk until somebody has acknowledged them; they outlive a kill and a power cut."""

import sqlite3
import threading
from pathlib import Path

from lineact.errors import FullDiskError, InputError

_TABLES = """
CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS last_added (only INTEGER PRIMARY KEY CHECK (only = 1), event_id TEXT NOT NULL);
"""


class Outbox:
    """A queue of messages in an SQLite file. For use by several threads.

    Args:
        path: of the file; its folder is there.

    Raises:
        InputError: where the file is no such queue.
        FullDiskError: where the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")  # of WAL only this survives a power cut
            self._database.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            self._database.close()
            self._refuse_full_disk(error)
            raise InputError(
                f"{path}: expected the events that wait for the broker, found something else ({error}); move it away, "
                "e.g. to send its events by hand"
            ) from error

    def add(self, event_id: str, payload: bytes) -> None:
        """Puts a message at the end.

        Raises:
            FullDiskError: where the disk is full; then it is not in the queue.
        """
        try:
            with self._lock, self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.execute("INSERT INTO waiting (payload) VALUES (?)", (payload,))
                self._database.execute("INSERT OR REPLACE INTO last_added VALUES (1, ?)", (event_id,))
        except sqlite3.OperationalError as error:
            self._refuse_full_disk(error)
            raise

    def after(self, number: int, count: int) -> list[tuple[int, bytes]]:
        """The first messages with a greater number, with their numbers."""
        query = "SELECT number, payload FROM waiting WHERE number > ? ORDER BY number LIMIT ?"
        with self._lock:
            return self._database.execute(query, (number, count)).fetchall()

    def remove(self, number: int) -> None:
        """Takes a message out for good."""
        with self._lock:
            self._database.execute("DELETE FROM waiting WHERE number = ?", (number,))

    def last_added(self) -> str | None:
        """The event that was last put in, whether it still waits or not."""
        with self._lock:
            row = self._database.execute("SELECT event_id FROM last_added").fetchone()
        return row and row[0]

    def __len__(self) -> int:
        with self._lock:
            return self._database.execute("SELECT COUNT(*) FROM waiting").fetchone()[0]

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()

    def _refuse_full_disk(self, error: sqlite3.Error) -> None:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise FullDiskError(self._path) from error
