"""A bundle of the embedded weights, which find rendered hands, and a clip to find them on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from tests.released_pair import EXPORT

if TYPE_CHECKING:
    from lineact.export.view import TrainingView

TINY = Path(__file__).resolve().parents[1] / "models/foundation/tiny"
INPUT_WH = (320, 192)
LABELS = ("screw", "wipe", "label", "NG")
CLIP_WH, CLIP_FPS, CLIP_S = (640, 360), 25, 4.0


def write_bundle(folder: Path, view: "TrainingView | None" = None) -> Path:
    """The embedded detector and the embedded student with a head of random weights."""
    import json

    import torch

    from lineact.export.graphs import ClassifierGraph, DetectorGraph
    from lineact.export.release import Pair, RealInputs, build_bundle
    from lineact.foundation.vit import build_vit
    from lineact.foundation.weights import read_safetensors
    from lineact.foundation.yolov5 import load_yolov5
    from lineact.training.classifier import ClassifierSpec

    torch.manual_seed(0)
    config = json.loads((TINY / "vit_student/config.json").read_text())
    network = build_vit(config, "student", class_count=len(LABELS))
    network.load_state_dict(read_safetensors(TINY / "vit_student/model.safetensors"), strict=False)
    head: Any = network.head
    torch.nn.init.normal_(head.weight, std=0.3)
    spec = ClassifierSpec(config, LABELS)
    graph = ClassifierGraph(network, spec.preprocessing.mean, spec.preprocessing.std)
    pair = Pair(DetectorGraph(load_yolov5(TINY / "yolov5")), INPUT_WH, 0.4, graph, spec)
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    crops_png = [cv2.imencode(".png", crop)[1].tobytes()] * EXPORT.parity_crops
    frames_rgb = np.full((EXPORT.parity_frames, INPUT_WH[1], INPUT_WH[0], 3), 114, np.uint8)
    inputs = RealInputs(crops_png, [LABELS[0]] * len(crops_png), frames_rgb, view)
    build_bundle(EXPORT, pair, inputs, None, "demo", "0" * 64, folder)
    return folder


def write_clip(path: Path) -> Path:
    """A short recording of the simulated station `demo`."""
    from lineact.simulation.render import View, write_recording
    from lineact.simulation.stations import STATIONS

    write_recording(path, STATIONS["demo"], View(CLIP_WH, CLIP_FPS, CLIP_S, 23, 2.0, live=True), (0, 3))
    return path
