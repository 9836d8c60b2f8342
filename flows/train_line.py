"""`python -m flows.train_line line=demo`: from labels and decisions to the evaluated, benchmarked pair.

A line without recordings gets what its labels can train.
"""

import sys

from flows import command_line

if __name__ == "__main__":
    command_line.run(command_line.begin_flow)

from prefect import flow

from flows import tracking
from flows.champion import ready_champion
from flows.dvc_stage import StageResult
from flows.one_run import only_run_of
from flows.pin import is_champion, lacks_pinned_bundle, pin_champion
from flows.pipeline import has_recordings, labelling_and_training
from flows.stage import run_stages


@flow(name="train_line", flow_run_name="train {line}")
def train_line(line: str, parent_id: str | None = None) -> list[StageResult]:
    """Trains, exports, benchmarks and evaluates a line's pair.

    That the champion is there is checked before anything is trained. It is pinned just before `evaluate`, unless this
    run's bundle is the champion itself.

    Args:
        line: the line.
        parent_id: MLflow's parent run, where another flow opened it.
    """
    with only_run_of(line), tracking.parent_run(line, parent_id) as run_id:
        _, training = labelling_and_training(line)
        if not has_recordings(line):
            return run_stages(training, line, run_id)
        ready_champion(line, run_id)
        measured = training.index("evaluate")
        results = run_stages(training[:measured], line, run_id)
        # an older pin that is not here would stop `evaluate`, though there is nothing to compare
        if not is_champion(line) or lacks_pinned_bundle(line):
            pin_champion(line, run_id)
        return results + run_stages(training[measured:], line, run_id)


def main() -> None:
    """`line=demo`."""
    state = train_line(command_line.parse(sys.argv[1:], ("line",))["line"], return_state=True)
    command_line.end_with(state)


if __name__ == "__main__":
    command_line.run(main)
