"""The Prefect server of a flow's command: the standing one of `make serve`, or a temporary one of its own.

Prefect's own temporary server would stand in the command's process group, where Ctrl+C, `timeout` or systemd end it
before the flow could tell it how it ended, and would outlive a killed command.
"""

import atexit
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

import psutil

from flows.services import refuse_unsafe
from lineact.errors import InputError
from lineact.files import write_json

SERVER_FILE = Path(".lineact/prefect/server.json")
SAME_START_S = 1.0  # the system tells a process's start to a hundredth of a second
START_TIMEOUT_S = 180  # 13 to 27 s on two cores with nothing else to do
END_TIMEOUT_S = 10
# As prefect starts its own: no UI, and none of the services that a single run has no use for.
TEMPORARY = {
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "http://127.0.0.1",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


def use_server() -> None:
    """Points prefect at a server; call before prefect is imported.

    Raises:
        ConfigError: where the settings of the plant's services are wrong.
        InputError: where a temporary server does not come up, or others can read the services' passwords.
    """
    refuse_unsafe()
    if "PREFECT_API_URL" in os.environ or use_standing_server():
        return
    os.environ["PREFECT_API_URL"] = start_temporary_server()
    os.environ["PREFECT_UI_URL"] = ""  # it has none that a run's address could be shown of


def use_standing_server() -> bool:
    """Points prefect at this project's standing server; whether one answers."""
    found = standing_server()
    if found is None or not answers(found[0]):
        return False
    os.environ["PREFECT_API_URL"] = found[0]
    return True


def start_temporary_server() -> str:
    """Starts a server that ends with this process, and waits until it answers.

    Returns:
        its address.

    Raises:
        InputError: where it ends, or does not answer within START_TIMEOUT_S.
    """
    print("starting a temporary Prefect server (`make serve` runs a standing one)", flush=True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        api_url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.temporary_server", str(listening.fileno())],
            stdin=subprocess.PIPE,
            env=os.environ | TEMPORARY,
            pass_fds=[listening.fileno()],
            start_new_session=True,  # out of reach of the signals that a terminal sends to this process's group
        )
    # Registered before prefect's own: what those still send must arrive.
    atexit.register(_end, server)
    wait_for(server, api_url)
    return api_url


def wait_for(server: "subprocess.Popen[bytes]", api_url: str) -> None:
    """Waits until a server that was started answers.

    Raises:
        InputError: where it ends, or does not answer within START_TIMEOUT_S; it is ended then.
    """
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not answers(api_url):
        if server.poll() is not None or time.monotonic() > deadline_s:
            server.terminate()
            raise InputError(f"the Prefect server did not come up at {api_url}; its own words above tell why")
        time.sleep(0.5)


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(timeout=END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


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
