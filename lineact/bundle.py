"""The released pair: a detector of hands and a classifier of actions in one folder, and how a frame goes through them.

The folder holds `manifest.json`, both networks as ONNX and as OpenVINO, and samples with the outputs they must give.
Both networks take uint8 RGB images, N x H x W x 3; scaling to 0..1 and the classifier's mean and standard deviation
are inside the graphs, so every runtime gets the same bytes. Imports no torch: this is what runs at the station.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from lineact.boxes import crop_square, iou_matrix
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file
from lineact.settings import from_mapping

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
NETWORKS = ("detector", "classifier")
NETWORK_FILES = tuple(f"{network}.{suffix}" for network in NETWORKS for suffix in ("onnx", "xml", "bin"))
SAME_IOU = 0.7  # from this IoU on two runtimes mean the same box
PAD_VALUE = 114  # grey of the detector's borders, as ultralytics trains it

Runtime = Literal["openvino", "onnxruntime"]
Precision = Literal["f32", "bf16", "f16"]


@dataclass(frozen=True)
class DetectorManifest:
    """How frames become the detector's input, and its output boxes.

    Attributes:
        input_wh: width and height of the input, pixels. A frame is scaled to fit, keeping its shape, and centred on
            grey 114.
        score_threshold: boxes below are no hands, 0 to 1.
        nms_iou: of two boxes that overlap by more, the lower-scored one is dropped, 0 to 1.
        max_hands: most boxes of a frame.
    """

    input_wh: tuple[int, int]
    score_threshold: float
    nms_iou: float
    max_hands: int


@dataclass(frozen=True)
class ClassifierManifest:
    """How a box becomes the classifier's input, and what its outputs mean.

    Attributes:
        kind: "student" or "teacher".
        labels: of the outputs, in order; "NG" is the last.
        input_side_px: side of the square input.
        crop_context: the crop's side is this factor times the box's longer side.
        crop_side_px: side to which the crop is scaled first, as the training crops were.
        mean: per channel (RGB) of values scaled to 0..1; inside the graph, named here for the reader.
        std: likewise.
    """

    kind: str
    labels: tuple[str, ...]
    input_side_px: int
    crop_context: float
    crop_side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class CropSample:
    """A real crop and the logits PyTorch gives for it.

    Attributes:
        file: PNG, `crop_side_px` square.
        action: what it shows.
        logits: one per label.
    """

    file: str
    action: str
    logits: tuple[float, ...]


@dataclass(frozen=True)
class FrameSample:
    """A real frame, scaled to the detector's input, and what PyTorch and the post-processing find on it.

    Attributes:
        file: PNG of `input_wh`.
        boxes_xyxy_px: boxes at or above the score threshold, in pixels of the file.
        scores: one per box.
    """

    file: str
    boxes_xyxy_px: tuple[tuple[float, float, float, float], ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything `manifest.json` says.

    Attributes:
        schema_version: of the bundle's format.
        line: whose hands and actions these are.
        data_sha256: of what the pair was trained on: crops and detection set.
        detector: see `DetectorManifest`.
        classifier: see `ClassifierManifest`.
        files: SHA-256 of every other file, by its path inside the folder.
        crops: samples for the classifier.
        frames: samples for the detector.
    """

    schema_version: int
    line: str
    data_sha256: str
    detector: DetectorManifest
    classifier: ClassifierManifest
    files: dict[str, str]
    crops: tuple[CropSample, ...]
    frames: tuple[FrameSample, ...]


class Hand(NamedTuple):
    """A recognised hand.

    Attributes:
        box_xyxy_px: float32, 4, pixels of the frame.
        score: of the detector, 0 to 1.
        action: the surest label.
        confidence: its probability, 0 to 1.
    """

    box_xyxy_px: np.ndarray
    score: float
    action: str
    confidence: float


class Network(Protocol):
    """A loaded network."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 N x H x W x 3 -> float32 output."""


class Bundle:
    """A loaded pair. Not for use by several threads at once.

    Attributes:
        folder: where it lies.
        manifest: what it says of itself.
        runtime: what runs the networks.
        precision: of their arithmetic.
    """

    def __init__(self, folder: Path, manifest: Manifest, runtime: Runtime, precision: Precision, threads: int) -> None:
        self.folder = folder
        self.manifest = manifest
        self.runtime = runtime
        self.precision = precision
        self._detector = open_network(folder, "detector", runtime, precision, threads)
        self._classifier = open_network(folder, "classifier", runtime, precision, threads)

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the classifier's outputs, in order; "NG" is the last."""
        return self.manifest.classifier.labels

    @property
    def score_threshold(self) -> float:
        """Boxes below are no hands, 0 to 1."""
        return self.manifest.detector.score_threshold

    def detect(self, image_rgb: np.ndarray, min_score: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Finds hands.

        Args:
            image_rgb: uint8, H x W x 3.
            min_score: in place of the manifest's score threshold, 0 to 1.

        Returns:
            boxes_xyxy_px (float32, N x 4, inside the image) and scores (float32, N, falling).
        """
        spec = self.manifest.detector
        fitted, placement = fit_into(image_rgb, spec.input_wh)
        output = self._detector(fitted[None])[0]  # 4 + classes x anchors
        threshold = self.score_threshold if min_score is None else min_score
        boxes_xyxy_px, scores = select_boxes(output, threshold, spec.nms_iou, spec.max_hands)
        return placement.to_source(boxes_xyxy_px), scores

    def logits(self, crops_rgb: np.ndarray) -> np.ndarray:
        """The classifier's raw outputs.

        Args:
            crops_rgb: uint8, N x S x S x 3, of any side S; scaled to the input where it differs.

        Returns:
            float32, N x labels.
        """
        side_px = self.manifest.classifier.input_side_px
        if not len(crops_rgb):
            return np.zeros((0, len(self.labels)), np.float32)
        return self._classifier(np.stack([scale_crop(crop, side_px) for crop in crops_rgb]))

    def classify(self, crops_rgb: np.ndarray) -> np.ndarray:
        """Probabilities of the labels.

        Args:
            crops_rgb: see `logits`.

        Returns:
            float32, N x labels, rows sum to 1.
        """
        logits = self.logits(crops_rgb)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def crops(self, image_rgb: np.ndarray, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """Cuts the squares around boxes exactly as the training crops were cut.

        Returns:
            uint8, N x crop_side_px x crop_side_px x 3.
        """
        spec = self.manifest.classifier
        crops = np.empty((len(boxes_xyxy_px), spec.crop_side_px, spec.crop_side_px, 3), np.uint8)
        for row, box_xyxy_px in enumerate(boxes_xyxy_px):
            crops[row] = crop_square(image_rgb, box_xyxy_px, spec.crop_context, spec.crop_side_px)
        return crops

    def recognise(self, image_rgb: np.ndarray) -> list[Hand]:
        """Finds hands and names their actions.

        Args:
            image_rgb: uint8, H x W x 3.

        Returns:
            One entry per hand, surest detection first.
        """
        boxes_xyxy_px, scores = self.detect(image_rgb)
        probabilities = self.classify(self.crops(image_rgb, boxes_xyxy_px))
        return [
            Hand(box_xyxy_px, float(score), self.labels[row.argmax()], float(row.max()))
            for box_xyxy_px, score, row in zip(boxes_xyxy_px, scores, probabilities, strict=True)
        ]

    def logits_difference(self) -> float:
        """Greatest difference between the samples' logits and those that PyTorch gave at export."""
        samples = self.manifest.crops
        crops_rgb = np.stack([read_png(self.folder / sample.file) for sample in samples])
        expected = np.array([sample.logits for sample in samples])
        return float(np.abs(self.logits(crops_rgb) - expected).max())

    def scores_difference(self) -> float:
        """Greatest difference between the scores of boxes on the sample frames and those that PyTorch gave at export.

        A box that one of the two lacks counts with what its score exceeds the threshold by.
        """
        worst = 0.0
        for sample in self.manifest.frames:
            expected = np.array(sample.boxes_xyxy_px, np.float32).reshape(-1, 4), np.array(sample.scores, np.float32)
            found = self.detect(read_png(self.folder / sample.file))
            for ours, theirs in ((expected, found), (found, expected)):
                iou = iou_matrix(ours[0], theirs[0])  # N x M
                same = iou >= SAME_IOU
                others = np.where(same, theirs[1], -np.inf).max(axis=1, initial=self.score_threshold)
                worst = max(worst, float(np.abs(ours[1] - others).max(initial=0)))
        return worst


def load_bundle(
    folder: Path, runtime: Runtime = "openvino", *, precision: Precision = "f32", threads: int = 1
) -> Bundle:
    """Loads a bundle after checking every file.

    Args:
        folder: holds manifest.json.
        runtime: what runs the networks.
        precision: of the arithmetic; the stored weights are f32 always.
        threads: CPU threads of the runtime.

    Raises:
        InputError: where a file is missing or altered, or the manifest is none.
        ConfigError: where this machine has no such precision in that runtime.
    """
    if precision not in supported_precisions(runtime):
        found = ", ".join(supported_precisions(runtime))
        raise ConfigError(f"{runtime}: expected a precision that this machine has ({found}), found {precision}")
    return Bundle(folder, read_manifest(folder), runtime, precision, threads)


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest and checks that every file is there, with the hash it should have.

    Raises:
        InputError: naming the file, what was expected and what was found.
    """
    path = folder / MANIFEST
    way_out = "copy the whole bundle again, or export it again with `dvc repro`"
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a bundle's manifest, found nothing; {way_out}") from error
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found something else ({error}); {way_out}") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != MANIFEST_VERSION:
        raise InputError(f"{path}: expected a bundle of version {MANIFEST_VERSION}, found {version}; {way_out}")
    try:
        manifest = from_mapping(Manifest, values, str(path))
    except ConfigError as error:
        raise InputError(f"{error}; {way_out}") from error
    samples = {crop.file for crop in manifest.crops} | {frame.file for frame in manifest.frames}
    for name in sorted({*NETWORK_FILES, *samples, *manifest.files}):
        _check_file(folder, name, manifest.files.get(name), way_out)
    return manifest


def _check_file(folder: Path, name: str, expected: str | None, way_out: str) -> None:
    path = folder / name
    if expected is None:
        raise InputError(f"{folder / MANIFEST}: expected the hash of {name}, found none; {way_out}")
    if not path.is_file():
        raise InputError(f"{path}: expected a file of the bundle, found nothing; {way_out}")
    found = sha256_of_file(path)
    if found != expected:
        raise InputError(f"{path}: expected SHA-256 {expected[:12]}, found {found[:12]}: it was altered; {way_out}")


def supported_precisions(runtime: Runtime) -> tuple[Precision, ...]:
    """Precisions in which the runtime computes on this machine's CPU, f32 first."""
    if runtime == "onnxruntime":
        return ("f32",)  # other precisions would need other weights
    import openvino

    # Without the instructions OpenVINO takes another precision in silence, so ask first.
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    names = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
    return tuple(precision for precision in get_args(Precision) if names[precision] in capabilities)


@dataclass(frozen=True)
class Placement:
    """Where a frame lies in the detector's input.

    Attributes:
        left_px: empty columns before it.
        top_px: empty rows above it.
        scale_xy: input pixels per pixel of the frame.
        source_wh: the frame's size.
    """

    left_px: int
    top_px: int
    scale_xy: tuple[float, float]
    source_wh: tuple[int, int]

    def to_source(self, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """Takes boxes (float, N x 4) from the input's pixels to the frame's, and cuts them at its edges."""
        offset = np.array([self.left_px, self.top_px] * 2, np.float32)
        boxes = (boxes_xyxy_px - offset) / np.array(self.scale_xy * 2, np.float32)
        return np.clip(boxes, 0, np.array(self.source_wh * 2, np.float32)).astype(np.float32)


def fit_into(image_rgb: np.ndarray, input_wh: tuple[int, int]) -> tuple[np.ndarray, Placement]:
    """Scales an image to fit, keeping its shape, and centres it on grey, as ultralytics' letterbox does.

    Args:
        image_rgb: uint8, H x W x 3.
        input_wh: width and height of the result.

    Returns:
        uint8, height x width x 3 of `input_wh`, and where the image lies in it.
    """
    import cv2

    height, width = image_rgb.shape[:2]
    scale = min(input_wh[0] / width, input_wh[1] / height)
    fitted_w, fitted_h = max(round(width * scale), 1), max(round(height * scale), 1)
    scaled = image_rgb
    if (fitted_w, fitted_h) != (width, height):
        scaled = cv2.resize(image_rgb, (fitted_w, fitted_h), interpolation=cv2.INTER_LINEAR)
    left_px, top_px = (input_wh[0] - fitted_w) // 2, (input_wh[1] - fitted_h) // 2
    placement = Placement(left_px, top_px, (fitted_w / width, fitted_h / height), (width, height))
    if (fitted_w, fitted_h) == tuple(input_wh):
        return np.ascontiguousarray(scaled), placement
    canvas = np.full((input_wh[1], input_wh[0], 3), PAD_VALUE, np.uint8)
    canvas[top_px : top_px + fitted_h, left_px : left_px + fitted_w] = scaled
    return canvas, placement


def select_boxes(
    output: np.ndarray, score_threshold: float, nms_iou: float, max_hands: int
) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds the detector's output and suppresses overlapping boxes (greedy, surest first).

    Args:
        output: float32, (4 + classes) x anchors: x1, y1, x2, y2 in pixels of the input, then scores 0 to 1.
        score_threshold: least score.
        nms_iou: greatest IoU of two kept boxes.
        max_hands: most boxes kept.

    Returns:
        boxes_xyxy_px (float32, N x 4) and scores (float32, N, falling).
    """
    scores = output[4:].max(axis=0)  # anchors
    candidates = np.flatnonzero(scores >= score_threshold)
    # Among thousands of weak candidates (low thresholds, untrained nets) only the surest can matter.
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")][: 50 * max_hands]
    boxes_xyxy_px = output[:4, candidates].T
    iou = iou_matrix(boxes_xyxy_px, boxes_xyxy_px)
    kept: list[int] = []
    for row in range(len(candidates)):
        if len(kept) == max_hands:
            break
        if not kept or iou[row, kept].max() <= nms_iou:
            kept.append(row)
    return np.ascontiguousarray(boxes_xyxy_px[kept]), scores[candidates[kept]]


def scale_crop(crop_rgb: np.ndarray, side_px: int) -> np.ndarray:
    """Scales a square crop to the classifier's input, as the training does.

    Args:
        crop_rgb: uint8, S x S x 3.
        side_px: side of the result.
    """
    import cv2

    if crop_rgb.shape[0] == side_px:
        return crop_rgb
    shrinks = crop_rgb.shape[0] > side_px
    return cv2.resize(crop_rgb, (side_px, side_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def read_png(path: Path) -> np.ndarray:
    """Reads an image file.

    Returns:
        uint8, H x W x 3, RGB.

    Raises:
        InputError: where it is no image.
    """
    import cv2

    image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image_bgr is None:
        raise InputError(f"{path}: expected an image, found none")
    return np.ascontiguousarray(image_bgr[..., ::-1])


def open_network(folder: Path, name: str, runtime: Runtime, precision: Precision, threads: int) -> Network:
    """Loads one network of a bundle: uint8 N x H x W x 3 -> float32.

    Args:
        folder: the bundle's.
        name: "detector" or "classifier".
        runtime: what runs it.
        precision: of the arithmetic; must be one of `supported_precisions`.
        threads: CPU threads.
    """
    if runtime == "openvino":
        return _open_with_openvino(folder / f"{name}.xml", precision, threads)
    return _open_with_onnxruntime(folder / f"{name}.onnx", threads)


def _open_with_openvino(path: Path, precision: Precision, threads: int) -> Network:
    import openvino

    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,  # its own default is bf16 where the CPU has it
    }
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()

    def run(images: np.ndarray) -> np.ndarray:
        request.infer({0: images})
        return request.get_output_tensor(0).data.copy()  # the next call overwrites it

    return run


def _open_with_onnxruntime(path: Path, threads: int) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: np.ndarray) -> np.ndarray:
        return session.run(None, {name: images})[0]

    return run
