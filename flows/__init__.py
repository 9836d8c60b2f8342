"""When: Prefect flows over the DVC stages, MLflow as their projection, and the registry.

Importing this package settles the environment before prefect, dvc or mlflow are imported: nothing phones home, an
offline machine never waits, and all state stays inside the project's folder.
"""

import os
from pathlib import Path

ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_TRACKING_URI": f"sqlite:///{Path('mlflow.db').resolve()}",
    "PREFECT_HOME": str(Path(".lineact/prefect").resolve()),
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # A temporary server takes 13 to 27 s to start on two cores; the default gives up after 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
# Prefect makes its home folder, but not the folder above it, which a fresh clone does not have.
Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
