"""`make serve`: a Prefect server with its UI, a worker, and the deployments of `flows.deployments`.

Server and worker are started again where they end; runs that a kill ended go on, see `flows.keeper`.
"""

import ipaddress
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from flows import command_line
from flows.deployments import POOL, deploy, schedules
from flows.keeper import Keeper
from flows.parents_end import end_with_parent
from flows.server import SERVER_FILE, answers, note_server, standing_server, wait_for
from flows.services import refuse_unsafe
from lineact.errors import ConfigError, InputError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LOOK_EVERY_S = 10.0
END_S = 60.0  # a worker ends its runs first


def start_server(host: str, port: int) -> "subprocess.Popen[bytes]":
    """Starts the server and waits until it answers.

    Raises:
        ConfigError: where the settings of the plant's services are wrong.
        InputError: where it ends, does not answer in time, or others can read the services' passwords.
    """
    refuse_unsafe()
    api_url = f"http://{host}:{port}/api"
    refuse_second_server(api_url)
    # Prefect's own default lets every page in this machine's browsers start runs
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = f"http://127.0.0.1:{port},http://localhost:{port}"
    server = start_prefect("server", "start", "--host", host, "--port", str(port))
    wait_for(server, api_url)
    os.environ["PREFECT_API_URL"] = api_url
    note_server(api_url, server.pid)
    return server


def start_worker() -> "subprocess.Popen[bytes]":
    """Starts the worker of the pool of lines that name no other."""
    return start_prefect("worker", "start", "--pool", POOL, "--type", "process", "--install-policy", "never")


def start_prefect(*arguments: str) -> "subprocess.Popen[bytes]":
    """Starts a command of Prefect that ends with this process, even with kill -9.

    It is in a session of its own: Ctrl+C reaches this process alone, which ends the worker before the server.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "prefect", *arguments],
        stdout=sys.stderr,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


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


def make_database() -> None:
    """Makes MLflow's own database before two lines' runs would do it at once; a server has made its own."""
    from flows.tracking import client

    if os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:"):
        client().search_experiments(max_results=1)


def serve_lines(host: str, port: int) -> None:
    """Serves each active line's training and looks for drift, and what reminds of reviews, until interrupted.

    A line without recordings has no schedule: its pictures change by hand alone.

    Raises:
        ConfigError: where conf/ does not compose.
        InputError: where the server does not come up.
    """
    sections = schedules()  # before a server is waited for
    children = {"server": start_server(host, port)}
    try:
        make_database()
        keeper = Keeper()
        with _client() as client:
            pools = deploy(client, sections)
        print(f"Prefect's UI: http://{host}:{port}", flush=True)
        for pool in sorted(pools - {POOL}):
            print(f"work pool {pool}: `prefect worker start --pool {pool}` in this checkout runs its lines", flush=True)
        look(keeper)  # before the worker asks what is due
        children["worker"] = start_worker()
        while True:
            time.sleep(LOOK_EVERY_S)
            if children["server"].poll() is not None:
                print("the server ended; it is started again", file=sys.stderr, flush=True)
                try:
                    children["server"] = start_server(host, port)
                except InputError as error:  # its database may be away
                    print(f"{error}; tried again", file=sys.stderr, flush=True)
                    continue
            if children["worker"].poll() is not None:
                print("the worker ended; it is started again", file=sys.stderr, flush=True)
                children["worker"] = start_worker()
            look(keeper)
    finally:
        for name in ("worker", "server"):
            if name in children:
                end(children[name])
        SERVER_FILE.unlink(missing_ok=True)


def look(keeper: Keeper) -> None:
    """Has the keeper look once; a server that is away or busy is asked again at the next look."""
    from httpx import HTTPError
    from prefect.exceptions import PrefectException

    try:
        with _client() as client:
            keeper.look(client)
    except (HTTPError, PrefectException, RuntimeError) as error:
        print(f"the Prefect server could not be asked about its runs: {error!r}", file=sys.stderr, flush=True)


def end(child: "subprocess.Popen[bytes]") -> None:
    """Ends a child and waits for it."""
    child.terminate()
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _client() -> "SyncPrefectClient":
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: os.environ["PREFECT_API_URL"]}):
        return get_client(sync_client=True)


def main() -> None:
    """`[host=127.0.0.1] [port=4200]`."""
    values = command_line.parse(sys.argv[1:], (), ("host", "port"))
    host, port = loopback_host(values.get("host") or "127.0.0.1"), values.get("port") or "4200"
    if not port.isdecimal():
        raise ConfigError(f"port={port}: expected a number such as 4201")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        serve_lines(host, int(port))
    except KeyboardInterrupt:
        print("ended: runs that were going on go on with the next `make serve`", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    command_line.run(main)
