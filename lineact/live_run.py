"""The runtime's pipeline, from frames to events, timed."""

import concurrent.futures
import itertools
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lineact.bundle.manifest import Manifest
from lineact.bundle.networks import Setup
from lineact.bundle.pair import Bundle
from lineact.process_memory import memory_now_mb, memory_peak_mb
from lineact.runtime.events import Debouncer, Origin
from lineact.runtime.frame import Frame
from lineact.runtime.recognise import Recogniser, open_bundle
from lineact.runtime.settings import RecogniseSettings
from lineact.video import opened_video, video_facts

PAIR = 2  # crops of a call that is timed: both hands
MEMORY_EVERY = 50  # frames


@dataclass(frozen=True)
class LiveRun:
    """One way to recognise a video, measured.

    Attributes:
        frames: recognised.
        seconds: wall time from the first frame's reading to the last one's actions; loading is left out.
        cpu_s: of all threads in that time.
        looked: frames on which the detector ran.
        hands: boxes on all frames.
        classified: crops that the classifier was asked about.
        memory_mb: greatest resident memory, 10^6 bytes.
        delays_ms: from a frame's arrival to its events, float64, frames; empty where that was not measured.
        calls_ms: of the classifier with two crops while the rest went on, float64; likewise.
        memory_growth_mb: of the resident memory, between a quarter of the frames and the end.
    """

    frames: int
    seconds: float
    cpu_s: float
    looked: int
    hands: int
    classified: int
    memory_mb: float
    delays_ms: np.ndarray = field(default_factory=lambda: np.zeros(0))
    calls_ms: np.ndarray = field(default_factory=lambda: np.zeros(0))
    memory_growth_mb: float = 0.0

    @property
    def frames_per_s(self) -> float:
        """Sustained over the whole video."""
        return self.frames / self.seconds


def run_timed(bundle: Path, settings: RecogniseSettings, source: Iterable[Frame], frames: int) -> LiveRun:
    """Recognises frames as the runtime does, up to their events.

    Args:
        bundle: the released pair.
        settings: of the recogniser.
        source: of at least that many frames.
        frames: so many are recognised.
    """
    opened = open_bundle(bundle, settings)
    pair = _TimedPair(opened.folder, opened.manifest, opened.setup)
    recogniser = Recogniser(pair, settings)
    debouncer = Debouncer(opened.manifest.events, Origin(opened.manifest.line, "clip", ""))
    delays_ms, memory_mb = [], []
    started_s, cpu_s = time.perf_counter(), time.process_time()
    for number, result in enumerate(itertools.islice(recogniser.recognise(source), frames)):
        debouncer.push(result)
        delays_ms.append((time.monotonic() - result.frame.arrived_s) * 1000)
        if number % MEMORY_EVERY == 0:
            memory_mb.append(memory_now_mb())
    seconds = time.perf_counter() - started_s
    counts = recogniser.counts
    return LiveRun(
        frames=counts.frames,
        seconds=seconds,
        cpu_s=time.process_time() - cpu_s,
        looked=counts.looked,
        hands=counts.hands,
        classified=counts.classified,
        memory_mb=memory_peak_mb(),
        delays_ms=np.array(delays_ms),
        calls_ms=np.array(pair.calls_ms),
        memory_growth_mb=memory_mb[-1] - memory_mb[len(memory_mb) // 4],
    )


def at_its_rate(recording: Path) -> Iterator[Frame]:
    """A recording's frames at its own rate, for ever: each is decoded when it is due, and arrives then.

    A camera's stream has no frame that waits for a later one; in a recording that has, none waits here either.
    """
    fps = video_facts(recording).fps
    began_s = time.monotonic()
    number = 0
    while True:
        with opened_video(recording) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # threads that take a frame each would hold frames back
            pictures = container.decode(stream)
            while True:
                due_s = began_s + number / fps
                time.sleep(max(due_s - time.monotonic(), 0))
                picture = next(pictures, None)
                if picture is None:
                    break
                yield Frame(number, picture, number / fps, due_s, due_s, picture.width, picture.height)
                number += 1


def event_delays_apart_ms(bundle: Path, recording: Path, frames: int) -> np.ndarray:
    """From a frame's arrival to its events, in a process of its own.

    Args:
        bundle: the released pair.
        recording: played at its own rate.
        frames: so many, and again from the start where it has fewer.

    Returns:
        Milliseconds, float64, frames.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(_event_delays_ms, bundle, recording, frames).result()


def _event_delays_ms(bundle: Path, recording: Path, frames: int) -> np.ndarray:
    return run_timed(bundle, RecogniseSettings(), at_its_rate(recording), frames).delays_ms


class _TimedPair(Bundle):
    """Notes how long calls of the classifier take."""

    def __init__(self, folder: Path, manifest: Manifest, setup: Setup) -> None:
        super().__init__(folder, manifest, setup)
        self.calls_ms: list[float] = []

    def classify(self, crops_rgb: np.ndarray) -> np.ndarray:
        """As a bundle does; calls with two crops are noted."""
        started_s = time.perf_counter()
        probabilities = super().classify(crops_rgb)
        if len(crops_rgb) == PAIR:
            self.calls_ms.append((time.perf_counter() - started_s) * 1000)
        return probabilities
