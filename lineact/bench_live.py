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
from typing import Any

import numpy as np

from lineact.boxes import square_around
from lineact.bundle.manifest import read_manifest
from lineact.files import write_json, write_whole
from lineact.live_run import LiveRun, run_timed
from lineact.process_memory import memory_peak_mb
from lineact.runtime.settings import Mode, RecogniseSettings, SourceSettings
from lineact.runtime.sources import open_source
from lineact.simulation import SimulateParams

CLIP_WH, CLIP_FPS, CLIP_CRF = (2560, 1440), 25, 23
MOVED_PX = 2.0  # a hand whose box moved by this from one frame to the next moves
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
    return _recognised(job, "lossless", RecogniseSettings())


def without_skipping(job: LiveJob) -> LiveRun:
    """Likewise, detecting on every frame and classifying every hand."""
    return _recognised(job, "lossless", RecogniseSettings(skip_still_frames=False, skip_same_crops=False))


def in_real_time(job: LiveJob) -> LiveRun:
    """At the clip's own rate, as a camera sends it; late frames are dropped, so that more than the clip's pass.

    A frame arrives with its packet, before it is decoded.
    """
    return _recognised(job, "latest", RecogniseSettings())


def _recognised(job: LiveJob, mode: Mode, settings: RecogniseSettings) -> LiveRun:
    with open_source(str(job.clip), SourceSettings(mode=mode, repeat=True)) as source:
        return run_timed(job.bundle, settings, source, job.frames)
