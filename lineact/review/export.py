"""decisions.csv from the journal and what the file held already."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lineact.decisions import BadRow, Decision, Decisions, read_decisions, standing, write_decisions
from lineact.errors import InputError
from lineact.review.journal import Journal
from lineact.schema import DECISION_COLUMNS


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        added: rows that were not in the file.
        rows: all usable rows in it now.
        disputed: items that reviewers answer differently.
        bad: unusable rows, kept at the end of the file.
    """

    added: int
    rows: int
    disputed: int
    bad: tuple[BadRow, ...]


def journal_path(decisions: Path) -> Path:
    """Where the journal of a decisions.csv lies."""
    return decisions.with_name("journal.sqlite")


def read_written(path: Path, actions: tuple[str, ...]) -> Decisions:
    """Decisions in the file; none where there is no file yet.

    Raises:
        InputError: see `read_decisions`.
    """
    return read_decisions(path, actions) if path.is_file() else Decisions((), (), ())


def not_written(written: Decisions, pending: Iterable[Decision]) -> list[Decision]:
    """The journal's rows that are not in the file, by what tells a row although somebody corrected its label there.

    Args:
        written: what the file holds.
        pending: rows of the journal.
    """
    there = {(row.item_id, row.reviewer, row.decided_at) for row in written.usable}
    return [row for row in pending if (row.item_id, row.reviewer, row.decided_at) not in there]


def export_decisions(path: Path, actions: tuple[str, ...], journal: Journal, *, everything: bool = False) -> Exported:
    """Writes decisions.csv: what it holds, with edits by hand and what git brought, and the journal's pending rows.

    Rows are sorted by item and time; unusable rows stay as they are, at the end.

    Args:
        path: decisions.csv.
        actions: the line's actions, without NG.
        journal: the line's.
        everything: whether rows that were in the file once and are gone from it come back.

    Raises:
        InputError: where the file cannot be read, or has columns that writing it would lose.
        FullDiskError: where there is no room; file and journal are as they were.
    """
    found: list[Exported] = []

    def write(pending: list) -> None:
        _refuse_other_columns(path)
        written = read_written(path, actions)
        added = not_written(written, pending)
        merged = standing([*written.usable, *added], written.bad)
        found.append(Exported(len(added), len(merged.usable), len(merged.disputed), merged.bad))
        write_decisions(path, merged.usable, merged.bad)

    journal.write_pending(write, everything=everything)
    return found[0]


def _refuse_other_columns(path: Path) -> None:
    if not path.is_file():
        return
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline().strip()
    if header != ",".join(DECISION_COLUMNS):
        raise InputError(
            f"{path}: expected the header {','.join(DECISION_COLUMNS)}, found {header}; writing the file would lose "
            "the rest: put the columns back in order; the answers stay in the journal"
        )
