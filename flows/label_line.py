"""`python -m flows.label_line line=demo`: everything up to the review gate."""

import sys

from flows import command_line

if __name__ == "__main__":
    command_line.run(command_line.begin_flow)

from prefect import flow, get_run_logger
from prefect.states import Completed, State

from flows import tracking
from flows.dvc_stage import StageResult
from flows.first_weights import look_for_weights
from flows.gate import check_decisions, pass_gate
from flows.one_run import only_run_of
from flows.pipeline import has_recordings, labelling_and_training
from flows.stage import run_stages
from flows.waiting import begin_waiting, end_waiting, tell
from lineact.errors import AwaitingReview


@flow(name="label_line", flow_run_name="label {line}")
def label_line(line: str, parent_id: str | None = None) -> "list[StageResult] | State":
    """Labels a line's recordings and ends at the review gate; or imports labels that come with pictures.

    Args:
        line: the line.
        parent_id: MLflow's parent run, where another flow opened it.

    Returns:
        The stages' results; where decisions are missing, a completed state named AwaitingReview.
    """
    with only_run_of(line), tracking.parent_run(line, parent_id) as run_id:
        labelling, _ = labelling_and_training(line)
        results = run_stages(["configure"], line, run_id)
        if not has_recordings(line):
            return results + run_stages(labelling, line, run_id)
        check_decisions(line)
        look_for_weights(line, get_run_logger().info)
        results += run_stages(labelling, line, run_id)
        try:
            pass_gate(line)
        except AwaitingReview as waiting:
            word = begin_waiting(line, str(waiting))
            tell(line, word)
            get_run_logger().warning("%s: %s", word.kind, word.text)
            return Completed(name="AwaitingReview", message=str(waiting))
        if ended := end_waiting(line):
            tell(line, ended)
            get_run_logger().info("%s: %s", ended.kind, ended.text)
        return results


def main() -> None:
    """`line=demo`."""
    state = label_line(command_line.parse(sys.argv[1:], ("line",))["line"], return_state=True)
    command_line.end_with(state)


if __name__ == "__main__":
    command_line.run(main)
