"""How fast a recording is labelled beside a plain loop with the same weights, and whether as many hands are found.

The plain loop is what a user writes first: decode every frame, one image a call, one phrase of the prompt a call, the
text encoded anew each time.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lineact.boxes import iou_matrix
from lineact.detect import DetectParams, detect_recording
from lineact.detect.backend import Detections, Recording
from lineact.detect.filters import clipped, drop_by_rules
from lineact.detect.grounding_dino import GroundingDino, load_grounding_dino, phrases_of
from lineact.detect.prompt import prompt_text
from lineact.files import sha256_of_file
from lineact.ingest import IngestParams, ingest_videos
from lineact.video import read_frames


@dataclass(frozen=True)
class LabelRun:
    """One way to label a recording.

    Attributes:
        name: in words.
        ready_s: wall time of all that comes before: the weights are loaded, converted where the engine is OpenVINO, and
            asked about one picture.
        seconds: wall time of the rest.
        video_s: length of the recording.
        calls: forward passes of the network.
        images: images that went through it.
        boxes_xyxy_px: presentation time to the boxes that stay, N x 4, of each frame that was looked at.
    """

    name: str
    ready_s: float
    seconds: float
    video_s: float
    calls: int
    images: int
    boxes_xyxy_px: Mapping[float, np.ndarray]

    @property
    def speed(self) -> float:
        """Seconds of video per second."""
        return self.video_s / self.seconds


def plain_loop(path: Path, video_s: float, params: DetectParams) -> LabelRun:
    """Every frame, image by image, word by word.

    Args:
        path: the recording.
        video_s: its length.
        params: of the stage, with the section `grounding_dino`.
    """
    import torch

    dino = params.grounding_dino
    assert dino is not None

    def ask(image_rgb: np.ndarray, words: str) -> dict[str, Any]:
        inputs = processor(images=image_rgb, text=prompt_text((words,)), return_tensors="pt").to(device)
        with torch.inference_mode():
            output = model(**inputs)
        return processor.post_process_grounded_object_detection(
            output, inputs["input_ids"], dino.score_floor, dino.text_threshold, target_sizes=[image_rgb.shape[:2]]
        )[0]

    began_s = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor, model = load_grounding_dino(dino)
    model = model.eval().to(device)
    ask(_first_picture(path), dino.prompt[0])
    boxes: dict[float, np.ndarray] = {}
    calls = 0
    started_s = time.perf_counter()
    for frame in read_frames(path):
        height, width = frame.image_rgb.shape[:2]
        parts = []
        for words in dino.prompt:
            found = ask(frame.image_rgb, words)
            calls += 1
            parts.append((found["boxes"].cpu().numpy(), found["scores"].cpu().numpy(), phrases_of(found)))
        together = Detections(
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            tuple(phrase for part in parts for phrase in part[2]),
        )
        boxes[frame.pts_s] = _staying(together, (width, height), params)
    seconds = time.perf_counter() - started_s
    return LabelRun("plain loop", started_s - began_s, seconds, video_s, calls, calls, boxes)


def labelled(path: Path, video_s: float, ingest: IngestParams, params: DetectParams, *, sifted: bool) -> LabelRun:
    """As the stages `ingest` and `detect` do it, with nothing cached.

    Args:
        path: the recording.
        video_s: its length.
        ingest: what sifts the frames.
        params: of the stage `detect`, with the section `grounding_dino`.
        sifted: whether only frames worth labelling are looked at, or all.
    """
    assert params.grounding_dino is not None
    path = path.resolve()
    began_s = time.perf_counter()
    backend = GroundingDino(params.grounding_dino)
    backend.load()  # the folder of the weights may be named relative to the working folder
    with empty_cache() as folder:
        backend.detect_images([_first_picture(path)])  # OpenVINO converts at the first picture
        ready_s = time.perf_counter() - began_s
        raw = folder / "raw"
        raw.mkdir()
        shutil.copyfile(path, raw / path.name)
        started_s = time.perf_counter()
        frames = ingest_videos(raw, ingest).frames
        wanted = frames.filter(frames["kept"]) if sifted else frames
        recording = Recording(path, sha256_of_file(path), frames["pts_s"].to_numpy())
        size_wh = (frames["width_px"][0].as_py(), frames["height_px"][0].as_py())
        times_s = wanted["pts_s"].to_pylist()
        found = detect_recording(recording, times_s, params.shard_frames, backend)
        boxes = {
            time_s: _staying(clipped(one, size_wh), size_wh, params) for time_s, one in zip(times_s, found, strict=True)
        }
        seconds = time.perf_counter() - started_s
    by_openvino = "engine" in backend.key  # which takes picture by picture
    calls = len(times_s) if by_openvino else -(-len(times_s) // params.grounding_dino.batch_size)
    name = ", ".join(["lineact", *["OpenVINO"] * by_openvino, *["every frame"] * (not sifted)])
    return LabelRun(name, ready_s, seconds, video_s, calls, len(times_s), boxes)


def recall_on(run: LabelRun, truth_xyxy_px: Mapping[float, np.ndarray], min_iou: float) -> tuple[int, int]:
    """Hands found, and hands there are, on some frames.

    Args:
        run: must have looked at these frames.
        truth_xyxy_px: presentation time to the true boxes, N x 4.
        min_iou: a hand is found by a box from this IoU on.
    """
    found = there = 0
    for time_s, hands in truth_xyxy_px.items():
        there += len(hands)
        if len(hands) and len(run.boxes_xyxy_px[time_s]):
            found += int((iou_matrix(run.boxes_xyxy_px[time_s], hands).max(axis=0) >= min_iou).sum())
    return found, there


def table_of_runs(runs: Sequence[LabelRun], recalls: Sequence[tuple[int, int]]) -> list[list[str]]:
    """Rows of words and figures; the ratio is that of the speeds, to the first run's."""
    rows = []
    for run, (found, there) in zip(runs, recalls, strict=True):
        recall = f"{found / there:.3f}" if there else "no hands"
        figures = [
            f"{run.ready_s:.1f}",
            f"{run.seconds:.1f}",
            f"{run.speed:.2f}",
            f"{run.speed / runs[0].speed:.1f}",
            str(run.images),
        ]
        rows.append([run.name, *figures, str(run.calls), recall])
    return rows


def _first_picture(path: Path) -> np.ndarray:
    """A recording's first frame, uint8, H x W x 3."""
    return next(iter(read_frames(path))).image_rgb


def _staying(found: Detections, size_wh: tuple[int, int], params: DetectParams) -> np.ndarray:
    """Boxes that no rule drops, N x 4."""
    dropped = drop_by_rules(found, size_wh, params.filters)
    return found.boxes_xyxy_px[[rule is None for rule in dropped]].reshape(-1, 4)


@contextlib.contextmanager
def empty_cache() -> Iterator[Path]:
    """A working folder of its own: the cache lies below the working folder."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)
