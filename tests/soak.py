"""A long run, beside pytest: `make soak` (with what `make system` installs).

The runtime looks at an RTSP camera that plays a video again and again, and reports to a broker. Every few minutes the
camera or the broker is taken away for a while; in the first third the runtime is killed with -9, too. In the end every
event on disk must have been heard by a subscriber. Prints a report; FOLDER/samples.csv has the samples.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

from lineact.files import write_csv
from tests.station_services import ROOT, Broker, Camera, Listener, wait_for
from tests.test_services import free_port

SAMPLE_S = 10
AWAY_S = 20
EVERY_S = 180  # something is taken away so often, in turns
TAKEN = ("camera", "broker", "runtime")
KILLED_SHARE = 1 / 3  # of the time, from its begin; then one process must do
SETTLED_S = 60  # after its start the runtime's memory is compared
PERCENTS = (50, 95, 99)


def looped(video: Path, seconds: float, to: Path) -> Path:
    """The video again and again in one file, encoded as cameras do: no frame waits for a later one."""
    with av.open(str(video)) as read:
        pictures = list(read.decode(video=0))
        rate = read.streams.video[0].average_rate
    assert rate is not None
    with av.open(str(to), "w") as written:
        stream: Any = written.add_stream("libx264", rate=rate, options={"preset": "veryfast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = pictures[0].width, pictures[0].height, "yuv420p"
        stream.codec_context.gop_size = round(2 * rate)
        for number in range(round(seconds * rate)):
            picture = pictures[number % len(pictures)]
            picture.pts, picture.time_base = number, 1 / rate
            picture.pict_type = 0
            written.mux(stream.encode(picture))
        written.mux(stream.encode(None))
    return to


class Runtime:
    """The command, which may be killed and started again."""

    def __init__(self, bundle: Path, camera: str, broker: int, folder: Path) -> None:
        self._port = free_port()
        self._log = folder / "runtime.log"
        self._command = [
            *(sys.executable, "-m", "lineact.runtime", "--bundle", str(bundle), "--source", camera),
            *("--camera", "soak", "--out", str(folder / "events"), "--mqtt", f"127.0.0.1:{broker}"),
            *("--metrics", str(self._port)),
        ]
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stderr=stream)

    def end(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def memory_mb(self) -> float:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        return psutil.Process(self._process.pid).memory_info().rss / 1e6

    def figures(self) -> dict[str, float]:
        """Prometheus' figures by name; of a histogram's buckets by their bound."""
        try:
            text = httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=10).text
        except httpx.TransportError:  # it starts
            return {}
        return {
            sample.name + sample.labels.get("le", ""): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def latency_s(figures: dict[str, float], percent: float) -> float:
    """Upper bound of the latency's percentile: the histogram's bucket that holds it."""
    prefix = "lineact_latency_seconds_bucket"
    buckets = sorted((float(name.removeprefix(prefix)), count) for name, count in figures.items() if prefix in name)
    return next((bound for bound, count in buckets if count >= percent / 100 * buckets[-1][1]), np.nan)


def soak(bundle: Path, video: Path, minutes: float, folder: Path) -> None:
    """Runs it and prints the report."""
    folder.mkdir(parents=True)
    camera = Camera(looped(video, 600, folder / "looped.mp4"))
    broker = Broker(folder)
    kept = ("user root", "persistence true", f"persistence_location {folder}/") if os.geteuid() == 0 else ()
    broker.configure("allow_anonymous true", *kept)
    broker.start()
    camera.start()
    listener = Listener(broker, "lineact/+/soak/events")
    runtime = Runtime(bundle, camera.address, broker.port, folder)
    runtime.start()
    began_s = time.monotonic()
    taken = dict.fromkeys(TAKEN, 0)
    samples: list[tuple[float, ...]] = []
    latencies: list[list[float]] = []
    frames, restarted_s = 0.0, 0.0
    try:
        turn = 0
        while (passed_s := time.monotonic() - began_s) < 60 * minutes:
            if passed_s > (turn + 1) * EVERY_S:
                candidates = TAKEN if passed_s < 60 * minutes * KILLED_SHARE else TAKEN[:2]
                what = candidates[turn % len(candidates)]
                turn, taken[what] = turn + 1, taken[what] + 1
                figures = runtime.figures()
                if what == "runtime":
                    frames += figures.get("lineact_frames_total", 0)
                    latencies.append([latency_s(figures, percent) for percent in PERCENTS])
                    runtime.end(signal.SIGKILL)
                    runtime.start()
                    restarted_s = passed_s
                else:
                    thing = camera if what == "camera" else broker
                    thing.kill(signal.SIGTERM)
                    time.sleep(AWAY_S)
                    thing.start()
            time.sleep(SAMPLE_S)
            figures = runtime.figures()
            names = ("lineact_frames_per_second", "lineact_source_reconnects_total", "lineact_mqtt_waiting")
            samples.append((passed_s, runtime.memory_mb(), *(figures.get(name, np.nan) for name in names)))
        latencies.append([latency_s(runtime.figures(), percent) for percent in PERCENTS])
        frames += runtime.figures()["lineact_frames_total"]
        code = runtime.end(signal.SIGTERM)
        files = sorted((folder / "events").glob("*.jsonl"))
        written = [json.loads(line)["event_id"] for path in files for line in path.read_text().splitlines()]
        wait_for(lambda: set(written) <= listener.ids, 30)
    finally:
        camera.kill()
        broker.kill()
    write_csv(folder / "samples.csv", ("s", "memory_mb", "frames_per_s", "reconnects", "mqtt_waiting"), samples)
    settled = np.array([row[:2] for row in samples if row[0] > restarted_s + SETTLED_S])
    slope_mb_per_h = 3600 * np.polyfit(settled[:, 0], settled[:, 1], 1)[0]
    print(f"{minutes:g} min; away or killed: {taken}; the runtime ended with {code}")
    print(f"frames {frames:.0f}; latency p50, p95, p99 at most {np.nanmax(latencies, axis=0).tolist()} s")
    print(f"events on disk {len(written)}, different {len(set(written))}, heard {len(listener.ids)}, none lost")
    print(f"one process for {(settled[-1, 0] - restarted_s) / 60:.0f} min: ", end="")
    print(f"memory {settled[:, 1].min():.0f} to {settled[:, 1].max():.0f} MB, trend {slope_mb_per_h:+.1f} MB/h")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    soak(arguments.bundle.resolve(), arguments.video.resolve(), arguments.minutes, arguments.out.resolve())


if __name__ == "__main__":
    main()
