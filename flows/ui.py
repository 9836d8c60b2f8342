"""`make ui`: MLflow's page on this machine alone, over the database that the flows use."""

import os
import sys

from flows import command_line
from flows.services import refuse_unsafe
from lineact.errors import ConfigError

PORT = "5000"


def ui_command(port: str) -> list[str]:
    """MLflow's command.

    Raises:
        ConfigError: where a server has the runs already, or the port is none.
        InputError: where others can read the files with the services' passwords.
    """
    address = os.environ["MLFLOW_TRACKING_URI"]
    if address.startswith("http"):
        raise ConfigError(f"MLFLOW_TRACKING_URI={address.rpartition('@')[2]}: a server shows these runs; open it there")
    if not port.isdecimal():
        raise ConfigError(f"port={port}: expected a number such as 5001")
    refuse_unsafe()
    # its workers for jobs alone would be eight processes more
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    bound = ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", address, *bound]


def main() -> None:
    """`[port=5000]`."""
    values = command_line.parse(sys.argv[1:], (), ("port",))
    command = ui_command(values.get("port") or PORT)
    os.execv(command[0], command)  # noqa: S606 - signals and the exit code are MLflow's own


if __name__ == "__main__":
    command_line.run(main)
