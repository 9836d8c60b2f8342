"""`python -m flows.temporary_server FD`: a Prefect server for one flow's command, on a socket that the command opened.

Standard input is a pipe that the command holds open, so that the server ends with it, however it ends.
"""

import os
import socket
import sys
from threading import Thread

import uvicorn


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """The file descriptor of a listening socket."""
    # First of all: importing prefect alone takes seconds, in which the command may be killed.
    Thread(target=_end_with_parent, daemon=True).start()
    listening = socket.socket(fileno=int(sys.argv[1]))
    app = "prefect.server.api.server:create_app"
    uvicorn.Server(uvicorn.Config(app, factory=True, log_level="error", lifespan="on")).run(sockets=[listening])


if __name__ == "__main__":
    main()
