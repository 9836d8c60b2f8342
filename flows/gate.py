"""The review gate: the truth is the decisions file, how much of the queue it answers, and what that certifies."""

from dataclasses import dataclass
from pathlib import Path

from lineact.dataset import DatasetParams
from lineact.dataset.accepted import Certificate, Labelling, label_the_rest
from lineact.dataset.awaiting import refuse_undecided, still_waiting
from lineact.dataset.labels import Found, Resolved, read_found, resolve
from lineact.decisions import read_decisions
from lineact.settings import from_mapping
from lineact.splits import Holdout
from tasks.stage import section_of

STAGES = ("ingest", "detect", "embed", "match", "queue")


@dataclass(frozen=True)
class Reviewed:
    """A line as its decisions leave it now.

    Attributes:
        found: the tables.
        params: the settings.
        resolved: names and decisions.
        labelling: of the crops that nobody decided.
    """

    found: Found
    params: DatasetParams
    resolved: Resolved
    labelling: Labelling


def decisions_of(line: str) -> Path:
    """The line's decisions file, a versioned input (of simulated lines, an output of `simulate_review`)."""
    return Path("data") / line / "review" / "decisions.csv"


def certificate_of(line: str) -> Certificate:
    """How many of the labels that nobody decided are wrong at most, by the line's decisions as they are now.

    Raises:
        InputError: where the queue or the decisions file is missing or cannot be read.
        ConfigError: where the line is unknown.
    """
    return _reviewed(line).labelling.certificate


def pass_gate(line: str) -> None:
    """Lets a line through whose queue is decided far enough; `dataset` judges by the same words.

    Raises:
        AwaitingReview: with how many items wait, and how to go on.
    """
    reviewed = _reviewed(line)
    certificate = reviewed.labelling.certificate
    waiting = still_waiting(reviewed.found.queue, reviewed.resolved, certificate, reviewed.params)
    refuse_undecided(waiting, reviewed.params, line)


def _reviewed(line: str) -> Reviewed:
    params = from_mapping(DatasetParams, section_of(line, "dataset"), f"params.yaml: lines.{line}.dataset")
    found = read_found(**{stage: Path("data") / line / stage for stage in STAGES})
    decisions = read_decisions(decisions_of(line), params.actions)
    holdout = Holdout(params.holdout, found.videos)
    resolved = resolve(found, decisions, holdout, params)
    return Reviewed(found, params, resolved, label_the_rest(found, resolved, holdout, params))
