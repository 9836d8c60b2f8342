"""`python -m lineact.runtime.rollback --out events`: the bundle that ran before comes back.

A station that runs switches between two frames; one that does not begins with it. The bundle that was taken back is
not taken again before the address, e.g. the alias `champion`, led to another one.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lineact.errors import InputError, LineactError
from lineact.runtime.errors import BusyError
from lineact.runtime.locks import folder_lock
from lineact.runtime.releases import (
    STATE,
    Releases,
    ask_for_rollback,
    read_releases,
    rollback_asked,
    rollback_done,
    write_releases,
)

ASK_EVERY_S = 0.2


def roll_back(out: Path, wait_s: float) -> str:
    """Takes the running bundle back.

    Args:
        out: the station's folder of events.
        wait_s: so long a running station may take.

    Returns:
        What came of it, in a line.

    Raises:
        InputError: where no bundle ran before, its copy is gone or damaged, or the station did not switch.
    """
    releases = _with_previous(out)
    assert releases.running is not None and releases.previous is not None  # noqa: PT018 - see `_with_previous`
    releases.previous.check()
    try:
        with folder_lock(out):
            write_releases(out, releases.rolled_back())
            rollback_done(out)
            return f"bundle {releases.previous.name} runs from the next start on; {releases.running.name} is refused"
    except BusyError:  # the station runs
        ask_for_rollback(out, releases.running)
    deadline_s = time.monotonic() + wait_s
    while rollback_asked(out) is not None:
        if time.monotonic() > deadline_s:
            raise InputError(f"{out}: the station did not switch within {wait_s:g} s; it still will; see its log")
        time.sleep(ASK_EVERY_S)
    now = read_releases(out)
    if now is None or now.running is None or now.running.name != releases.previous.name:
        raise InputError(
            f"{out}: expected the bundle {releases.previous.name} to run, found another; see the station's log"
        )
    return f"bundle {now.running.name} runs; {releases.running.name} is refused"


def _with_previous(out: Path) -> Releases:
    releases = read_releases(out)
    if releases is None:
        raise InputError(f"{out / STATE}: expected a station's bundles, found nothing; name its --out")
    if releases.running is None or releases.previous is None:
        raise InputError(
            f"{out / STATE}: expected a bundle that ran before, found none: there is nothing to go back to"
        )
    return releases


def main(given: Sequence[str] | None = None) -> None:
    """Rolls back; errors are one line and an exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lineact.runtime.rollback", description="Brings back the bundle that a station ran before."
    )
    parser.add_argument("--out", type=Path, default=Path("events"), help="the station's folder; default: %(default)s")
    parser.add_argument("--wait", type=float, default=60.0, metavar="S", help="for the station; default: %(default)s")
    arguments = parser.parse_args(given)
    try:
        print(roll_back(arguments.out, arguments.wait))
    except LineactError as error:
        print(f"lineact.runtime.rollback: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
