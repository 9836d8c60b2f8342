"""The runtime on a line's own release: `python -m flows.live line=demo`, by default on its last recording.

The recording is played at its own rate, as a camera would give it, again and again. This only finds the files: what
runs is `python -m lineact.runtime`, as at the station.
"""

import os
import sys
from pathlib import Path

from flows import command_line
from flows.pipeline import refuse_without_recordings
from lineact.errors import InputError
from lineact.schema import is_harvested
from lineact.video import find_videos

EVENTS = Path(".lineact/live")  # below it a folder for each line
VIEW_PORT = "8766"


def runtime_command(line: str, source: str, port: str) -> list[str]:
    """The runtime's arguments.

    Args:
        line: an active line with recordings.
        source: what to look at; "" for the line's last recording by name.
        port: of the live view; "" for `VIEW_PORT`.

    Raises:
        ConfigError: where the line is not active or has no recordings.
        InputError: where nothing is released yet.
    """
    refuse_without_recordings(line)
    bundle = Path("models") / line / "export" / "bundle"
    if not bundle.is_dir():
        raise InputError(f"{bundle}: expected a release, found nothing; run `python -m flows.retrain line={line}`")
    raw = Path("data") / line / "raw"
    looked_at = [source] if source else [str(_last_recording(raw)), "--repeat"]
    named = ["--bundle", str(bundle), "--source", *looked_at, "--camera", line, "--out", str(EVENTS / line)]
    return [sys.executable, "-m", "lineact.runtime", *named, "--mode", "latest", "--view", port or VIEW_PORT]


def _last_recording(raw: Path) -> Path:
    return [path for path in find_videos(raw) if not is_harvested(path.relative_to(raw).as_posix())][-1]


def main() -> None:
    """`line=demo [source=rtsp://...] [port=8766]`."""
    values = command_line.parse(sys.argv[1:], ("line",), ("source", "port"))
    command = runtime_command(values["line"], values.get("source", ""), values.get("port", ""))
    os.execv(command[0], command)  # noqa: S606 - signals and the exit code are the runtime's own


if __name__ == "__main__":
    command_line.run(main)
