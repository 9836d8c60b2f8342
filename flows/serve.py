"""`make serve`: a Prefect server with its UI, and one scheduled deployment of `retrain` per active line."""

import os
import subprocess
import sys
import time

from flows import command_line
from flows.pipeline import CONF, LINES_FILE
from flows.server import SERVER_FILE, answers
from lineact.errors import ConfigError, InputError
from lineact.files import write_json

START_TIMEOUT_S = 180


def start_server(host: str, port: int) -> "subprocess.Popen[bytes]":
    """Starts the server and waits until it answers.

    Raises:
        InputError: where it ends, or does not answer within START_TIMEOUT_S.
    """
    api_url = f"http://{host}:{port}/api"
    if answers(api_url):
        raise InputError(f"{api_url}: another server answers there; end it, or choose another port (PORT=4201)")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    server = subprocess.Popen(command, stdout=sys.stderr)
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not answers(api_url):
        if server.poll() is not None or time.monotonic() > deadline_s:
            server.terminate()
            raise InputError(f"the Prefect server did not come up at {api_url}; is port {port} in use?")
        time.sleep(0.5)
    os.environ["PREFECT_API_URL"] = api_url
    write_json(SERVER_FILE, {"api_url": api_url, "pid": server.pid})
    return server


def serve_lines() -> None:
    """Serves one deployment per active line until interrupted; one run per line at a time."""
    import prefect
    import yaml
    from prefect.schedules import Cron

    from flows.retrain import retrain
    from tasks.configure import compose_line

    deployments = []
    for line in yaml.safe_load(LINES_FILE.read_text())["active_lines"]:
        schedule = compose_line(CONF, line)["schedule"]
        deployments.append(
            retrain.to_deployment(
                name=line,
                parameters={"line": line},
                schedule=Cron(schedule["cron"], timezone=schedule["timezone"]),
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
    host, port = values.get("host") or "127.0.0.1", values.get("port") or "4200"
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
