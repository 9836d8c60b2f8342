"""Imported decisions among those that the review page's journal and decisions.csv hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineact.decisions import BadRow, Decision, Decisions, decided_at, standing, write_decisions
from lineact.looks import stamped
from lineact.review.export import journal_path, not_written, read_written
from lineact.review.journal import Journal


@dataclass(frozen=True)
class Merged:
    """Decisions with imported ones among them.

    Attributes:
        decisions: what stands now.
        added: how many are new.
        known: how many were there already.
        outdated: items on which the same reviewer said something later: that holds.
        disputed: items on which reviewers now say different things.
    """

    decisions: Decisions
    added: int
    known: int
    outdated: tuple[str, ...]
    disputed: tuple[str, ...]


def decisions_so_far(path: Path, actions: tuple[str, ...]) -> Decisions:
    """What stands, with the journal's answers that are not in decisions.csv yet.

    Args:
        path: decisions.csv; none where nobody has reviewed.
        actions: the line's actions, without NG.

    Raises:
        InputError: where the file or the journal cannot be read.
    """
    written = read_written(path, actions)
    journal = journal_path(path)
    if not journal.is_file():
        return written
    opened = Journal(journal)
    try:
        pending, _ = opened.rows_after(opened.written_up_to)
    finally:
        opened.close()
    return standing([*written.usable, *not_written(written, pending)])


def add_imported(
    path: Path,
    actions: tuple[str, ...],
    imported: Sequence[tuple[Decision, bool]],
    stamp: Callable[[Decisions], str],
) -> Merged:
    """Writes imported decisions, and the journal's pending ones, into decisions.csv; no review page writes meanwhile.

    Args:
        path: decisions.csv.
        actions: the line's actions, without NG.
        imported: with whether its own time is known; else the same word of the same person is the same row.
        stamp: of looks made after some decisions, see `lineact.looks`: those of a file are made after all of it.

    Raises:
        InputError: where the file or the journal cannot be read.
        FullDiskError: where there is no room; the file is as it was.
    """
    merged: list[Merged] = []

    def write(pending: list[Decision]) -> None:
        written = read_written(path, actions)
        merged.append(merge([*written.usable, *not_written(written, pending)], imported, stamp, written.bad))
        if pending or merged[0].added:
            write_decisions(path, merged[0].decisions.usable, written.bad)

    journal = Journal(journal_path(path))
    try:
        journal.write_pending(write)
    finally:
        journal.close()
    return merged[0]


def merge(
    before: Sequence[Decision],
    imported: Sequence[tuple[Decision, bool]],
    stamp: Callable[[Decisions], str],
    bad: Sequence[BadRow] = (),
) -> Merged:
    """Puts imported decisions among earlier ones; each reviewer's last word counts, see `lineact.decisions.words_on`.

    Args:
        before: all rows.
        imported: see `add_imported`.
        stamp: likewise.
        bad: unusable rows, which stay.
    """
    there = {_content(row) for row in before} | {(*_content(row), row.decided_at) for row in before}
    keys = [(*_content(one), one.decided_at) if told else _content(one) for one, told in imported]
    added = [one for (one, _), key in zip(imported, keys, strict=True) if key not in there]
    later = {(row.item_id, row.reviewer): decided_at(row) for row in sorted(before, key=decided_at)}
    outdated = [
        one.item_id for one in added if decided_at(one) < later.get((one.item_id, one.reviewer), decided_at(one))
    ]
    added = stamped(added, stamp(standing([*before, *added])))
    decisions = standing([*before, *added], bad)
    touched = {one.item_id for one in added}
    disputed = [words[-1].item_id for words in decisions.disputed if words[-1].item_id in touched]
    return Merged(decisions, len(added), len(imported) - len(added), tuple(outdated), tuple(disputed))


def _content(decision: Decision) -> tuple[str, ...]:
    return decision.item_id, decision.decided, decision.shown, decision.reviewer
