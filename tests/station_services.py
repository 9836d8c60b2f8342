"""A network camera, a broker and a subscriber, as real processes (make system)."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.test_services import free_port

ROOT = Path(__file__).resolve().parents[1]
SYSTEM_PYTHON = "/usr/bin/python3"
MOSQUITTO = "/usr/sbin/mosquitto"
WAIT_S = 180


def wait_for(what: Callable[[], object], seconds: float = WAIT_S) -> None:
    deadline_s = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline_s, f"nothing within {seconds} s"
        time.sleep(0.05)


class Camera:
    """An RTSP server that can be killed and started again on the same port."""

    def __init__(self, video: Path) -> None:
        self._video = video
        self._process: subprocess.Popen | None = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/line"

    def start(self) -> None:
        command = [SYSTEM_PYTHON, str(ROOT / "tests/rtsp_server.py"), str(self.port), str(self._video)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


class Broker:
    """A mosquitto that can be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._configuration = folder / "mosquitto.conf"
        self.configure("allow_anonymous true")
        self._process: subprocess.Popen | None = None

    def configure(self, *lines: str) -> None:
        """What it reads at its next start, beside its port."""
        self._configuration.write_text("\n".join([f"listener {self.port} 127.0.0.1", *lines, ""]))

    def start(self) -> None:
        command = [MOSQUITTO, "-c", str(self._configuration)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


class Listener:
    """Another client of the broker: what it has heard, and what it says."""

    def __init__(self, broker: Broker, topic: str) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, dict]] = []
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, json.loads(message.payload))
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._ready.wait(WAIT_S)

    @property
    def ids(self) -> set[str]:
        return {said["event_id"] for _, said in self.heard}

    def say(self, topic: str, payload: str) -> None:
        self._client.publish(topic, payload, 1, retain=True).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
