"""A checkout of its own with a small simulated line, run by the product's own commands."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from tasks.configure import LISTS, UNIONS

ROOT = Path(__file__).resolve().parents[1]
LINE = "small"
SETTINGS: dict[str, Any] = {
    "description": "a small simulated bench for tests",
    "actions": ["screw", "wipe", "label"],
    "holdout": {"recordings": ["rec_04"]},
    "simulate": {"recordings": 5, "seconds": 24.0},
    "match": {"group_counts": [10]},
    "queue": {"crops": 12, "box_frames": 16, "holdout_frames": 12},
    "dataset": {"min_holdout_frames": 8, "detector_frames": 10},
    "train_detector": {"epochs": 2},
    "train_teacher": {"fit": {"epochs": 2}},
    "distil": {"fit": {"epochs": 3}},
    "benchmark": {"frames": 10, "warmup": 2, "recordings": 1},
    "evaluate": {"resamples": 200},
}
TIMED = ("machine", "benchmark")  # stages whose results are clock times


def clone_checkout(folder: Path) -> Path:
    """The tracked files as they are on disk, in a repository of their own."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    changed = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    if changed:
        subprocess.run(["git", "apply", "-"], cwd=folder, check=True, input=changed)
    return folder


def make_checkout(folder: Path, settings: dict = SETTINGS) -> Path:
    """A checkout with the small line as the only one.

    Args:
        folder: is made.
        settings: content of conf/line/small.yaml.
    """
    clone_checkout(folder)
    write_line(folder, settings)
    (folder / "conf/lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", LINE)))
    return folder


def lists_of(kind: str, *lines: str) -> dict[str, list[str]]:
    """What conf/lines.yaml holds where all lines are of one kind, e.g. "simulated_lines"."""
    unions = [union for union, kinds in UNIONS.items() if kind in kinds]
    return {name: list(lines) if name in (kind, *unions) else [] for name in LISTS}


def write_line(checkout: Path, settings: dict) -> None:
    """Writes conf/line/small.yaml."""
    head = "# @package _global_\ndefaults:\n  - override /source: simulation\n"
    (checkout / f"conf/line/{LINE}.yaml").write_text(head + yaml.safe_dump(settings))


def environment() -> dict[str, str]:
    """This process's, with the virtual environment first and without what points to this checkout's servers."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return own | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}", "DVC_NO_ANALYTICS": "1"}


def start(checkout: Path, log: Path, *command: str) -> subprocess.Popen:
    """Starts `python -m <command>` in a process group of its own, its output appended to a file."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=checkout,
            env=environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # a shell starts what runs in its background, such as these tests, with Ctrl+C ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def run(checkout: Path, *command: str) -> subprocess.CompletedProcess:
    """Runs `python -m <command>` to its end; the output is in `stdout`."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=checkout,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def kill_when(process: subprocess.Popen, is_time: Callable[[list[psutil.Process]], bool]) -> bool:
    """Kills a program and all that it started, at once, as soon as `is_time` of its descendants.

    Returns:
        Whether it was killed; False where it ended before.
    """
    root = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            family = root.children(recursive=True)
            if is_time(family):
                for one in [*family, root]:
                    one.send_signal(signal.SIGKILL)
                process.wait()
                return True
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.05)
    return False


def stage_in(family: list[psutil.Process]) -> tuple[str, float] | None:
    """The stage whose program is among the processes, and the seconds since it was started."""
    for one in family:
        try:
            words = one.cmdline()
        except psutil.Error:
            continue
        if "-m" in words and words[words.index("-m") + 1].startswith("tasks."):
            return words[words.index("-m") + 1].removeprefix("tasks."), time.time() - one.create_time()
    return None


def lock_of(checkout: Path) -> dict[str, dict]:
    """dvc.lock's entries of the small line by stage."""
    stages = yaml.safe_load((checkout / "dvc.lock").read_text())["stages"]
    return {name.partition("@")[0]: entry for name, entry in stages.items() if name.endswith(f"@{LINE}")}


def outs_of(checkout: Path) -> dict[str, dict[str, str]]:
    """Stage to its outputs and their hashes, without the stages whose results are clock times."""
    return {
        stage: {out["path"]: out["md5"] for out in entry["outs"]}
        for stage, entry in lock_of(checkout).items()
        if stage not in TIMED
    }
