"""Putting the released pair together: networks, thresholds, samples, manifest."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch
import yaml

from lineact.bundle.manifest import (
    MANIFEST,
    MANIFEST_VERSION,
    NETWORKS,
    ClassifierManifest,
    CropSample,
    DetectorManifest,
    FrameSample,
    Manifest,
    ViewManifest,
)
from lineact.bundle.processing import fit_into, read_png, rgb_of, scale_crop, select_boxes
from lineact.errors import InputError
from lineact.export import ExportParams
from lineact.export.graphs import ClassifierGraph, DetectorGraph, write_onnx, write_openvino
from lineact.export.parity import Reference, differences, refuse_differences
from lineact.export.quantise import Calibration, write_int8
from lineact.export.view import TrainingView, read_training_view
from lineact.files import sha256_of_file, sha256_of_tree, write_json
from lineact.foundation.yolov5 import build_yolov5, load_weights
from lineact.png import encode_png
from lineact.schema import LABELLED_CROPS, read_table
from lineact.training.classifier import ClassifierSpec, load_classifier

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png"})
DECIMALS = 4  # of sample outputs: below what runtimes differ by, so that bytes repeat


@dataclass(frozen=True)
class Pair:
    """The trained networks, ready for export.

    Attributes:
        detector: see `DetectorGraph`.
        input_wh: width and height of its input, pixels.
        score_threshold: the one that its training found best, 0 to 1.
        classifier: see `ClassifierGraph`.
        spec: labels and preprocessing of the classifier.
    """

    detector: DetectorGraph
    input_wh: tuple[int, int]
    score_threshold: float
    classifier: ClassifierGraph
    spec: ClassifierSpec


@dataclass(frozen=True)
class RealInputs:
    """What the pair is checked on.

    Attributes:
        crops_png: encoded crops of `crop_side_px`.
        actions: what each crop shows.
        frames_rgb: uint8, F x H x W x 3, at the detector's input size.
        view: what the training pictures have in common; None where that is nothing.
    """

    crops_png: list[bytes]
    actions: list[str]
    frames_rgb: np.ndarray
    view: TrainingView | None = None


def load_pair(params: ExportParams, train_detector: Path, train_teacher: Path, distil: Path) -> Pair:
    """Loads the trained networks.

    Raises:
        InputError: where a file is missing or broken.
    """
    description = train_detector / "detector.yaml"
    model = build_yolov5(description)
    load_weights(model, train_detector / "detector.safetensors")
    facts = yaml.safe_load(description.read_text())
    if not {"input_wh", "score_threshold"} <= set(facts):
        raise InputError(f"{description}: expected input_wh and score_threshold, found none; run `dvc repro`")
    folder = distil if params.classifier == "student" else train_teacher
    classifier, spec = load_classifier(folder, params.classifier)
    if spec.crops != len(params.short_context.lags_s):
        raise InputError(
            f"{folder}: expected a classifier of {len(params.short_context.lags_s)} crops, as dataset.short_context "
            f"says, found one of {spec.crops}; run `dvc repro`"
        )
    preprocessing = spec.preprocessing
    return Pair(
        DetectorGraph(model),
        tuple(facts["input_wh"]),
        facts["score_threshold"],
        ClassifierGraph(classifier, preprocessing.mean, preprocessing.std),
        spec,
    )


def read_inputs(params: ExportParams, crops: Path, detection: Path, input_wh: tuple[int, int]) -> RealInputs:
    """Reads real crops (validation ones first, every action in turn) and validation images.

    Args:
        params: how many.
        crops: LABELLED_CROPS table.
        detection: YOLO detection set.
        input_wh: width and height of the detector's input, pixels.

    Raises:
        InputError: where there are none.
    """
    table = read_table(crops, LABELLED_CROPS)
    if not len(table):
        raise InputError(f"{crops}: expected crops to check the classifier on, found none; review some of the queue")
    rows = _spread(table.select(["split", "action", "box_id"]).to_pylist(), params.parity_crops)
    chosen = table.take(rows).select(["crop_png", "action"]).to_pylist()
    images = _images(detection / "images/val")
    if not images:
        raise InputError(f"{detection}/images/val: expected validation images, found none; run `dvc repro dataset`")
    shown = _evenly(images, params.parity_frames)
    frames_rgb = np.stack([fit_into(read_png(path), input_wh)[0] for path in shown])
    view = read_training_view(_images(detection / "images/train"))
    return RealInputs([row["crop_png"] for row in chosen], [row["action"] for row in chosen], frames_rgb, view)


def read_calibration(params: ExportParams, crops: Path, detection: Path, pair: Pair) -> Calibration | None:
    """Reads training crops, every action in turn, and training images; None where the settings ask for none.

    Args:
        params: how many.
        crops: LABELLED_CROPS table.
        detection: YOLO detection set.
        pair: whose inputs they are to be.

    Raises:
        InputError: where there are none.
    """
    if not params.calibration_crops:
        return None
    table = read_table(crops, LABELLED_CROPS)
    table = table.filter(pa.compute.equal(table["split"], "train"))
    rows = _spread(table.select(["split", "action", "box_id"]).to_pylist(), params.calibration_crops)
    images = _images(detection / "images/train")
    if not rows or not images:
        raise InputError(
            f"{crops}, {detection}: expected training crops and images to calibrate int8 on, found "
            f"{len(rows)} and {len(images)}; set export.calibration_crops and calibration_frames to 0, or label more"
        )
    side_px = pair.spec.preprocessing.side_px
    shown = _evenly(images, params.calibration_frames)
    return Calibration(
        [
            scale_crop(rgb_of(content, "crops.parquet: crop_png"), side_px)
            for content in table.take(rows)["crop_png"].to_pylist()
        ],
        [fit_into(read_png(path), pair.input_wh)[0] for path in shown],
    )


def build_bundle(
    params: ExportParams,
    pair: Pair,
    inputs: RealInputs,
    calibration: Calibration | None,
    line: str,
    data_sha256: str,
    folder: Path,
) -> dict:
    """Fills a folder with the bundle and checks it.

    Args:
        params: the settings.
        pair: the trained networks.
        inputs: what they are checked on.
        calibration: of the int8 variants; None for none.
        line: the line's name.
        data_sha256: of what they were trained on.
        folder: does not exist yet.

    Returns:
        Metrics: parity, the threshold, sizes.

    Raises:
        InputError: where a released file answers differently from the trained network.
    """
    (folder / "samples").mkdir(parents=True)
    side_px, input_wh = pair.spec.preprocessing.side_px, pair.input_wh
    print("writing ONNX and OpenVINO", flush=True)
    write_onnx(pair.detector, folder / "detector.onnx", (input_wh[1], input_wh[0]), any_batch=False)
    write_onnx(pair.classifier, folder / "classifier.onnx", (pair.spec.crops * side_px, side_px), any_batch=True)
    for name in NETWORKS:
        write_openvino(folder / f"{name}.onnx")
    if calibration is not None:
        print(f"int8 from {len(calibration.crops_rgb)} crops, {len(calibration.frames_rgb)} frames", flush=True)
        write_int8(folder, calibration)

    crops_rgb = np.stack(
        [scale_crop(rgb_of(content, "crops.parquet: crop_png"), side_px) for content in inputs.crops_png]
    )
    logits = _run(pair.classifier, crops_rgb)
    reference = Reference(crops_rgb, logits, inputs.frames_rgb, _run(pair.detector, inputs.frames_rgb))
    print(f"comparing with PyTorch on {len(crops_rgb)} crops and {len(inputs.frames_rgb)} frames", flush=True)
    parity = differences(folder, reference)
    refuse_differences(parity, params)

    threshold = pair.score_threshold if params.score_threshold is None else params.score_threshold
    detector = DetectorManifest(input_wh, threshold, params.nms_iou, params.max_hands)
    crop_samples = _write_crop_samples(folder, inputs, logits, params.sample_crops)
    frame_samples = _write_frame_samples(folder, reference, detector, params.sample_frames)
    view = _write_view(folder, inputs.view)
    _write_manifest(params, pair.spec, line, data_sha256, detector, crop_samples, frame_samples, view, folder)
    return parity | {
        "score_threshold": detector.score_threshold,
        "parity_crops": len(crops_rgb),
        "parity_frames": len(inputs.frames_rgb),
        "view_blocks": len(view.blocks_xy_px) if view else 0,
        "classifier_parameters": sum(value.numel() for value in pair.classifier.parameters()),
        "detector_parameters": sum(value.numel() for value in pair.detector.parameters()),
        "bundle_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }


def hash_of_data(crops: Path, detection: Path) -> str:
    """Hex SHA-256 over the training crops and the detection set."""
    return hashlib.sha256(f"{sha256_of_file(crops)}\n{sha256_of_tree(detection)}\n".encode()).hexdigest()


def _spread(rows: list[dict[str, str]], count: int) -> list[int]:
    """Row numbers: actions in turn, validation before training, then by box_id, which is a hash and so no order."""
    by_action: dict[str, list[int]] = {}
    for index in sorted(range(len(rows)), key=lambda index: (rows[index]["split"] != "val", rows[index]["box_id"])):
        by_action.setdefault(rows[index]["action"], []).append(index)
    turns = [(turn, action, index) for action, found in by_action.items() for turn, index in enumerate(found)]
    return [index for _, _, index in sorted(turns)[:count]]


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _evenly(paths: list[Path], count: int) -> list[Path]:
    """So many of them, evenly spread; all where there are fewer."""
    return [paths[row] for row in np.unique(np.linspace(0, len(paths) - 1, count).round().astype(int))]


def _run(graph: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.concatenate([graph(torch.from_numpy(image[None])).numpy() for image in images])


def _write_crop_samples(folder: Path, inputs: RealInputs, logits: np.ndarray, count: int) -> tuple[CropSample, ...]:
    samples = []
    for index, content in enumerate(inputs.crops_png[:count]):
        name = f"samples/crop_{index:02d}.png"
        (folder / name).write_bytes(content)
        samples.append(CropSample(name, inputs.actions[index], _rounded(logits[index])))
    return tuple(samples)


def _write_frame_samples(
    folder: Path, reference: Reference, detector: DetectorManifest, count: int
) -> tuple[FrameSample, ...]:
    samples = []
    for index, (frame_rgb, output) in enumerate(zip(reference.frames_rgb[:count], reference.outputs, strict=False)):
        name = f"samples/frame_{index:02d}.png"
        (folder / name).write_bytes(encode_png(frame_rgb))
        boxes, scores = select_boxes(output, detector.score_threshold, detector.nms_iou, detector.max_hands)
        inside = np.clip(boxes, 0, detector.input_wh * 2)
        corners: Any = tuple(_rounded(box) for box in inside)
        samples.append(FrameSample(name, corners, _rounded(scores)))
    return tuple(samples)


def _write_view(folder: Path, training: TrainingView | None) -> ViewManifest | None:
    if training is None:
        print("the training pictures show no one view: stations will not check theirs", flush=True)
        return None
    name = "samples/view.png"
    (folder / name).write_bytes(encode_png(np.repeat(training.view.grey[..., None], 3, axis=2)))
    return ViewManifest(name, training.size_wh, training.view.blocks_xy_px)


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), DECIMALS) for value in values)


def _write_manifest(
    params: ExportParams,
    spec: ClassifierSpec,
    line: str,
    data_sha256: str,
    detector: DetectorManifest,
    crops: tuple[CropSample, ...],
    frames: tuple[FrameSample, ...],
    view: ViewManifest | None,
    folder: Path,
) -> None:
    if params.work:
        params.work.refuse_unknown(spec.labels, "release.work")
    preprocessing = spec.preprocessing
    classifier = ClassifierManifest(
        kind=params.classifier,
        labels=spec.labels,
        input_side_px=preprocessing.side_px,
        crop_context=params.crop_context,
        crop_side_px=params.crop_side_px,
        context_s=params.short_context.context_s,
        context_crops=params.short_context.context_crops,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
    files = {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in folder.rglob("*") if path.is_file()}
    manifest = Manifest(
        schema_version=MANIFEST_VERSION,
        line=line,
        data_sha256=data_sha256,
        setup=params.setup,
        detector=detector,
        classifier=classifier,
        events=params.events,
        files=files,
        crops=crops,
        frames=frames,
        view=view,
        work=params.work,
    )
    write_json(folder / MANIFEST, dataclasses.asdict(manifest))
