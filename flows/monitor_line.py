"""The flow `monitor` of `make serve`: holds what a line's station saw since the last look against the reference.

It is what `make monitor LINE=press_a` does, in the checkout; a training that it asks for is the line's scheduled one.
"""

from prefect import flow
from prefect.states import Completed, State

from flows.after_review import start_deployment
from flows.look import ALARM, AS_BEFORE, Look
from flows.monitor import NOT_LOOKED, policy_of, watch
from flows.pipeline import refuse_without_recordings
from lineact.errors import AwaitingReview

STATES = {ALARM: "Alarm", AS_BEFORE: "AsBefore", NOT_LOOKED: "NotLooked"}


@flow(name="monitor", flow_run_name="look at {line}", log_prints=True)
def monitor(line: str) -> State:
    """Looks at what came to the folder `drift.videos` of a line.

    Args:
        line: name of an active line with recordings.

    Returns:
        A completed state: AsBefore, Alarm, AwaitingReview where an alarm opened a review, or NotLooked where there is
        no release, no reference or too little video.
    """
    refuse_without_recordings(line)
    try:
        came_to, words = watch(line, policy_of(line, {}), start_training)
    except AwaitingReview as waiting:
        return Completed(name="AwaitingReview", message=str(waiting))
    return Completed(name=STATES[came_to], message=words)


def start_training(line: str, found: Look) -> None:
    """Starts the line's own deployment, which works in a worktree and not in the checkout."""
    print(start_deployment(line, f"after drift of {line}", f"drift {found.run_id}", "after this look"))
