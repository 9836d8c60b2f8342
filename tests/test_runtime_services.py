"""The runtime against a real RTSP server, a real MQTT broker and a real browser (make system)."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lineact.errors import ConfigError
from lineact.runtime.frame import Frame
from lineact.runtime.outputs.mqtt import MqttOutput
from lineact.runtime.outputs.outbox import Outbox
from lineact.runtime.products import Products
from lineact.runtime.settings import MqttSettings, SourceSettings
from lineact.runtime.sources import open_source
from tests.station import ORIGIN, event, numbered_video
from tests.station_services import MOSQUITTO, SYSTEM_PYTHON, WAIT_S, Broker, Camera, Listener, wait_for
from tests.test_services import free_port

ROOT = Path(__file__).resolve().parents[1]
services = pytest.mark.services


def _exceeds(count: Callable[[], int], least: int) -> bool:
    return count() > least


@pytest.fixture
def camera(tmp_path):
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True).returncode:
        pytest.skip("no RTSP server; `make system` installs one")
    camera = Camera(numbered_video(tmp_path / "rec.mp4", 600, fps=25.0))
    yield camera
    camera.kill()


@services
@pytest.mark.parametrize("mode", ["latest", "lossless"])
def test_a_network_camera_is_cut_and_comes_back(camera, mode):
    camera.start()
    settings = SourceSettings(mode=mode, timeout_s=3.0, retry_first_s=0.2, retry_most_s=0.5, give_up_s=WAIT_S)
    source = open_source(camera.address, settings)
    frames: list[Frame] = []
    reader = threading.Thread(target=lambda: frames.extend(source))
    reader.start()
    try:
        for cut in range(3):
            begun = len(frames)
            wait_for(partial(_exceeds, lambda: len(frames), begun + 19))
            camera.kill()
            wait_for(partial(_exceeds, lambda: source.counts.reconnects, source.counts.reconnects))
            if cut < 2:
                camera.start()
    finally:
        source.stop()
        reader.join(timeout=WAIT_S)
    assert not reader.is_alive()
    times_s = [frame.pts_s for frame in frames]
    assert times_s == sorted(set(times_s))
    # the pauses are part of the media time, which goes along with the arrival
    assert frames[-1].arrived_s - frames[0].arrived_s == pytest.approx(times_s[-1] - times_s[0], abs=3.0)
    assert {(frame.width_px, frame.height_px) for frame in frames} == {(320, 180)}


@pytest.fixture
def broker(tmp_path):
    if not Path(MOSQUITTO).is_file():
        pytest.skip("no mosquitto; `make system` installs it")
    broker = Broker(tmp_path)
    yield broker
    broker.kill()


@services
def test_events_wait_on_disk_while_the_broker_is_away_and_none_is_lost(broker, tmp_path):
    settings = MqttSettings(host="127.0.0.1", port=broker.port)
    output = MqttOutput(settings, ORIGIN, Outbox(tmp_path / "waiting.sqlite"), Products(), [])
    written = [event(number) for number in range(60)]
    for one in written[:30]:
        output.write(one)
    assert output.waiting == 30
    broker.start()
    # nobody subscribed, so the broker takes these and forgets them
    wait_for(lambda: output.waiting == 0)
    listener = Listener(broker, "lineact/press_a/top/events")
    broker.kill()
    for one in written[30:45]:
        output.write(one)
    broker.start()
    for one in written[45:]:
        output.write(one)
    wait_for(lambda: output.waiting == 0)
    output.close()
    # the broker forgot its subscriber when it was killed: whoever subscribes late misses what came before, so ask the
    # outbox as well: it is empty only of what the broker acknowledged
    listener.close()
    again = Outbox(tmp_path / "waiting.sqlite")
    assert (len(again), again.last_added()) == (0, written[-1].event_id)
    again.close()


@services
def test_every_event_is_heard_across_a_kill_9_of_the_sender(broker, tmp_path):
    broker.start()
    listener = Listener(broker, "lineact/press_a/top/events")
    script = f"""
import sys, time
from functools import partial
from pathlib import Path
from lineact.errors import ConfigError
from lineact.runtime.frame import Frame
from lineact.runtime.outputs.mqtt import MqttOutput
from lineact.runtime.outputs.outbox import Outbox
from lineact.runtime.products import Products
from lineact.runtime.settings import MqttSettings
from tests.station import ORIGIN, event
settings = MqttSettings(host="127.0.0.1", port={broker.port})
output = MqttOutput(settings, ORIGIN, Outbox(Path(sys.argv[1])), Products(), [])
for number in range(int(sys.argv[2])):
    one = event(number)
    output.write(one)
    print(one.event_id, flush=True)
output.close()
"""
    told: set[str] = set()
    for stop_after in (5, 40, None):
        command = [sys.executable, "-c", script, str(tmp_path / "waiting.sqlite"), "1000" if stop_after else "50"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if stop_after:
            told |= {process.stdout.readline().strip() for _ in range(stop_after)}
            os.kill(process.pid, signal.SIGKILL)
        told |= {line.strip() for line in process.stdout if line.endswith("\n")}
        process.wait()
        process.stdout.close()
    wait_for(lambda: told <= listener.ids)
    listener.close()
    assert {topic for topic, _ in listener.heard} == {"lineact/press_a/top/events"}


@services
def test_the_product_is_told_by_the_broker(broker, tmp_path):
    broker.start()
    listener = Listener(broker, "nothing")
    listener.say("plant/product", "P-16")  # kept by the broker: whoever comes later hears it
    settings = MqttSettings(host="127.0.0.1", port=broker.port, product_topic="plant/product")
    products = Products()
    output = MqttOutput(settings, ORIGIN, Outbox(tmp_path / "waiting.sqlite"), products, [])
    wait_for(lambda: products.at(time.monotonic()) == "P-16")
    listener.say("plant/product", '{"product": "P-17", "order": 4}')
    wait_for(lambda: products.at(time.monotonic()) == "P-17")
    listener.say("plant/product", '{"order": 5}')  # told in the log, and not taken
    listener.say("plant/product", "P-18")
    wait_for(lambda: products.at(time.monotonic()) == "P-18")
    output.close()
    listener.close()


@services
def test_a_broker_that_refuses_is_told_and_costs_no_event(broker, tmp_path, caplog):
    broker.configure("allow_anonymous false")
    broker.start()
    (tmp_path / "password").write_text("wrong\n")
    (tmp_path / "password").chmod(0o600)
    settings = MqttSettings(
        host="127.0.0.1", port=broker.port, username="ann", password_file=str(tmp_path / "password")
    )
    output = MqttOutput(settings, ORIGIN, Outbox(tmp_path / "waiting.sqlite"), Products(), [])
    output.write(event())
    wait_for(lambda: "the broker refuses this client" in caplog.text)
    assert output.waiting == 1
    output.close()


@pytest.mark.browser
def test_the_live_view_in_a_browser(released, tmp_path):
    """The whole command on a repeated recording; a real Chromium looks at it."""
    from playwright.sync_api import expect, sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "no chromium; run `make system` as root"
    port = free_port()
    numbered_video(tmp_path / "rec.mp4", 100)
    command = [
        *(sys.executable, "-m", "lineact.runtime", "--bundle", str(released / "export/bundle")),
        *("--source", str(tmp_path / "rec.mp4"), "--out", str(tmp_path / "events"), "--mode", "latest", "--repeat"),
        *("--view", str(port), "--camera", "Kamera Süd"),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    wrong: list[str] = []
    try:
        wait_for(lambda: _answers(port))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            page = browser.new_page()
            page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(f"http://127.0.0.1:{port}/")
            expect(page.locator("#heading")).to_contain_text("press_a, Kamera Süd, bundle ")
            expect(page.get_by_role("status")).to_contain_text(re.compile(r"p50 \d.* ms, .* \d+ frames, \d+ dropped"))
            page.wait_for_function("document.getElementById('picture').naturalWidth === 320")
            before = page.get_by_role("status").inner_text()
            expect(page.get_by_role("status")).not_to_have_text(before)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0
            expect(page.get_by_role("status")).to_have_text("the recogniser does not answer")
            browser.close()
    finally:
        process.kill()
        process.communicate()
    assert [text for text in wrong if "ERR_" not in text] == []  # the end of the server is told as such


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@services
def test_a_broker_with_certificate_and_password(broker, tmp_path):
    key, certificate, passwords = (tmp_path / name for name in ("key.pem", "certificate.pem", "passwords"))
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "ann", "secret"], check=True)
    as_root = ["user root"] if os.geteuid() == 0 else []  # else it leaves root, and cannot read what is ours alone
    broker.configure(f"certfile {certificate}", f"keyfile {key}", f"password_file {passwords}", *as_root)
    broker.start()
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    settings = MqttSettings(
        host="127.0.0.1",
        port=broker.port,
        username="ann",
        password_file=str(tmp_path / "password"),
        ca_file=str(certificate),
    )
    output = MqttOutput(settings, ORIGIN, Outbox(tmp_path / "waiting.sqlite"), Products(), [])
    output.write(event())
    wait_for(lambda: output.waiting == 0)
    output.close()


def test_a_password_or_certificate_that_cannot_be_read_is_named(tmp_path):
    nowhere, shown = str(tmp_path / "nowhere"), tmp_path / "password"
    shown.write_text("secret\n")
    shown.chmod(0o640)
    for settings, told in (
        (MqttSettings(username="ann", password_file=nowhere), f"{nowhere}: expected a file with the broker's password"),
        (MqttSettings(username="ann", password_file=str(shown)), f"{shown}: expected a file that its owner alone can"),
        (MqttSettings(ca_file=nowhere), f"{nowhere}: cannot be read"),
    ):
        with pytest.raises(ConfigError, match=f"mqtt: {told}"):
            MqttOutput(settings, ORIGIN, Outbox(tmp_path / "waiting.sqlite"), Products(), [])
