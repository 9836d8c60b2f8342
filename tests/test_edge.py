"""A station installs `lineact[edge]` and nothing else; that is enough to run a bundle."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.embedded_pair import write_bundle, write_clip

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = {"av", "lineact", "numpy", "opencv-python-headless", "openvino", "openvino-telemetry", "pip", "setuptools"}
# Runs the runtime while every module that a station has not is missing.
AS_AT_A_STATION = """
import sys

HERE = {"av", "cv2", "lineact", "numpy", "openvino", *sys.stdlib_module_names}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in HERE:
            raise ModuleNotFoundError(f"a station has no {name}", name=name.partition(".")[0])

sys.meta_path.insert(0, Missing())
from lineact.runtime.__main__ import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A bundle and a recording."""
    folder = tmp_path_factory.mktemp("recorded")
    return write_bundle(folder / "bundle"), write_clip(folder / "clip.mp4")


def run(python, arguments, recorded, out, code=None):
    """The events that the runtime writes; `code` is the folder of the package where it is not installed."""
    bundle, clip = recorded
    command = [python, *arguments, "--bundle", str(bundle), "--source", str(clip), "--out", str(out)]
    environment = {"PATH": os.environ["PATH"]} | ({"PYTHONPATH": str(code)} if code else {})
    done = subprocess.run(command, cwd=out.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    return [{key: event[key] for key in ("action", "start_s", "end_s", "hand", "confidence")} for event in events]


def test_the_runtime_asks_for_nothing_that_a_station_has_not(recorded, tmp_path):
    assert run(sys.executable, ["-c", AS_AT_A_STATION], recorded, tmp_path / "events", ROOT)


@pytest.mark.slow
def test_an_environment_with_the_extra_edge_alone_runs_a_bundle(recorded, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "lineact", source / "lineact", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    environment = tmp_path / "station"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    install = [python, "-I", "-m", "pip", "install", "-q", "--disable-pip-version-check", f"{source}[edge]"]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run([python, "-I", "-m", "pip", "list", "--format", "json"], capture_output=True, text=True)
    assert {package["name"] for package in json.loads(listed.stdout)} <= INSTALLED
    shutil.rmtree(source)
    events = run(python, ["-m", "lineact.runtime"], recorded, tmp_path / "events")
    assert events == run(sys.executable, ["-m", "lineact.runtime"], recorded, tmp_path / "here", ROOT)
