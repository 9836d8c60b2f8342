"""Stage `simulate_review`: a simulated reviewer answers the queue from ground truth, with a stated error rate."""

from pathlib import Path

from lineact.decisions import write_decisions
from lineact.files import write_metrics
from lineact.reviewer import answer_queue
from lineact.schema import BOXES, QUEUE, TRUTH_BOXES, read_table
from lineact.simulate_review import SimulatedTruth, SimulateReviewParams, review_metrics
from tasks.stage import run_stage


def simulate_review(
    params: SimulateReviewParams,
    *,
    simulate: Path,
    detect: Path,
    queue: Path,
    decisions: Path,
    out: Path,
) -> None:
    """Writes decisions.csv, and how long the review took."""
    boxes = read_table(detect / "boxes.parquet", BOXES)
    truth = SimulatedTruth(read_table(simulate / "truth_boxes.parquet", TRUTH_BOXES), params.min_iou)
    answers = answer_queue(read_table(queue / "queue.parquet", QUEUE), boxes, truth, params.reviewer)
    write_decisions(decisions, answers.decisions)
    metrics = review_metrics(params, answers)
    write_metrics(out, metrics)
    print(
        f"simulate_review: {len(answers.decisions)} decisions by a simulated reviewer with error rate "
        f"{params.error_rate:g}, {metrics['minutes']:.1f} minutes",
        flush=True,
    )


if __name__ == "__main__":
    run_stage(simulate_review, SimulateReviewParams)
