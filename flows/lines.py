"""Adds a line on the user's own videos, or activates one that has a file in conf/line/ already."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows import command_line
from flows.pipeline import CONF, LINES_FILE
from lineact.decisions import write_decisions
from lineact.errors import ConfigError, InputError
from lineact.files import write_text, write_whole
from lineact.video import find_videos

DETECTORS = ("motion", "grounding_dino", "groundingdino_py")
UNNAMED_ACTIONS = ("action_1", "action_2")  # a line must compose at once; the user renames them before the review
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def add_line(name: str, videos: Path, detector: str, actions: list[str]) -> None:
    """Writes conf/line/<name>.yaml, imports the videos under DVC and adds the line to conf/lines.yaml.

    Raises:
        ConfigError: on a name that is taken or malformed, or an unknown detector.
        InputError: where `videos` holds no video, or DVC cannot import them.
    """
    config_file = CONF / "line" / f"{name}.yaml"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"NAME={name}: expected small letters, digits and _, starting with a letter, e.g. press_a")
    if config_file.exists():
        raise ConfigError(f"NAME={name}: {config_file} exists already; `make activate LINE={name}` takes it as it is")
    if detector not in DETECTORS:
        raise ConfigError(f"DETECTOR={detector}: expected one of {', '.join(DETECTORS)}")
    found = find_videos(videos)
    folder = Path("data") / name
    raw = folder / "raw"
    if raw.exists():
        raise InputError(f"{raw}: exists already; move it away or choose another NAME")
    print(f"importing {len(found)} videos into {raw}", flush=True)
    write_whole(raw, lambda temporary: _copy_videos(found, videos, temporary))
    added = subprocess.run([sys.executable, "-m", "dvc", "add", "-q", str(raw)], capture_output=True, text=True)
    if added.returncode:
        raise InputError(f"{raw}: `dvc add` failed: {added.stderr.strip()}")
    write_decisions(folder / "review" / "decisions.csv", [])
    write_text(config_file, _line_file(detector, actions or list(UNNAMED_ACTIONS)))
    activate(name)
    print(f"wrote {config_file}; added {name} to {LINES_FILE}; {raw} is under DVC ({raw}.dvc belongs into git)")
    if not actions:
        print(f"next: rename {' and '.join(UNNAMED_ACTIONS)} in {config_file} to what the worker does")
    print(f"next: python -m flows.retrain line={name}")


def activate(name: str) -> None:
    """Adds a line with a file in conf/line/ to the lists of conf/lines.yaml; a no-op where it is there.

    Raises:
        ConfigError: where it has no file.
    """
    config_file = CONF / "line" / f"{name}.yaml"
    if not config_file.is_file():
        known = ", ".join(sorted(path.stem for path in (CONF / "line").glob("*.yaml")))
        raise ConfigError(f"unknown line {name!r}: expected one of {known} (conf/line/*.yaml)")
    kind = "simulated_lines" if "override /source: simulation" in config_file.read_text() else "video_lines"

    def add(lists: Any) -> None:
        for key in (kind, "active_lines"):
            if name not in lists[key]:
                lists[key].append(name)

    edit_yaml(LINES_FILE, add)


def edit_yaml(path: Path, edit: Callable[[Any], None]) -> None:
    """Changes a YAML file in place, with its comments kept."""
    import io

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 120
    content = yaml.load(path.read_text())
    edit(content)
    text = io.StringIO()
    yaml.dump(content, text)
    write_text(path, text.getvalue())


def _copy_videos(found: list[Path], root: Path, target: Path) -> None:
    base = root if root.is_dir() else root.parent
    for path in found:
        copy = target / path.relative_to(base)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _line_file(detector: str, actions: list[str]) -> str:
    return f"""# @package _global_
# Only what differs from conf/config.yaml.
defaults:
  - override /source: videos
  - override /detector: {detector}

description: real recordings of one station
actions: [{", ".join(actions)}]   # names of the line's actions; NG (irrelevant) is added as the last class
holdout:
  last_share: 0.333   # the last part of each recording measures the line and never trains it
"""


def main() -> None:
    """`name=press_a videos=DIR [detector=motion] [actions=remove,place]`, or `activate=gi_d`."""
    if any(argument.startswith("activate=") for argument in sys.argv[1:]):
        values = command_line.parse(sys.argv[1:], ("activate",))
        activate(values["activate"])
        return
    values = command_line.parse(sys.argv[1:], ("name", "videos"), ("detector", "actions"))
    actions = [action for action in re.split(r"[,\s]+", values.get("actions", "")) if action]
    add_line(values["name"], Path(values["videos"]), values.get("detector") or "motion", actions)


if __name__ == "__main__":
    command_line.run(main)
