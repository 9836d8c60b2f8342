"""The one door of all stages: `python -m tasks.<stage> --line demo --raw data/demo/raw --out data/demo/ingest`.

Paths come from the command line alone (dvc.yaml is the only place that knows them), settings from the stage's own
section of params.yaml, which is what DVC tracks.
"""

import argparse
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lineact.errors import ConfigError, FullDiskError, InputError, LineactError
from lineact.files import is_full_disk
from lineact.settings import from_mapping

PARAMS_FILE = Path("params.yaml")


def run_stage(body: Callable[..., None], params_class: type) -> None:
    """Runs a stage's body as a program.

    Args:
        body: `def ingest(params: IngestParams, *, raw: Path, out: Path)`: its name is the stage's, its keyword
            arguments are the command line's options; one named `line` gets the line's name.
        params_class: the stage's frozen settings.
    """
    stage = body.__name__
    parameters = inspect.signature(body).parameters
    options = [name for name in parameters if name not in ("params", "line")]
    parser = argparse.ArgumentParser(prog=f"python -m tasks.{stage}", description=inspect.getdoc(body))
    parser.add_argument("--line", required=True, help="name of the line: a file of conf/line/")
    for name in options:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True)
    arguments = vars(parser.parse_args())
    line = arguments.pop("line")
    if "line" in parameters:
        arguments["line"] = line
    try:
        params: object = from_mapping(params_class, section_of(line, stage), f"{PARAMS_FILE}: lines.{line}.{stage}")
        prepare_hub(section_of(line, "hub_cache"))
        body(params, **arguments)
    except LineactError as error:
        print(f"{stage}@{line}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        named = Path(error.filename2 or error.filename or arguments.get("out") or ".")
        if is_full_disk(error, named):
            full = FullDiskError(named)
            print(f"{stage}@{line}: {full}", file=sys.stderr)
            sys.exit(full.exit_code)
        if error.errno is None:
            raise
        reason = f"{os.strerror(error.errno)}; mend that and run the same command again: finished work is kept"
        print(f"{stage}@{line}: {named}: {reason}", file=sys.stderr)
        sys.exit(InputError.exit_code)


def prepare_hub(cache: str) -> None:
    """Tells huggingface_hub, which reads this at its import, where to keep weights and how often to report."""
    os.environ.setdefault("HF_HUB_CACHE", str(Path(cache).expanduser().resolve()))
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "10")  # a bar is drawn anew, in a log a line is added
        os.environ.setdefault("TQDM_POSITION", "-1")  # huggingface_hub's word for: tell it to a log, too


def section_of(line: str, stage: str) -> Any:
    """The section `lines.<line>.<stage>` of params.yaml.

    Raises:
        ConfigError: where the line or the stage is not there.
    """
    compose = "`dvc repro configure` composes it from conf/"
    try:
        lines = yaml.safe_load(PARAMS_FILE.read_text())["lines"]
    except FileNotFoundError as error:
        raise ConfigError(f"{PARAMS_FILE}: not found; {compose}") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{PARAMS_FILE}: expected the settings of all lines, found something else; {compose}"
        ) from error
    if not isinstance(lines, dict):
        raise ConfigError(f"{PARAMS_FILE}: expected settings by line, found {lines!r}; {compose}")
    if line not in lines:
        known = ", ".join(sorted(lines))
        raise ConfigError(f"unknown line {line!r}; active lines are {known} (conf/lines.yaml). To add one: make line")
    if stage not in lines[line]:
        raise ConfigError(f"{PARAMS_FILE}: lines.{line} has no section {stage!r}; run `dvc repro configure`")
    return lines[line][stage]
