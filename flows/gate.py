"""The review gate: the truth is the decisions file, how much of the queue it answers, and what that certifies."""

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
from lineact.dataset.today import decided_late, today_of
from lineact.decisions import Decision, Decisions, read_decisions
from lineact.errors import AwaitingReview, ConfigError
from lineact.review.export import journal_path
from lineact.review.journal import Journal
from lineact.settings import from_mapping
from lineact.splits import Holdout
from tasks.stage import section_of

STAGES = ("ingest", "detect", "embed", "match", "queue")


@dataclass(frozen=True)
class Judged:
    """A line as its decisions leave it now.

    Attributes:
        found: the tables.
        params: the settings.
        resolved: names and decisions.
        labelling: of the crops that nobody decided.
        waiting: what a person still has to decide.
    """

    found: Found
    params: DatasetParams
    resolved: Resolved
    labelling: Labelling
    waiting: Waiting


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


def certificate_of(line: str) -> Certificate:
    """How many of the labels that nobody decided are wrong at most, by the line's decisions as they are now.

    Raises:
        InputError: where the queue or the decisions file is missing or cannot be read.
        ConfigError: where the line is unknown.
    """
    return _reviewed(line).labelling.certificate


class Certifier:
    """Tells a line's certificate, and which random crops it asks, again and again, as its page needs it.

    What certifies changes no label, so the crops are labelled anew only where something else was decided since.
    """

    def __init__(self, line: str) -> None:
        """Reads the line's tables, once.

        Raises:
            InputError: where one is missing.
            ConfigError: where the line is unknown.
        """
        self._line = line
        self._params = _params_of(line)
        self._found = _found_of(line)
        self._certifying = self._found.asked.certifying
        holdout = Holdout(self._params.holdout, self._found.videos)
        self._today = today_of(
            self._found.queue, self._found.placed_boxes, self._found.frames, holdout, self._params.min_iou
        )
        self._named_by: tuple[Decision, ...] | None = None
        self._asked: tuple[tuple[Decision, ...], AskedAudits] | None = None

    def certificate(self, decisions: Decisions) -> Certificate:
        """By these decisions, in the file yet or not; replaced ones tell what was said when a look was made."""
        certifies = set(self._certifying)
        named_by = tuple(one for one in decisions.rows if one.item_id not in certifies)
        if named_by != self._named_by:
            self._reviewed = _review(self._found, Decisions(named_by, (), ()), self._params)
            self._named_by = named_by
        answers = {one.item_id: one.decided for one in decisions.rows if one.item_id in certifies}
        decided = self._reviewed.resolved.crop_actions | answers
        late = decided_late(decisions, self._certifying, self._today)
        return certify(self._reviewed.labelling.accepted, self._certifying, decided, late, self._params)

    def asked_audits(self, decisions: Decisions) -> AskedAudits:
        """Which random crops are still asked after these decisions, as the gate would say it.

        While crops that calibrate are left, and nothing else was decided, it is what was asked before: each of their
        answers moves lambda, and all crops would be labelled anew after each.
        """
        calibrating = set(self._found.asked.calibrating)
        others = tuple(one for one in decisions.rows if one.item_id not in calibrating)
        answered = {one.item_id for one in decisions.rows}
        if self._asked is not None and self._asked[0] == others:
            before = self._asked[1]
            if any(item in calibrating and item not in answered for item in before.items):
                return replace(before, items=tuple(item for item in before.items if item not in answered))
        certificate = self.certificate(decisions)
        waiting = self._reviewed.waiting
        certifying = tuple(item for item in waiting.certifying if item not in answered)
        asked = asked_audits(replace(waiting, certifying=certifying, certificate=certificate), self._params, self._line)
        self._asked = others, asked
        return asked


def pass_gate(line: str) -> None:
    """Lets a line through whose queue is decided far enough; `dataset` judges by the same words.

    Raises:
        AwaitingReview: with how many items wait, and how to go on.
        InputError: where a table or the decisions are missing or cannot be read, or too many rows are unusable.
    """
    reviewed = _reviewed(line)
    try:
        refuse_undecided(reviewed.waiting, reviewed.params, line)
    except AwaitingReview as awaiting:
        raise AwaitingReview(f"{awaiting}{_pending_in_journal(line)}") from None


def _pending_in_journal(line: str) -> str:
    """That answers of a killed review page wait to be written, in words."""
    path = journal_path(decisions_of(line))
    if not path.is_file():
        return ""
    journal = Journal(path)
    rows, _ = journal.rows_after(journal.written_up_to)
    journal.close()
    told = f"; {len(rows)} answers are in {path} alone: `make review-export LINE={line}` writes them to decisions.csv"
    return told if rows else ""


def _reviewed(line: str) -> Judged:
    params = _params_of(line)
    decided = read_decisions(decisions_of(line), params.actions)
    refuse_bad_rows(decided, params.max_bad_share, decisions_of(line))
    return _review(_found_of(line), decided, params)


def _review(found: Found, decisions: Decisions, params: DatasetParams) -> Judged:
    holdout = Holdout(params.holdout, found.videos)
    resolved = resolve(found, decisions, holdout, params)
    labelling = label_the_rest(found, resolved, holdout, params)
    waiting = still_waiting(found, resolved, labelling.certificate, params)
    return Judged(found, params, resolved, labelling, waiting)


def _params_of(line: str) -> DatasetParams:
    return from_mapping(DatasetParams, section_of(line, "dataset"), f"params.yaml: lines.{line}.dataset")


def _found_of(line: str) -> Found:
    return read_found(**{stage: Path("data") / line / stage for stage in STAGES})
