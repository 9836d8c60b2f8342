"""When: Prefect flows over the DVC stages, MLflow as their projection, and the registry.

Importing this package settles the environment before prefect, dvc or mlflow are imported: nothing phones home, an
offline machine never waits, and all state stays inside the project's folder. And an error that a user can mend comes
without prefect's traceback, in the terminal as in a deployment's log.
"""

import logging
import os
from pathlib import Path

from flows.services import environment_of
from lineact.errors import LineactError

ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # bundles of some MB, between a run's last lines
    "MLFLOW_TRACKING_URI": f"sqlite:///{Path('mlflow.db').resolve()}",
    "PREFECT_HOME": str(Path(".lineact/prefect").resolve()),
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # a server that is started again still knows who holds a line's deployment
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # For flows called from Python: the server that prefect then starts itself takes 13 to 27 s on two cores, and the
    # default gives up after 20 s. The commands start theirs by flows/server.py.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}
for _name, _value in (ENVIRONMENT | environment_of()).items():
    os.environ.setdefault(_name, _value)
# Prefect makes its home folder, but not the folder above it, which a fresh clone does not have.
Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)


def _tells_more(record: logging.LogRecord) -> bool:
    """Leaves out tracebacks of what a user can mend: the flow's state, or the command's last line, tells it."""
    return not (record.exc_info and isinstance(record.exc_info[1], LineactError))


def is_no_repetition(record: logging.LogRecord) -> bool:
    """Leaves out states that say once more what stands above, or, in a command's output, in its last line."""
    return not record.getMessage().startswith(("Finished in state Failed(", "Finished in state AwaitingReview("))


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_tells_more)
# A deployment's log has no last line of a command: there the flow's state stays.
logging.getLogger("prefect.task_runs").addFilter(is_no_repetition)
