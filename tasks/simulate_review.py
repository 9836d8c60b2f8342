"""Stage `simulate_review`: a simulated reviewer answers the queue from ground truth, with stated error rates."""

from pathlib import Path

from lineact.dataset.labels import read_found
from lineact.decisions import write_decisions
from lineact.files import write_metrics
from lineact.reviewer import answer_queue
from lineact.schema import TRUTH_BOXES, read_table
from lineact.simulate_review import SimulatedTruth, SimulateReviewParams, asked_until_certified, review_metrics
from lineact.splits import Holdout
from tasks.stage import run_stage


def simulate_review(
    params: SimulateReviewParams,
    *,
    simulate: Path,
    ingest: Path,
    detect: Path,
    embed: Path,
    match: Path,
    queue: Path,
    decisions: Path,
    out: Path,
) -> None:
    """Writes decisions.csv, and how long the review took; no more random crops are answered than certify the labels."""
    found = read_found(ingest=ingest, detect=detect, embed=embed, match=match, queue=queue)
    truth = SimulatedTruth(read_table(simulate / "truth_boxes.parquet", TRUTH_BOXES), params.min_iou)
    everything = answer_queue(found.queue, found.boxes, truth, params.reviewer)
    asked = asked_until_certified(found, everything, Holdout(params.dataset.holdout, found.videos), params.dataset)
    answers = answer_queue(asked, found.boxes, truth, params.reviewer)
    write_decisions(decisions, answers.decisions)
    metrics = review_metrics(params, answers)
    write_metrics(out, metrics)
    print(
        f"simulate_review: {len(answers.decisions)} decisions by a simulated reviewer with error rate "
        f"{params.error_rate:g} (audits {params.audit_error_rate:g}), {metrics['minutes']:.1f} minutes",
        flush=True,
    )


if __name__ == "__main__":
    run_stage(simulate_review, SimulateReviewParams)
