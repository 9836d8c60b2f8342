"""Inputs and weights that are not there, or not what their name says: one clear error with the way out."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lineact.embed import EmbedParams, open_encoder
from lineact.errors import ConfigError, FullDiskError, InputError
from lineact.foundation.weights import find_file
from lineact.foundation.yolov5 import find_start
from lineact.settings import from_mapping
from lineact.training.start import start_key
from lineact.video import find_videos, video_facts
from tasks.configure import compose_line
from tasks.stage import section_of
from tests.generated_videos import scene, write_sound, write_video

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def without_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


NO_NETWORK = r"it is not cached, and the hub does not answer: no network\?.*name a local folder.*`foundation: tiny`"


def test_embed_tells_of_weights_that_cannot_be_fetched():
    section = compose_line(ROOT / "conf", "demo")["embed"] | {"foundation": "hub"}
    params = from_mapping(EmbedParams, section, "embed")
    with pytest.raises(InputError, match=rf"weights '{params.hub_model}'.*{NO_NETWORK}"):
        open_encoder(params, Path("tiny"))


def test_train_teacher_tells_of_weights_that_cannot_be_fetched():
    name = compose_line(ROOT / "conf", "demo")["train_teacher"]["hub_model"]
    with pytest.raises(InputError, match=rf"weights '{name}'.*{NO_NETWORK}"):
        start_key(name)


@pytest.mark.parametrize("fails", [False, True])
def test_train_detector_tells_of_weights_that_cannot_be_fetched(fails, monkeypatch):
    def fetch(_: Path) -> None:  # ultralytics warns, or raises
        if fails:
            raise ConnectionError("no route to host")

    import lineact.training.yolo  # noqa: F401  sets ultralytics up

    monkeypatch.setattr("ultralytics.utils.downloads.attempt_download_asset", fetch)
    with pytest.raises(InputError, match=r"weights 'yolov5nu\.pt'.*no network, or no such name.*`foundation: tiny`"):
        find_start("yolov5nu.pt")


def test_a_disk_that_is_full_while_weights_are_fetched_is_told_as_such(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    import lineact.training.yolo  # noqa: F401  sets ultralytics up

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    monkeypatch.setattr("ultralytics.utils.downloads.attempt_download_asset", full)
    with pytest.raises(FullDiskError, match=f"^{tmp_path}/cache: No space left on device"):
        find_file("somebody/model", "config.json")
    with pytest.raises(FullDiskError, match=r"yolov5nu\.pt: No space left on device"):
        find_start("yolov5nu.pt")


def cut_video(path: Path) -> None:
    whole = write_video(path, [scene()] * 30)
    path.write_bytes(whole.read_bytes()[:-2000])


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path.write_text("this is no video\n" * 100), r"found: Invalid data .*no video at all\?\)"),
        (cut_video, r"found: .*\(cut short, or no video at all\?\)"),
        (write_sound, r"a video stream, found none \(a sound file\?\)"),
        (lambda path: path.touch(), r"found an empty file \(0 bytes\)"),
    ],
)
def test_a_file_that_is_no_video_is_named_with_the_way_out(make, found, tmp_path):
    make(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=rf"a\.mp4: expected .*{found}; replace or remove"):
        video_facts(tmp_path / "a.mp4")


def test_a_folder_without_videos_is_named_with_the_way_out(tmp_path):
    with pytest.raises(InputError, match=rf"^{tmp_path}: .*\.mp4.*found none; put the recordings there"):
        find_videos(tmp_path)
    with pytest.raises(InputError, match=r"missing: .*found nothing there; name the one with the recordings"):
        find_videos(tmp_path / "missing")


@pytest.mark.parametrize("text", ["lines: [", "", "lines: 3", "lines:", "- demo", "other: {}", None])
def test_unusable_settings_name_the_stage_that_makes_them(text):
    if text is not None:
        Path("params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"^params\.yaml: .*; `dvc repro configure` composes it from conf/$"):
        section_of("demo", "ingest")


def test_a_stage_names_the_known_lines():
    Path("params.yaml").write_text(yaml.safe_dump({"lines": {"demo": {}}}))
    command = [sys.executable, "-m", "tasks.ingest", "--line", "nope", "--raw", "raw", "--out", "out"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "ingest@nope: unknown line 'nope'; active lines are demo (conf/lines.yaml). To add one: make line\n"
    )
