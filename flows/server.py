"""The standing Prefect server of `make serve`: where it is, whether it is this project's, and whether it answers."""

import json
import os
import urllib.request
from pathlib import Path
from urllib.error import URLError

import psutil

from lineact.files import write_json

SERVER_FILE = Path(".lineact/prefect/server.json")
SAME_START_S = 1.0  # the system tells a process's start to a hundredth of a second


def use_standing_server() -> None:
    """Points prefect at this project's standing server where one answers; call before prefect is imported.

    Without one, prefect starts a temporary server (13 to 27 s on two cores).
    """
    if "PREFECT_API_URL" in os.environ:
        return
    found = standing_server()
    if found and answers(found[0]):
        os.environ["PREFECT_API_URL"] = found[0]


def note_server(api_url: str, pid: int) -> None:
    """Writes down which process serves this project."""
    write_json(SERVER_FILE, {"api_url": api_url, "pid": pid, "started_s": psutil.Process(pid).create_time()})


def standing_server() -> tuple[str, int] | None:
    """Address and process of this project's server; None where it ended, however it ended.

    Another server may have taken the address since, or another program the number of the process.
    """
    try:
        noted = json.loads(SERVER_FILE.read_text())
        process = psutil.Process(noted["pid"])
        same = abs(process.create_time() - noted["started_s"]) < SAME_START_S
        alive = same and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return (noted["api_url"], noted["pid"]) if alive else None


def answers(api_url: str) -> bool:
    """Whether a Prefect server is healthy at this address."""
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2) as reply:  # noqa: S310  (a loopback address)
            return reply.status == 200
    except (URLError, OSError):
        return False
