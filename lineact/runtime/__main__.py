"""The runtime's command: `python -m lineact.runtime --bundle models/demo/export/bundle --source rec_08.mp4`."""

import argparse
import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lineact.errors import ConfigError, FullDiskError, InputError, LineactError
from lineact.files import is_full_disk
from lineact.runtime.settings import RuntimeSettings, read_settings
from lineact.runtime.sources import camera_name
from lineact.runtime.station import Station, watch

log = logging.getLogger("lineact.runtime")


def arguments_of(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(
        prog="python -m lineact.runtime",
        description="Recognises actions in a camera's or a recording's frames and reports them as events.",
        epilog="Ends with 0 at a recording's end or after SIGINT or SIGTERM; else it says why: 2 a setting, 3 a bundle "
        "or a file, 16 camera or folder in use, 69 no picture, 74 a full disk.",
    )
    parser.add_argument(
        "--bundle", required=True, help="the released pair: a folder, a published one, or models:/lineact-LINE@champion"
    )
    parser.add_argument(
        "--bundles", type=Path, default=Path("bundles"), help="folder of copies from elsewhere; default: %(default)s"
    )
    parser.add_argument("--source", required=True, help="a file, a folder of videos, /dev/video0, or rtsp://...")
    parser.add_argument("--out", type=Path, default=Path("events"), help="folder of events.jsonl; default: %(default)s")
    parser.add_argument("--camera", default="", help="its name in events; default: the file's, device's or host's")
    parser.add_argument("--settings", type=Path, help="TOML file; see lineact/runtime/settings.py")
    parser.add_argument("--mode", choices=("auto", "latest", "lossless"), help="drop late frames, or none")
    parser.add_argument("--repeat", action="store_true", help="play recordings for ever")
    parser.add_argument("--annotated", type=Path, help="writes a video with boxes and actions, .mkv or .mp4")
    parser.add_argument(
        "--shadow", default="", metavar="BUNDLE", help="a challenger that runs beside it and reports where it differs"
    )
    parser.add_argument("--view", type=int, metavar="PORT", help="live view on this machine")
    parser.add_argument("--metrics", type=int, metavar="PORT", help="figures for Prometheus on this machine")
    parser.add_argument("--mqtt", metavar="HOST", help="broker that gets the events, host or host:port")
    return parser.parse_args(given)


def settings_of(arguments: argparse.Namespace) -> RuntimeSettings:
    """The settings file, and what the command line says otherwise.

    Raises:
        ConfigError: naming the file and the key that is wrong.
    """
    settings = read_settings(arguments.settings) if arguments.settings else RuntimeSettings()
    host, colon, port = (arguments.mqtt or "").partition(":")
    if colon and not (host and port.isdecimal()):
        raise ConfigError(f"--mqtt: expected host or host:port, found {arguments.mqtt!r}")
    said: dict[str, dict[str, object]] = {
        "source": {"mode": arguments.mode, "repeat": arguments.repeat or None},
        "view": {"port": arguments.view},
        "metrics": {"port": arguments.metrics},
        "mqtt": {"host": host or None, "port": int(port) if port else None},
    }
    for section, values in said.items():
        given = {name: value for name, value in values.items() if value is not None}
        changed = dataclasses.replace(getattr(settings, section), **given)
        settings = dataclasses.replace(settings, **{section: changed})
    return settings


def main(given: Sequence[str] | None = None) -> None:
    """Runs until the source ends or a signal comes; errors are one line and an exit code."""
    arguments = arguments_of(given)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        camera = arguments.camera or camera_name(arguments.source)
        station = Station(
            arguments.bundle, arguments.bundles, arguments.source, camera, arguments.out, arguments.annotated,
            arguments.shadow,
        )  # fmt: skip
        watch(station, settings_of(arguments), _stop_on_signals)
    except KeyboardInterrupt:  # before the source began
        _end("interrupted", 128 + signal.SIGINT)
    except LineactError as error:
        _end(str(error), error.exit_code)
    except OSError as error:
        named = Path(error.filename or arguments.out)
        if is_full_disk(error, arguments.out):
            _end(str(FullDiskError(named)), FullDiskError.exit_code)
        if error.errno is None:
            raise
        _end(f"{named}: {os.strerror(error.errno)}; mend that and start again", InputError.exit_code)


def _stop_on_signals(stop: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())


def _end(words: str, code: int) -> None:
    print(f"lineact.runtime: {words}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
