"""`python -m lineact.runtime` as a station starts it, and everything that can go wrong there."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineact.bundle.manifest import EventSettings
from lineact.errors import ConfigError, FullDiskError
from lineact.runtime.__main__ import arguments_of, settings_of
from lineact.runtime.events import Debouncer
from lineact.runtime.outputs.json_lines import CURRENT
from lineact.runtime.run import run
from lineact.runtime.settings import RuntimeSettings, SourceSettings
from lineact.runtime.sources import open_source
from lineact.runtime.work.sense import WorkSense
from lineact.video import read_frames
from tests.generated_videos import write_video
from tests.published_bundles import Published, variant
from tests.released_pair import smooth_noise
from tests.station import ORIGIN, camera_of_bytes, frame_at, hand, result_at
from tests.station_services import wait_for

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
ALWAYS = "[events]\nmin_duration_s = 0.0\nmax_gap_s = 0.05\n"  # random weights seldom say the same for long


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Noise, on which the tiny pair with random weights finds hands."""
    rng = np.random.default_rng(3)
    coarse = [smooth_noise(rng, (64, 96)) for _ in range(6)]
    pictures = [cv2.resize(coarse[index // 5], (192, 128)) for index in range(30)]
    return write_video(tmp_path_factory.mktemp("recording") / "rec.mp4", pictures)


@pytest.fixture
def command(released, recording, tmp_path):
    """The command's arguments, for what a test adds or changes."""
    (tmp_path / "settings.toml").write_text(ALWAYS)

    def made(*more: str, source: str = str(recording), out: str = str(tmp_path / "events")) -> list[str]:
        bundle = str(released / "export/bundle")
        settings = str(tmp_path / "settings.toml")
        base = [sys.executable, "-m", "lineact.runtime", "--bundle", bundle, "--source", source, "--out", out]
        return [*base, "--settings", settings, *more]

    return made


def no_work() -> WorkSense:
    """Of a line without a standard."""
    return WorkSense(None, ORIGIN)


def done(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=400)


def events_in(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / CURRENT).read_text().splitlines()]


def test_a_recording_becomes_events_and_an_annotated_video(command, tmp_path):
    ended = done(command("--camera", "top", "--annotated", str(tmp_path / "seen.mkv")))
    assert ended.returncode == 0, ended.stderr
    events = events_in(tmp_path / "events")
    assert events
    assert {(event["line"], event["camera"]) for event in events} == {("press_a", "top")}
    assert all(0 <= event["start_s"] < event["end_s"] <= 3.0001 for event in events)
    assert f"the end; {len(events)} events in" in ended.stderr
    assert (tmp_path / "seen.mkv").is_file()
    again = done(command())  # the same once more is added, by the recording's name
    assert again.returncode == 0
    added = events_in(tmp_path / "events")[len(events) :]
    facts = ("action", "start_s", "end_s", "confidence", "hand", "start_utc", "bundle")
    assert [[event[fact] for fact in facts] for event in added] == [[event[fact] for fact in facts] for event in events]
    assert {event["camera"] for event in added} == {"rec"}


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--bundle", "nowhere"), 3, "nowhere/manifest.json: expected a bundle's manifest, found nothing"),
        (("--source", "nowhere.mp4"), 3, "nowhere.mp4: expected a folder of videos, found nothing there"),
        (("--settings", "nowhere.toml"), 2, "nowhere.toml: expected the runtime's settings (TOML), found nothing"),
        (("--annotated", "a.gif"), 2, "a.gif: expected a file ending in .mkv or .mp4"),
        (("--mqtt", "broker:no"), 2, "--mqtt: expected host or host:port, found 'broker:no'"),
    ],
)
def test_what_is_wrong_at_the_start_is_one_line_and_a_code(command, more, code, words):
    ended = done(command(*more))
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"lineact.runtime: {words}")
    assert "Traceback" not in ended.stderr


def test_a_camera_that_nobody_plugs_in_ends_with_its_own_code(command, tmp_path):
    (tmp_path / "settings.toml").write_text("[source]\nretry_first_s = 0.1\ngive_up_s = 0.3\n")
    ended = done(command(source="/dev/video250"))
    assert ended.returncode == 69, ended.stderr
    assert "lineact.runtime: /dev/video250: expected a picture, found none for" in ended.stderr


def test_a_camera_that_is_unplugged_costs_no_event(command, recording, tmp_path):
    (tmp_path / "settings.toml").write_text(
        ALWAYS + "[source]\nmode = 'lossless'\nretry_first_s = 0.1\ngive_up_s = 0.3\n"
    )
    video = tmp_path / "rec.ts"
    images = [frame.rgb() for frame in open_source(str(recording), SourceSettings())]
    write_video(video, images)
    whole = done(command(source=str(video), out=str(tmp_path / "whole")))
    assert whole.returncode == 0, whole.stderr
    with camera_of_bytes([video.read_bytes()]) as address:
        cut = done(command(source=address))
    assert cut.returncode == 69, cut.stderr
    facts = ("action", "hand", "confidence")
    expected = [[event[fact] for fact in facts] for event in events_in(tmp_path / "whole")]
    assert [[event[fact] for fact in facts] for event in events_in(tmp_path / "events")] == expected


def test_a_picture_that_changes_its_size_is_told_and_goes_on(command, tmp_path):
    rng = np.random.default_rng(5)
    both = tmp_path / "both.ts"
    for size_wh in ((192, 128), (320, 192)):
        picture = cv2.resize(smooth_noise(rng, (64, 96)), size_wh)
        both_before = both.read_bytes() if both.exists() else b""
        part = write_video(tmp_path / "part.ts", [picture] * 10)
        both.write_bytes(both_before + part.read_bytes())
    ended = done(command("--annotated", str(tmp_path / "seen.mkv"), source=str(both)))
    assert ended.returncode == 0, ended.stderr
    assert "the picture's size changed from (192, 128) to (320, 192) px" in ended.stderr
    assert "handed_on 20, dropped 0, broken 0, size_changes 1" in ended.stderr


def test_what_an_unfinished_annotated_video_left_can_be_played(command, tmp_path):
    running = subprocess.Popen(
        command("--repeat", "--mode", "lossless", "--annotated", str(tmp_path / "seen.mp4")),
        cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    part = tmp_path / "part.seen.mp4"
    while not (part.is_file() and part.stat().st_size > 20_000):
        assert running.poll() is None
        time.sleep(0.1)
    running.kill()
    running.wait()
    assert len(list(read_frames(part))) > 10
    assert not (tmp_path / "seen.mp4").exists()


def test_the_runtime_imports_nothing_that_trains_and_no_output_that_is_not_asked_for():
    script = "import sys, lineact.runtime.__main__\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    training = {"torch", "prefect", "dvc", "hydra", "mlflow", "ultralytics", "pyarrow", "pandas", "scipy", "sklearn"}
    outputs = {"paho", "prometheus_client", "sqlite3"}
    assert set(told.stdout.split()) & (training | outputs) == set()
    assert "numpy" in told.stdout.split()


def test_two_processes_do_not_share_a_folder(command):
    first = subprocess.Popen(
        command("--repeat", "--mode", "latest"), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    assert first.stderr is not None
    assert "mode latest" in first.stderr.readline()
    second = done(command())
    assert second.returncode == 16
    assert f"another process writes events there (process {first.pid})" in second.stderr
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=180)
    assert first.returncode == 0
    assert done(command()).returncode == 0  # the lock went with its process


def test_two_processes_do_not_share_a_camera(command, recording, tmp_path):
    with camera_of_bytes([recording.read_bytes()], hold_s=60) as address:
        first = subprocess.Popen(
            command(source=address), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        assert first.stderr is not None
        assert "mode latest" in first.stderr.readline()
        second = done(command(source=address, out=str(tmp_path / "others")))
        first.kill()
        first.communicate()
    assert second.returncode == 16
    assert f"another process has this camera (process {first.pid})" in second.stderr


WORK = """
[work]
idle_s = 0.5
[[work.steps]]
action = "screw"
max_s = 0.2
"""


def test_a_station_with_a_standard_reports_on_the_work_and_the_shift_report_reads_it(command, recording, tmp_path):
    (tmp_path / "settings.toml").write_text(ALWAYS + WORK + "[kept_video]\nhours = 0.1\n")
    ended = done(command())
    assert ended.returncode == 0, ended.stderr
    kinds = {event["kind"] for event in events_in(tmp_path / "events")}
    assert "action" in kinds
    assert kinds - {"action"}
    assert len(list((tmp_path / "events" / "video").glob("*.mkv"))) == 1
    page = str(tmp_path / "shift.html")
    asked = ["--events", str(tmp_path / "events"), "--video", str(recording), "--out", page]
    report = done([sys.executable, "-m", "lineact.runtime.shift", *asked])
    assert report.returncode == 0, report.stderr
    assert "<video" in Path(page).read_text()


def test_a_step_that_the_bundle_does_not_know_is_refused(command, tmp_path):
    (tmp_path / "settings.toml").write_text(WORK.replace("screw", "weld"))
    ended = done(command())
    assert ended.returncode == 2
    assert "work: expected steps among the line's actions" in ended.stderr.splitlines()[-1]


def test_kill_9_leaves_whole_events_and_the_next_start_goes_on(command, tmp_path):
    running = subprocess.Popen(
        command("--repeat", "--mode", "latest"), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    path = tmp_path / "events" / CURRENT
    while not (path.is_file() and path.stat().st_size):
        assert running.poll() is None
    running.kill()
    running.communicate()
    with path.open("ab") as stream:
        stream.write(b'{"version": 1, "event_id": "torn')  # as a power cut would leave it
    before = [line for line in path.read_text().splitlines() if line.endswith("}")]
    ended = done(command())
    assert ended.returncode == 0, ended.stderr
    assert "removed a torn last line of 32 bytes" in ended.stderr
    after = path.read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) > len(before)


@pytest.mark.parametrize(("size_kb", "more"), [(16, ()), (400, ("--mqtt", "127.0.0.1:1"))])
def test_a_full_disk_ends_with_its_code_and_whole_events(command, tmp_path, size_kb, more):
    folder = tmp_path / "disk"
    folder.mkdir()
    probe = ["unshare", "--map-root-user", "--mount", "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("the system refuses user namespaces")
    mount = f'mount -t tmpfs -o size={size_kb}k none "$0"'
    mount += ' && { "$@"; code=$?; cat "$0/events.jsonl" >"$0.left"; exit $code; }'
    endless = command("--repeat", *more, out=str(folder))
    ended = done(["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(folder), *endless])
    assert ended.returncode == 74, ended.stderr
    assert re.search(r"(events.jsonl|mqtt_waiting.sqlite): No space left on device", ended.stderr.splitlines()[-1])
    left = (tmp_path / "disk.left").read_text()
    assert left.endswith("}\n")
    assert len([json.loads(line) for line in left.splitlines()]) > 10


def test_the_command_line_goes_before_the_file(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[source]\nmode = 'latest'\ntimeout_s = 9\n[mqtt]\nhost = 'a'\ntopic = 't'\n[view]\nport = 1\n")
    base = ["--bundle", "b", "--source", "s", "--settings", str(path)]
    assert settings_of(arguments_of(base)).source == SourceSettings(mode="latest", timeout_s=9.0)
    settings = settings_of(arguments_of([*base, "--mode", "lossless", "--repeat", "--mqtt", "c:8883", "--view", "2"]))
    assert settings.source == SourceSettings(mode="lossless", timeout_s=9.0, repeat=True)
    assert (settings.mqtt.host, settings.mqtt.port, settings.mqtt.topic) == ("c", 8883, "t")
    assert (settings.view.port, settings.metrics.port) == (2, 0)
    assert settings_of(arguments_of(base[:4])) == RuntimeSettings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[events]\nmin_duration = 1\n", r"settings.toml.events: unknown key 'min_duration'"),
        (
            "[source]\nmode = 'fast'\n",
            r"settings.toml.source.mode: expected one of 'auto', 'latest', 'lossless', found",
        ),
        ("[source]\ntimeout_s = 0\n", r"settings.toml.source: timeout_s, .* must be above 0"),
        ("[view\n", r"settings.toml: expected TOML, found something else"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, words):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        settings_of(arguments_of(["--bundle", "b", "--source", "s", "--settings", str(path)]))


def test_events_that_go_on_are_reported_where_the_source_fails():
    class Kept:
        def __init__(self) -> None:
            self.actions: list[str] = []

        def write(self, event) -> None:
            self.actions.append(event.action)

        def close(self) -> None:
            raise AssertionError("whoever opened it closes it")

    def results():
        for index in range(5):
            yield result_at(index / 10, hand())
        raise ConfigError("the camera is gone")

    kept = Kept()
    debouncer = Debouncer(EventSettings(), ORIGIN, lambda _: "")
    with pytest.raises(ConfigError, match="the camera is gone"):
        run(results(), debouncer, [kept], [], open_source("nowhere", SourceSettings()), no_work())
    assert kept.actions == ["pick"]


def test_events_that_go_on_are_reported_where_an_output_of_pictures_fails(tmp_path):
    class FullDisk:
        def see(self, result) -> None:
            if result.frame.pts_s > 1.0:
                raise FullDiskError(tmp_path / "annotated.mkv")

        def close(self) -> None:
            raise AssertionError("whoever opened it closes it")

    class Kept:
        def __init__(self) -> None:
            self.actions: list[str] = []

        def write(self, event) -> None:
            self.actions.append(event.action)

        def close(self) -> None:
            raise AssertionError("whoever opened it closes it")

    kept = Kept()
    results = (result_at(index / 10, hand()) for index in range(50))
    with pytest.raises(FullDiskError):
        run(
            results,
            Debouncer(EventSettings(), ORIGIN),
            [kept],
            [FullDisk()],
            open_source("nowhere", SourceSettings()),
            no_work(),
        )
    assert kept.actions == ["pick"]


def test_an_event_is_told_while_its_camera_is_silent():
    """By time alone; the camera's next frames are of a time after it."""
    kept: list = []

    class Kept:
        def write(self, event) -> None:
            kept.append(event)

        def close(self) -> None:
            raise AssertionError("whoever opened it closes it")

    def results():
        now_s = time.monotonic()
        for index in range(5):
            frame = frame_at(index / 10)._replace(arrived_s=now_s)
            yield result_at(index / 10, hand())._replace(frame=frame)
        while not kept:
            time.sleep(0.1)
            yield None

    source = open_source("rtsp://nobody/", SourceSettings())
    debouncer = Debouncer(EventSettings(0.3, 0.5), ORIGIN, lambda _: "")
    assert run(results(), debouncer, [Kept()], [], source, no_work()) == 1
    assert [(event.start_s, event.end_s) for event in kept] == [(0.0, pytest.approx(0.9))]


def test_a_running_station_takes_a_new_champion_and_gives_it_back(command, released, tmp_path):
    published = Published(released / "export/bundle", tmp_path / "published")
    first = published.name(1)
    (tmp_path / "settings.toml").write_text(ALWAYS + "[updates]\nevery_s = 0.2\n")
    out, log = tmp_path / "events", tmp_path / "log"
    started = command("--bundle", str(published.folder), "--bundles", str(tmp_path / "kept"), "--repeat")

    def start() -> subprocess.Popen:
        with log.open("ab") as stream:
            return subprocess.Popen(started, cwd=ROOT, env=ENVIRONMENT, stderr=stream)

    def bundles() -> list[str]:
        return [event["bundle"] for event in events_in(out)] if (out / CURRENT).exists() else []

    def rollback() -> subprocess.CompletedProcess:
        return done([sys.executable, "-m", "lineact.runtime.rollback", "--out", str(out)])

    running = start()
    wait_for(bundles)
    assert rollback().returncode == 3  # nothing ran before
    second = published.publish(2)
    wait_for(lambda: second in bundles())
    taken_back = rollback()
    assert (taken_back.returncode, taken_back.stdout) == (0, f"bundle {first} runs; {second} is refused\n")
    seen = len(bundles())
    wait_for(lambda: len(bundles()) > seen + 5)
    running.kill()
    running.wait()
    before = events_in(out)
    running = start()
    wait_for(lambda: f"leads to {second}, which was taken back: {first} runs" in log.read_text())
    third = published.publish(3)
    wait_for(lambda: third in bundles())
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 0
    assert by_start(before) == [first, second, first]
    assert by_start(events_in(out)[len(before) :]) in ([first, third], [third])
    assert re.search(r"handed_on \d+, dropped 0, broken 0", log.read_text())


def by_start(events: list[dict]) -> list[str]:
    """Bundles that events name, in the order in which they began to."""
    rising = sorted(events, key=lambda one: one["start_s"])
    return [name for name, _ in itertools.groupby(one["bundle"] for one in rising)]


def test_a_challenger_in_the_shadow_reports_no_event(command, released, tmp_path):
    challenger = variant(released / "export/bundle", tmp_path / "challenger", 2)
    alone = done(command(out=str(tmp_path / "alone")))
    both = done(command("--shadow", str(challenger), out=str(tmp_path / "both")))
    assert (alone.returncode, both.returncode) == (0, 0), both.stderr
    facts = ("action", "start_s", "end_s", "bundle")
    expected = [[event[fact] for fact in facts] for event in events_in(tmp_path / "alone")]
    assert [[event[fact] for fact in facts] for event in events_in(tmp_path / "both")] == expected
    assert "30 frames compared, 0 left out; 0 of" in both.stderr
    assert (tmp_path / "both" / "disagreements.jsonl").read_text() == ""
    wrong = done(command("--shadow", str(tmp_path / "nowhere")))
    assert wrong.returncode == 3
    assert "nowhere/manifest.json: expected a bundle's manifest, found nothing" in wrong.stderr
