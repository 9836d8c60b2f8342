"""The standing Prefect server of `make serve`: where it is, and whether it answers."""

import json
import os
import urllib.request
from pathlib import Path
from urllib.error import URLError

SERVER_FILE = Path(".lineact/prefect/server.json")


def use_standing_server() -> None:
    """Points prefect at this project's standing server where one answers; call before prefect is imported.

    Without one, prefect starts a temporary server (13 to 27 s on two cores).
    """
    if "PREFECT_API_URL" in os.environ or not SERVER_FILE.is_file():
        return
    url = json.loads(SERVER_FILE.read_text())["api_url"]
    if answers(url):
        os.environ["PREFECT_API_URL"] = url


def answers(api_url: str) -> bool:
    """Whether a Prefect server is healthy at this address."""
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2) as reply:  # noqa: S310  (a loopback address)
            return reply.status == 200
    except (URLError, OSError):
        return False
