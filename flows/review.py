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
DEFAULT_PORT = "8765"
PERSON = "person"  # a reviewer who gives no name


def _bound_socket(access: Access) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in access.host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((access.host, access.port))
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"host={access.host} port={access.port}: cannot be opened ({error.strerror}); choose another, e.g. "
            "port=8766"
        ) from error
    return bound


def _tell(reviewed: Reviewed, access: Access) -> None:
    state, progress, _ = reviewed.session.overview()
    for bad in state.bad:
        print(f"{reviewed.decisions}: row {bad.row}, column {bad.column!r}: {bad.found}; left out, kept in the file")
    if state.pending:
        print(f"{state.pending} earlier answers are in the journal and not in {reviewed.decisions} yet")
    for text in reviewed.carried.told():
        print(text)
    token = f"?token={access.token}" if access.token and not access.token_file else ""
    entry = f", opened with ?token= and the token in {access.token_file} behind it" if access.token_file else ""
    print(
        f"review of {reviewed.line} ({progress.decided} of {progress.total} decided): {access.url}{token}{entry} "
        f"(Ctrl+C ends it and writes {reviewed.decisions.name})",
        flush=True,
    )


def main() -> None:
    """`line=demo [port=8765] [reviewer=NAME] [host=0.0.0.0] [token_file=FILE]`."""
    values = command_line.parse(sys.argv[1:], ("line",), ("port", "reviewer", "host", "token_file"))
    access = access_of(values.get("host") or HOST, values.get("port") or DEFAULT_PORT, values.get("token_file") or "")
    reviewed = read_reviewed(values["line"], values.get("reviewer") or PERSON)
    bound = _bound_socket(access)
    _tell(reviewed, access)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(review_app(reviewed, access), log_level="warning")).run(sockets=[bound])
    if not reviewed.simulated:
        exported = reviewed.session.export()
        print(f"{reviewed.decisions}: {exported.rows} rows, {exported.added} of them new", flush=True)


if __name__ == "__main__":
    command_line.run(main)
