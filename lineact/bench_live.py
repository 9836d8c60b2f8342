"""How fast a station's video is recognised beside the plain way with the same weights, and how late.

The plain way is what a user writes first: ultralytics' `predict` on every frame, and the classifier of timm, one crop a
call. Each measurement has a process of its own.
"""

import concurrent.futures
import dataclasses
import itertools
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lineact.benchmark import memory_peak_mb
from lineact.boxes import square_around
from lineact.bundle.manifest import Manifest, read_manifest
from lineact.bundle.networks import Setup
from lineact.bundle.pair import Bundle
from lineact.files import write_json, write_whole
from lineact.simulation import SimulateParams

if TYPE_CHECKING:
    from lineact.runtime.settings import Mode

CLIP_WH, CLIP_FPS, CLIP_CRF = (2560, 1440), 25, 23
MOVED_PX = 2.0  # a hand whose box moved by this from one frame to the next moves
PAIR = 2  # crops of a call that is timed: both hands
MEMORY_EVERY = 50  # frames
ULTRALYTICS_PX = 640  # of an image's longer side


@dataclass(frozen=True)
class LiveJob:
    """What is measured.

    Attributes:
        clip: the video.
        bundle: the released pair.
        detector: folder of `train_detector`, the same weights.
        classifier: folder and kind of the same classifier.
        frames: so many are recognised; a clip that is shorter is played again, but not the plain way.
    """

    clip: Path
    bundle: Path
    detector: Path
    classifier: tuple[Path, str]
    frames: int

    def playing(self, frames: int) -> "LiveJob":
        """The same with another number of frames."""
        return dataclasses.replace(self, frames=frames)


@dataclass(frozen=True)
class LiveRun:
    """One way, measured.

    Attributes:
        frames: recognised.
        seconds: wall time from the first frame's reading to the last one's actions; loading is left out.
        cpu_s: of all threads in that time.
        looked: frames on which the detector ran.
        hands: boxes on all frames.
        classified: crops that the classifier was asked about.
        dropped: frames that came too early to be looked at.
        delays_ms: from a frame's arrival to its events, float64, frames; empty where that was not measured.
        calls_ms: of the classifier with two crops while the rest went on, float64; likewise.
        memory_mb: greatest resident memory, 10^6 bytes.
        memory_growth_mb: of the resident memory, between a quarter of the frames and the end.
    """

    frames: int
    seconds: float
    cpu_s: float
    looked: int
    hands: int
    classified: int
    memory_mb: float
    dropped: int = 0
    delays_ms: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    calls_ms: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    memory_growth_mb: float = 0.0

    @property
    def frames_per_s(self) -> float:
        """Sustained over the whole video."""
        return self.frames / self.seconds


def render_clip(path: Path, params: SimulateParams, seconds: float) -> float:
    """Renders a recording of a simulated station that the line has not, as its camera would send it.

    Beside the video lies a .json file that tells the share of moving frames.

    Args:
        path: of the video, 2560 x 1440 at 25 frames/s, H.264; kept where it is there.
        params: of the line's stage `simulate`.
        seconds: its length.

    Returns:
        The share of frames on which a hand moves.
    """
    from lineact.simulation.render import View, write_recording
    from lineact.simulation.stations import STATIONS

    facts = path.with_suffix(".json")
    if not (path.is_file() and facts.is_file()):
        view = View(CLIP_WH, CLIP_FPS, seconds, CLIP_CRF, params.noise, live=True)
        boxes: list[Any] = []
        render = partial(write_recording, station=STATIONS[params.station], view=view)
        write_whole(path, lambda temporary: boxes.extend(render(temporary, seed=(params.seed, params.recordings))))
        hands: list[dict[str, np.ndarray]] = [{} for _ in range(round(seconds * CLIP_FPS))]
        for box in boxes:
            hands[box.index][box.hand] = np.array(box.box_xyxy_px)
        moving = sum(_moved(before, after) for before, after in itertools.pairwise(hands))
        write_json(facts, {"moving_share": moving / len(hands)})
    return float(json.loads(facts.read_text())["moving_share"])


def _moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> bool:
    if before.keys() != after.keys():
        return True
    return any(np.abs(before[hand] - after[hand]).max() >= MOVED_PX for hand in before)


def measured(how: Callable[[LiveJob], LiveRun], job: LiveJob) -> LiveRun:
    """Measures in a process of its own, whose memory nothing else has touched."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(how, job).result()


def plain_way(job: LiveJob) -> LiveRun:
    """`YOLO.predict` over the video; each crop through timm's transform and the classifier. The bundle's thresholds."""
    return _plainly(job, max(read_manifest(job.bundle).detector.input_wh))


def plain_way_at_640(job: LiveJob) -> LiveRun:
    """Likewise, with the size that `predict` takes where a model tells it none."""
    return _plainly(job, ULTRALYTICS_PX)


def _plainly(job: LiveJob, imgsz: int) -> LiveRun:
    import timm.data
    import torch
    from PIL import Image

    from lineact.training.classifier import load_classifier

    manifest = read_manifest(job.bundle)
    model = _ultralytics_model(job.detector)
    network, spec = load_classifier(*job.classifier)
    transform = timm.data.create_transform(
        spec.preprocessing.side_px, mean=spec.preprocessing.mean, std=spec.preprocessing.std, crop_pct=1.0
    )
    asked: Any = {"imgsz": imgsz, "conf": manifest.detector.score_threshold, "iou": manifest.detector.nms_iou}
    asked |= {"max_det": manifest.detector.max_hands, "verbose": False}
    frames = hands = 0
    model.predict(np.zeros((*CLIP_WH[::-1], 3), np.uint8), **asked)  # loads what is loaded at first use
    started_s, cpu_s = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        for found in itertools.islice(model.predict(str(job.clip), stream=True, **asked), job.frames):
            for box_xyxy_px in found.boxes.xyxy.numpy():
                x1, y1, x2, y2 = square_around(box_xyxy_px, manifest.classifier.crop_context)
                crop_bgr = found.orig_img[max(y1, 0) : y2, max(x1, 0) : x2]
                image = Image.fromarray(np.ascontiguousarray(crop_bgr[..., ::-1]))
                network(transform(image)[None]).softmax(1).argmax(1).item()
                hands += 1
            frames += 1
    ended_s = time.perf_counter()
    return LiveRun(
        frames, ended_s - started_s, time.process_time() - cpu_s, frames, hands, hands, memory_mb=memory_peak_mb()
    )


def _ultralytics_model(folder: Path) -> Any:
    from lineact.foundation.yolov5 import build_yolov5, import_ultralytics, load_weights

    ultralytics = import_ultralytics()
    network = build_yolov5(folder / "detector.yaml")
    load_weights(network, folder / "detector.safetensors")
    model = ultralytics.YOLO("yolov5n.yaml")  # its weights are exchanged: its own files would be pickles
    model.model = network.eval()
    return model


def as_the_product(job: LiveJob) -> LiveRun:
    """As fast as it goes, without loss."""
    return _recognised(job, "lossless", skips=True)


def without_skipping(job: LiveJob) -> LiveRun:
    """Likewise, detecting on every frame and classifying every hand."""
    return _recognised(job, "lossless", skips=False)


def in_real_time(job: LiveJob) -> LiveRun:
    """At the clip's own rate, as a camera sends it; late frames would be dropped.

    A frame arrives with its packet, before it is decoded. Meanwhile the classifier is called with two crops.
    """
    return _recognised(job, "latest", skips=True)


def _recognised(job: LiveJob, mode: "Mode", *, skips: bool) -> LiveRun:
    import cv2
    import psutil

    from lineact.runtime.events import Debouncer, Origin
    from lineact.runtime.recognise import Recogniser, open_bundle
    from lineact.runtime.settings import EventSettings, RecogniseSettings, SourceSettings
    from lineact.runtime.sources import open_source

    cv2.setNumThreads(1)  # the stages overlap: threads of theirs would only take turns
    settings = RecogniseSettings(skip_still_frames=skips, skip_same_crops=skips)
    opened = open_bundle(job.bundle, settings)
    bundle = _TimedPair(opened.folder, opened.manifest, opened.setup)
    recogniser = Recogniser(bundle, settings)
    debouncer = Debouncer(EventSettings(), Origin(bundle.manifest.line, "clip", ""))
    delays_ms, memory_mb = [], []
    process = psutil.Process()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    with open_source(str(job.clip), SourceSettings(mode=mode, repeat=True)) as source:
        for result in itertools.islice(recogniser.recognise(source), job.frames):
            debouncer.push(result)
            delays_ms.append((time.monotonic() - result.frame.arrived_s) * 1000)
            if result.frame.number % MEMORY_EVERY == 0:
                memory_mb.append(process.memory_info().rss / 1e6)
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
        dropped=source.counts.dropped,
        delays_ms=np.array(delays_ms),
        calls_ms=np.array(bundle.calls_ms),
        memory_growth_mb=memory_mb[-1] - memory_mb[len(memory_mb) // 4],
    )


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
