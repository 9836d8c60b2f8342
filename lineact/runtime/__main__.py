"""The runtime's command: `python -m lineact.runtime --bundle models/demo/export/bundle --source rec_08.mp4`."""

import argparse
import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from lineact.errors import FullDiskError, InputError, LineactError
from lineact.files import is_full_disk, sha256_of_tree
from lineact.runtime.events import Debouncer, Origin
from lineact.runtime.locks import camera_lock, folder_lock
from lineact.runtime.outputs.json_lines import EventFile
from lineact.runtime.recognise import Recogniser, open_bundle
from lineact.runtime.run import EventOutput, ResultOutput, run
from lineact.runtime.settings import RuntimeSettings, read_settings
from lineact.runtime.sources import is_live, open_source

BUNDLE_DIGITS = 12  # of its SHA-256 name it in events

log = logging.getLogger("lineact.runtime")


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lineact.runtime",
        description="Recognises actions in a camera's or a recording's frames and reports them as events.",
        epilog="Ends with 0 at a recording's end or after SIGINT or SIGTERM; else it says why: 2 a setting, 3 a bundle "
        "or a file, 16 camera or folder in use, 69 no picture, 74 a full disk.",
    )
    parser.add_argument("--bundle", required=True, help="the released pair: its folder")
    parser.add_argument("--source", required=True, help="a file, a folder of videos, /dev/video0, or rtsp://...")
    parser.add_argument("--out", type=Path, default=Path("events"), help="folder of events.jsonl; default: %(default)s")
    parser.add_argument("--camera", default="", help="its name in events; default: the source")
    parser.add_argument("--settings", type=Path, help="TOML file; see lineact/runtime/settings.py")
    parser.add_argument("--mode", choices=("latest", "lossless"), help="drop late frames, or none")
    parser.add_argument("--repeat", action="store_true", help="play recordings for ever")
    return parser.parse_args(given)


def _settings(arguments: argparse.Namespace) -> RuntimeSettings:
    settings = read_settings(arguments.settings) if arguments.settings else RuntimeSettings()
    source = settings.source
    if arguments.mode:
        source = dataclasses.replace(source, mode=arguments.mode)
    if arguments.repeat:
        source = dataclasses.replace(source, repeat=True)
    return dataclasses.replace(settings, source=source)


def _watch(arguments: argparse.Namespace) -> None:
    settings = _settings(arguments)
    source = open_source(arguments.source, settings.source)
    folder = Path(arguments.bundle)
    with ExitStack() as stack:
        stack.enter_context(folder_lock(arguments.out))
        if is_live(arguments.source):
            stack.enter_context(camera_lock(arguments.source, source.address))
        bundle = open_bundle(folder, settings.recognise)
        digits = sha256_of_tree(folder)[:BUNDLE_DIGITS]
        origin = Origin(bundle.manifest.line, arguments.camera or source.address, digits)
        log.info("line %s, bundle %s, source %s, mode %s", origin.line, digits, source.address, source.mode)
        events_to: list[EventOutput] = [stack.enter_context(closing(EventFile(arguments.out, settings.event_files)))]
        results_to: list[ResultOutput] = []
        stack.enter_context(source)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: source.stop())
        recogniser = Recogniser(bundle, settings.recognise)
        debouncer = Debouncer(settings.events, origin)
        reported = run(recogniser.recognise(source), debouncer, events_to, results_to, source)
        log.info("%s: the end; %d events in %s", source.address, reported, arguments.out)
        log.info("frames: %s", ", ".join(f"{name} {value}" for name, value in vars(source.counts).items()))


def main(given: Sequence[str] | None = None) -> None:
    """Runs until the source ends or a signal comes; errors are one line and an exit code."""
    arguments = _arguments(given)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        _watch(arguments)
    except LineactError as error:
        _end(str(error), error.exit_code)
    except OSError as error:
        named = Path(error.filename or arguments.out)
        if is_full_disk(error, arguments.out):
            _end(str(FullDiskError(named)), FullDiskError.exit_code)
        if error.errno is None:
            raise
        _end(f"{named}: {os.strerror(error.errno)}; mend that and start again", InputError.exit_code)


def _end(words: str, code: int) -> None:
    print(f"lineact.runtime: {words}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
