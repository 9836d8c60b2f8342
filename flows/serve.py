"""`make serve`: a Prefect server with its UI, one scheduled deployment of `retrain` per active line, and reminders."""

import ipaddress
import os
import subprocess
import sys

from flows import command_line
from flows.pipeline import CONF
from flows.server import SERVER_FILE, answers, note_server, standing_server, wait_for
from flows.services import refuse_unsafe
from lineact.errors import ConfigError, InputError

REMIND_CRON = "0 * * * *"  # so often it is asked whether a reminder is due; no stage runs for it


def start_server(host: str, port: int) -> "subprocess.Popen[bytes]":
    """Starts the server and waits until it answers.

    Raises:
        ConfigError: where the settings of the plant's services are wrong.
        InputError: where it ends, does not answer in time, or others can read the services' passwords.
    """
    refuse_unsafe()
    api_url = f"http://{host}:{port}/api"
    refuse_second_server(api_url)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    server = subprocess.Popen(command, stdout=sys.stderr)
    wait_for(server, api_url)
    os.environ["PREFECT_API_URL"] = api_url
    note_server(api_url, server.pid)
    return server


def refuse_second_server(api_url: str) -> None:
    """Lets pass where nothing serves this project or answers at the address.

    Raises:
        InputError: where something does, with the way out.
    """
    standing = standing_server()
    if standing:  # also what a killed `make serve` leaves
        raise InputError(f"{standing[0]}: this project's server runs there already; end it first: kill {standing[1]}")
    if answers(api_url):
        raise InputError(f"{api_url}: another server answers there; end it, or choose another port (PORT=4201)")


def loopback_host(host: str) -> str:
    """The host, where only this machine reaches it: whoever reaches a Prefect server can start runs, unasked.

    Raises:
        ConfigError: where others would reach it.
    """
    if host == "localhost":
        return host
    try:
        is_own = ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        is_own = False
    if not is_own:
        raise ConfigError(
            f"host={host}: expected 127.0.0.1 or localhost: the server asks nobody who they are; "
            "from another machine reach it through a tunnel, e.g. `ssh -L 4200:127.0.0.1:4200 HOST`"
        )
    return host


def serve_lines() -> None:
    """Serves one deployment per active line until interrupted, one run per line at a time, and one that reminds.

    A line without recordings has no schedule: its pictures change by hand alone.
    """
    import prefect
    from prefect.schedules import Cron

    from flows.remind import remind
    from flows.retrain import retrain
    from tasks.configure import active_lines, compose_line

    deployments = [remind.to_deployment(name="reviews", schedule=Cron(REMIND_CRON, timezone="UTC"))]
    for line in active_lines(CONF):
        schedule = compose_line(CONF, line).get("schedule")
        deployments.append(
            retrain.to_deployment(
                name=line,
                parameters={"line": line},
                schedule=Cron(schedule["cron"], timezone=schedule["timezone"]) if schedule else None,
                concurrency_limit=1,
                tags=[f"line:{line}"],
            )
        )
    # pause_on_shutdown=False: otherwise every schedule stays paused after the first stop
    prefect.serve(
        *deployments,  # type: ignore[arg-type]
        pause_on_shutdown=False,
    )


def main() -> None:
    """`[host=127.0.0.1] [port=4200]`."""
    values = command_line.parse(sys.argv[1:], (), ("host", "port"))
    host, port = loopback_host(values.get("host") or "127.0.0.1"), values.get("port") or "4200"
    if not port.isdecimal():
        raise ConfigError(f"port={port}: expected a number such as 4201")
    server = start_server(host, int(port))
    print(f"Prefect's UI: http://{host}:{port}", flush=True)
    try:
        serve_lines()
    finally:
        server.terminate()
        server.wait()
        SERVER_FILE.unlink(missing_ok=True)


if __name__ == "__main__":
    command_line.run(main)
