"""What persons said of a recording: rows of decisions.csv and of the review page's journal, segments in time."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lineact.decisions import Decision, write_decisions
from lineact.errors import InputError
from lineact.files import write_json
from lineact.forget import Recording
from lineact.review.export import read_written


def forget_decisions(path: Path, actions: Sequence[str], recording: Recording) -> int:
    """Removes the rows on the recording's frames and crops from decisions.csv.

    The name of a group stays with those of its crops that are of other recordings.

    Args:
        path: decisions.csv; nothing is done where there is none.
        actions: of the line.
        recording: which.

    Returns:
        How many rows went.

    Raises:
        InputError: where the file cannot be read.
    """
    if not path.is_file():
        return 0
    written = read_written(path, tuple(actions))
    rows = [_without(row, recording.key) for row in written.usable]
    bad = [row for row in written.bad if recording.key not in row.text]
    kept = [row for row in rows if row is not None]
    if kept != written.usable or len(bad) < len(written.bad):
        write_decisions(path, kept, bad)
    return len(rows) - len(kept) + len(written.bad) - len(bad)


def forget_answers(path: Path, recording: Recording) -> int:
    """The same for the review page's journal, of whose file nothing of them is left over.

    Args:
        path: the journal; nothing is done where there is none.
        recording: which.

    Returns:
        How many rows went.

    Raises:
        InputError: where a review page has it open, or it is no journal.
    """
    if not path.is_file():
        return 0
    try:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            # Only who is alone may leave the write-ahead log, which would keep the rows, too.
            connection.execute("PRAGMA journal_mode=DELETE")
            gone = _forget_rows(connection, recording.key)
            connection.execute("VACUUM")
            return gone
    except sqlite3.OperationalError as error:
        raise InputError(
            f"{path}: expected that nobody reviews the line meanwhile, found the journal in use ({error}); end the "
            "review page (Ctrl+C), then run the same command again"
        ) from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path}: expected a journal of answers, found: {error}; move the file away") from error


def forget_segments(path: Path, recording: Recording) -> int:
    """Removes the recording's entry from segments.json, ActivityNet's layout.

    Returns:
        How many segments went.

    Raises:
        InputError: where the file is no such JSON.
    """
    if not path.is_file():
        return 0
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        database = content["database"]
        named = [name for name in database if name in recording.names]
        gone = sum(len(database.pop(name).get("annotations", ())) for name in named)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected segments in ActivityNet's layout, found something else ({error})"
        ) from error
    if named:
        write_json(path, content)
    return gone


def _forget_rows(connection: sqlite3.Connection, key: str) -> int:
    gone = 0
    connection.execute("BEGIN IMMEDIATE")
    rows = connection.execute("SELECT number, item_id, task, basis FROM answers").fetchall()
    for number, item_id, task, basis in rows:
        row = _without(Decision(item_id, task, "", "", "", "", 0.0, basis), key)
        if row is None:
            connection.execute("DELETE FROM answers WHERE number = ?", (number,))
            gone += 1
        elif row.basis != basis:
            connection.execute("UPDATE answers SET basis = ? WHERE number = ?", (row.basis, number))
    connection.execute("COMMIT")
    return gone


def _without(row: Decision, key: str) -> Decision | None:
    """The row as far as it is not of the recording; None where nothing of it is left."""
    if key in row.item_id:
        return None
    if row.task != "group" or key not in row.basis:
        return row
    others = [member for member in row.members if key not in member]
    return replace(row, basis=f"{row.shown}/{' '.join(others)}") if others else None
