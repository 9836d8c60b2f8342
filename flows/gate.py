"""The review gate: the truth is the decisions file, and how much of the queue it answers."""

from pathlib import Path

from flows.pipeline import artefact_folder
from lineact.dataset import DatasetParams
from lineact.dataset.awaiting import refuse_undecided, still_waiting
from lineact.dataset.labels import read_found, resolve
from lineact.decisions import read_decisions
from lineact.settings import from_mapping
from lineact.splits import Holdout
from tasks.stage import section_of


def decisions_of(line: str) -> Path:
    """The line's decisions file, a versioned input (of simulated lines, an output of `simulate_review`)."""
    return Path("data") / line / "review" / "decisions.csv"


def pass_gate(line: str) -> None:
    """Lets a line through whose queue is decided far enough; `dataset` judges by the same words.

    Raises:
        AwaitingReview: with how many items wait, and how to go on.
    """
    params = from_mapping(DatasetParams, section_of(line, "dataset"), f"params.yaml: lines.{line}.dataset")
    stages = ("ingest", "detect", "embed", "match", "queue")
    found = read_found(**{stage: artefact_folder(stage, line) for stage in stages})
    decisions = read_decisions(decisions_of(line), params.actions)
    resolved = resolve(found, decisions, Holdout(params.holdout, found.videos), params)
    refuse_undecided(still_waiting(found.queue, resolved, params), params, line)
