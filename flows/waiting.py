"""Lines that wait for a review: since when, and who is told of it, as Prefect events and log lines.

Events: lineact.review.awaited, lineact.review.reminder, lineact.review.overdue and lineact.review.finished, each of the
resource lineact.line.<line>; Prefect's automations can send them on.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from flows.gate import pass_gate
from lineact.deadline import ReviewParams, word_due
from lineact.errors import AwaitingReview
from lineact.files import write_json
from lineact.settings import from_mapping
from tasks.stage import section_of

WAITING = Path(".lineact/waiting")


@dataclass(frozen=True)
class Word:
    """What is said of a line that waits.

    Attributes:
        kind: "awaited", "reminder", "overdue" or "finished".
        text: in a sentence.
    """

    kind: str
    text: str


def now_utc() -> datetime:
    """The time; tests put another in its place."""
    return datetime.now(UTC)


def begin_waiting(line: str, message: str) -> Word:
    """Notes that a line waits, unless it did already.

    Args:
        line: the line.
        message: what it waits for.
    """
    path = _path(line)
    if not path.is_file():
        _note(path, now_utc(), now_utc())
    return Word("awaited", f"line {line}: {message}")


def end_waiting(line: str) -> Word | None:
    """Forgets that a line waited: its gate is open.

    Returns:
        What is said of that; None where it did not wait.
    """
    path = _path(line)
    if not path.is_file():
        return None
    hours = _hours_since(_times(path)["since"])
    path.unlink()
    return Word("finished", f"line {line}: the review is done, after {hours:.0f} hours")


def note_told(line: str) -> None:
    """Notes that what `word_on` said was told; a line that does not wait any more has nothing to note."""
    path = _path(line)
    if path.is_file():
        _note(path, _times(path)["since"], now_utc())


def word_on(line: str) -> Word | None:
    """What is due to be said of a line; None where it does not wait or nothing is due. `note_told` is to follow.

    Raises:
        LineactError: where the line's settings, queue or decisions cannot be read.
    """
    path = _path(line)
    if not path.is_file():
        return None
    times = _times(path)
    params = from_mapping(ReviewParams, section_of(line, "review"), f"params.yaml: lines.{line}.review")
    kind = word_due(times["since"], times["told_at"], now_utc(), params)
    if kind is None:
        return None
    try:
        pass_gate(line)
    except AwaitingReview as waiting:
        hours = _hours_since(times["since"])
        late = f", {hours - params.deadline_h:.0f} of them past its deadline" if kind == "overdue" else ""
        return Word(kind, f"line {line} has waited for {hours:.0f} hours{late}: {waiting}")
    ended = end_waiting(line)
    return ended and replace(ended, text=f"{ended.text}; go on with `python -m flows.retrain line={line}`")


def tell(line: str, word: Word) -> None:
    """Sends a word as an event to the Prefect server that this process has, if any."""
    from prefect.events import emit_event

    emit_event(
        f"lineact.review.{word.kind}",
        resource={"prefect.resource.id": f"lineact.line.{line}", "prefect.resource.name": line},
        payload={"text": word.text},
    )


def _times(path: Path) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(text) for name, text in json.loads(path.read_text()).items()}


def _hours_since(since: datetime) -> float:
    return (now_utc() - since).total_seconds() / 3600


def _note(path: Path, since: datetime, told_at: datetime) -> None:
    write_json(path, {"since": since.isoformat(), "told_at": told_at.isoformat()})


def _path(line: str) -> Path:
    return WAITING / f"{line}.json"
