"""The review gate: the truth is the decisions file, how much of the queue it answers, and what that certifies."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lineact.dataset import DatasetParams
from lineact.dataset.accepted import Certificate, Labelling, certify, label_the_rest
from lineact.dataset.awaiting import (
    AskedAudits,
    Waiting,
    asked_audits,
    refuse_bad_rows,
    refuse_undecided,
    still_waiting,
)
from lineact.dataset.labels import Found, Resolved, read_found, resolve
from lineact.dataset.today import spent_looks
from lineact.decisions import Decision, Decisions, read_decisions
from lineact.errors import AwaitingReview, ConfigError
from lineact.review.export import journal_path
from lineact.review.journal import pending_in
from lineact.schema import QUEUE, read_table
from lineact.settings import from_mapping
from lineact.splits import Holdout
from tasks.stage import section_of

STAGES = ("ingest", "detect", "embed", "match", "queue")


@dataclass(frozen=True)
class Judged:
    """A line as its decisions leave it now.

    Attributes:
        resolved: names and decisions.
        labelling: of the crops that nobody decided.
    """

    resolved: Resolved
    labelling: Labelling


def decisions_of(line: str) -> Path:
    """The line's decisions file, a versioned input (of simulated lines, an output of `simulate_review`)."""
    return Path("data") / line / "review" / "decisions.csv"


def is_simulated(line: str) -> bool:
    """Whether a stage writes the line's decisions."""
    try:
        section_of(line, "simulate_review")
    except ConfigError:
        return False
    return True


def check_decisions(line: str) -> None:
    """Looks at the decisions that a person has made so far, before anything is computed for them.

    Raises:
        InputError: where the file cannot be read, or what is in it would end the stage `dataset`.
        ConfigError: where the line is unknown.
    """
    path = decisions_of(line)
    queue = Path("data") / line / "queue" / "queue.parquet"
    if path.is_file() and not is_simulated(line):
        params = params_of(line)
        items = set(read_table(queue, QUEUE, ("item_id",))["item_id"].to_pylist()) if queue.is_file() else None
        refuse_bad_rows(read_decisions(path, params.actions), params.max_bad_share, path, items)


def certificate_of(line: str) -> Certificate:
    """How many of the labels that nobody decided are wrong at most, by the line's decisions as they are now.

    Raises:
        InputError: where the queue or the decisions file is missing or cannot be read.
        ConfigError: where the line is unknown.
    """
    params = params_of(line)
    decided = read_decisions(decisions_of(line), params.actions)
    found = found_of(line)
    refuse_bad_rows(decided, params.max_bad_share, decisions_of(line), found.items)
    return _review(found, decided, params).labelling.certificate


class Certifier:
    """Tells a line's certificate, which random crops it asks and what its gate waits for, as often as the page asks.

    What certifies changes no label, so the crops are labelled anew only where something else was decided since.
    """

    def __init__(self, line: str, found: Found, params: DatasetParams) -> None:
        """Takes the line's tables and settings."""
        self._line = line
        self._params = params
        self._found = found
        self._today = found.today(Holdout(params.holdout, found.videos), params.min_iou)
        self._labelled_by: _Answered = ()
        self._reviewed: Judged | None = None
        self._asked: tuple[tuple[Decision, ...], AskedAudits] | None = None

    def stamp(self, decisions: Decisions) -> str:
        """Of looks at random crops after these decisions, see `lineact.looks`."""
        return self._today.stamp(decisions, self._params.accepted_by)

    def certificate(self, decisions: Decisions) -> Certificate:
        """By these decisions, in the file yet or not; replaced ones tell what a look was made under."""
        reviewed, looks = self._review(decisions)
        # the crops may have been labelled when others were looked at
        others = {item: said for item, said in reviewed.resolved.crop_actions.items() if item not in self._certifying}
        spent = spent_looks(decisions, self._today, self.stamp(decisions))
        certifying = self._found.asked.certifying
        return certify(reviewed.labelling.accepted, certifying, others | looks, spent, self._params)

    @property
    def _certifying(self) -> frozenset[str]:
        return self._today.certifying

    def _review(self, decisions: Decisions) -> tuple[Judged, dict[str, str]]:
        """How crops are labelled, and what is said by now of those that certify: that changes no label."""
        answered = self._today.answered(decisions.rows)
        looks = {row.item_id for row in decisions.rows if answered.get(row.item_id) in self._certifying}
        labelled_by = tuple(
            (row, answered.get(row.item_id, "")) for row in _in_order(decisions.rows) if row.item_id not in looks
        )
        if self._reviewed is None or labelled_by != self._labelled_by:
            self._reviewed = _review(self._found, decisions, self._params)
            self._labelled_by = labelled_by
        return self._reviewed, {answered[row.item_id]: row.decided for row in decisions.rows if row.item_id in looks}

    def waiting(self, decisions: Decisions) -> Waiting:
        """What a person still has to decide after these decisions."""
        certificate = self.certificate(decisions)
        reviewed, looks = self._review(decisions)
        answered = reviewed.resolved.answered - self._certifying | looks.keys()
        resolved = replace(reviewed.resolved, answered=answered)
        return still_waiting(self._found, resolved, certificate, self._params)

    def asked_audits(self, decisions: Decisions) -> AskedAudits:
        """Which random crops are still asked after these decisions, as the gate would say it.

        While crops that calibrate are left, and nothing else was decided, it is what was asked before: each of their
        answers moves lambda and names others, and all crops would be labelled anew after each.
        """
        calibrating = set(self._found.asked.calibrating)
        others = _in_order(one for one in decisions.rows if one.item_id not in calibrating)
        if self._asked is not None and self._asked[0] == others:
            before = self._asked[1]
            answered = {one.item_id for one in decisions.rows}
            if any(item in calibrating and item not in answered for item in before.items):
                return replace(before, items=tuple(item for item in before.items if item not in answered))
        asked = asked_audits(self.waiting(decisions), self._params, self._line)
        self._asked = others, asked
        return asked

    def pass_gate(self) -> None:
        """See `pass_gate`, with the tables as they were read."""
        decided = read_decisions(decisions_of(self._line), self._params.actions)
        refuse_bad_rows(decided, self._params.max_bad_share, decisions_of(self._line), self._found.items)
        try:
            refuse_undecided(self.waiting(decided), self._params, self._line)
        except AwaitingReview as awaiting:
            raise AwaitingReview(f"{awaiting}{_pending_in_journal(self._line)}") from None


_Answered = tuple[tuple[Decision, str], ...]  # rows, and which item of today each answers


def _in_order(rows: Iterable[Decision]) -> tuple[Decision, ...]:
    """The same for the same rows: the page and decisions.csv hold them in orders of their own."""
    return tuple(sorted(rows, key=lambda row: row.item_id))


def certifier_of(line: str) -> Certifier:
    """Reads a line's tables and settings.

    Raises:
        InputError: where a table is missing.
        ConfigError: where the line is unknown.
    """
    params = params_of(line)
    return Certifier(line, found_of(line), params)


def pass_gate(line: str) -> None:
    """Lets a line through whose queue is decided far enough; `dataset` judges by the same words.

    Raises:
        AwaitingReview: with how many items wait, and how to go on.
        InputError: where a table or the decisions are missing or cannot be read, or too many rows are unusable.
    """
    certifier_of(line).pass_gate()


def _pending_in_journal(line: str) -> str:
    """That answers of a killed review page wait to be written, in words."""
    path = journal_path(decisions_of(line))
    if not path.is_file():
        return ""
    count = pending_in(path)
    told = f"; {count} answers are in {path} alone: `make review-export LINE={line}` writes them to decisions.csv"
    return told if count else ""


def _review(found: Found, decisions: Decisions, params: DatasetParams) -> Judged:
    holdout = Holdout(params.holdout, found.videos)
    resolved = resolve(found, decisions, holdout, params)
    return Judged(resolved, label_the_rest(found, resolved, holdout, params))


def params_of(line: str) -> DatasetParams:
    """The line's settings of the stage `dataset`.

    Raises:
        ConfigError: where the line is unknown, or a setting is wrong.
    """
    return from_mapping(DatasetParams, section_of(line, "dataset"), f"params.yaml: lines.{line}.dataset")


def found_of(line: str) -> Found:
    """What the stages before the review know of a line.

    Raises:
        InputError: where a table is missing.
    """
    return read_found(**{stage: Path("data") / line / stage for stage in STAGES})
