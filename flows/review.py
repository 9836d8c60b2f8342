"""The review page: `python -m flows.review line=demo`, then a browser on this machine.

Every answer is in the journal beside data/<line>/review/decisions.csv before the page shows it as given. decisions.csv
itself is written by "finish", by the end of the command, or by `python -m flows.review_export`. On a simulated line it
is a stage's output, so there the page only shows.
"""

import socket
import sys
from contextlib import suppress

import uvicorn

from flows import command_line
from flows.review_access import Access, access_of
from flows.review_app import review_app
from flows.review_line import Reviewed, read_reviewed
from lineact.errors import ConfigError

HOST = "127.0.0.1"  # decisions are open to whoever reaches the page, so nobody else does
DEFAULT_PORT = 8765
PERSON = "person"  # a reviewer who gives no name


def _bound_socket(host: str, port: str) -> socket.socket:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"port={port}: expected a number from 1 to 65535")
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, int(port)))
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"host={host} port={port}: cannot be opened ({error.strerror}); choose another, e.g. port=8766"
        ) from error
    return bound


def _tell(reviewed: Reviewed, access: Access, port: str) -> None:
    state, progress, _ = reviewed.session.overview()
    for bad in state.bad:
        print(f"{reviewed.decisions}: row {bad.row}, column {bad.column!r}: {bad.found}; left out, kept in the file")
    if state.pending:
        print(f"{state.pending} earlier answers are in the journal and not in {reviewed.decisions} yet")
    host = f"[{access.host}]" if ":" in access.host else access.host
    entry = f"?token={access.token}" if access.token else ""
    print(
        f"review of {reviewed.line} ({progress.decided} of {progress.total} decided): http://{host}:{port}/{entry} "
        f"(Ctrl+C ends it and writes {reviewed.decisions.name})",
        flush=True,
    )


def main() -> None:
    """`line=demo [port=8765] [reviewer=NAME] [host=0.0.0.0] [token_file=FILE]`."""
    values = command_line.parse(sys.argv[1:], ("line",), ("port", "reviewer", "host", "token_file"))
    port = values.get("port") or str(DEFAULT_PORT)
    access = access_of(values.get("host") or HOST, values.get("token_file") or "")
    reviewed = read_reviewed(values["line"], values.get("reviewer") or PERSON)
    bound = _bound_socket(access.host, port)
    _tell(reviewed, access, port)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(review_app(reviewed, access), log_level="warning")).run(sockets=[bound])
    if not reviewed.simulated:
        exported = reviewed.session.export()
        print(f"{reviewed.decisions}: {exported.rows} rows, {exported.added} of them new", flush=True)


if __name__ == "__main__":
    command_line.run(main)
