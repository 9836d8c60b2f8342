"""What a bundle says of itself, and the check that all its files are there as they were written."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lineact.bundle.networks import Setup
from lineact.bundle.work import WorkSettings
from lineact.context import ContextParams
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file
from lineact.settings import from_mapping

MANIFEST = "manifest.json"
MANIFEST_VERSION = 4
WITHOUT_VIEW = 3  # the version before had neither a view nor the standard work
WITHOUT_EVENTS = 2  # and that before it no settings of events
NETWORKS = ("detector", "classifier")
NETWORK_FILES = tuple(f"{network}.{suffix}" for network in NETWORKS for suffix in ("onnx", "xml", "bin"))
WAY_OUT = "copy the whole bundle again, or export it again with `dvc repro`"


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
        context_s: age of the oldest crop of a strip, seconds; 0 where a crop comes alone, see `lineact.context`.
        context_crops: crops of a strip; has no effect where `context_s` is 0.
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
    context_s: float = 0.0
    context_crops: int = 2

    @property
    def lags_s(self) -> tuple[float, ...]:
        """Ages of the crops that the classifier takes, seconds, from 0 on."""
        return ContextParams(self.context_s, self.context_crops).lags_s


@dataclass(frozen=True)
class EventSettings:
    """When an action of one hand counts as an event.

    Attributes:
        min_duration_s: an event begins where a hand shows an action for so long with no other one in between, seconds.
        max_gap_s: it goes on over gaps up to so long in which the hand is not seen or shows something shorter than
            `min_duration_s`, seconds. A frame stands for no longer than this, either.
    """

    min_duration_s: float = 0.5
    max_gap_s: float = 0.5

    def __post_init__(self) -> None:
        if self.min_duration_s < 0 or self.max_gap_s <= 0:
            raise ValueError("expected min_duration_s of at least 0 and max_gap_s above 0")


@dataclass(frozen=True)
class CropSample:
    """A real crop and the logits PyTorch gives for it.

    Attributes:
        file: PNG, `crop_side_px` square; of a strip so many of them, newest on top.
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
class ViewManifest:
    """What the camera saw in training when nobody moved; see `lineact.view`.

    Attributes:
        file: PNG, grey.
        size_wh: of the training pictures, pixels.
        blocks_xy_px: upper left corners of the blocks that are compared.
    """

    file: str
    size_wh: tuple[int, int]
    blocks_xy_px: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Manifest:
    """Everything `manifest.json` says.

    Attributes:
        schema_version: of the bundle's format.
        line: whose hands and actions these are.
        data_sha256: of what the pair was trained on: crops and detection set.
        setup: what ran the networks when the pair was evaluated, and what is to run them.
        detector: see `DetectorManifest`.
        classifier: see `ClassifierManifest`.
        events: with which the pair's events were evaluated, and with which they are to be reported.
        files: SHA-256 of every other file, by its path inside the folder.
        crops: samples for the classifier.
        frames: samples for the detector.
        view: of the training pictures; None where they show no one view, and in bundles of earlier versions.
        work: the line's standard work; None where it has none.
    """

    schema_version: int
    line: str
    data_sha256: str
    setup: Setup
    detector: DetectorManifest
    classifier: ClassifierManifest
    events: EventSettings
    files: dict[str, str]
    crops: tuple[CropSample, ...]
    frames: tuple[FrameSample, ...]
    view: ViewManifest | None = None
    work: WorkSettings | None = None

    @property
    def has_int8(self) -> bool:
        """Whether quantised networks are among the files."""
        return all(f"{network}.int8.{suffix}" in self.files for network in NETWORKS for suffix in ("xml", "bin"))


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest and checks that every file is there, with the hash it should have.

    Raises:
        InputError: naming the file, what was expected and what was found.
    """
    manifest = manifest_in(folder / MANIFEST)
    for name in manifest.files:
        _check_file(folder, name, manifest.files[name])
    return manifest


def manifest_in(path: Path) -> Manifest:
    """Reads the manifest alone; the bundle's files may be missing yet.

    Raises:
        InputError: where it is none, is of a version that this program does not know, or names files outside the
            bundle or not all that a bundle has.
    """
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a bundle's manifest, found nothing; {WAY_OUT}") from error
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found something else ({error}); {WAY_OUT}") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version == WITHOUT_EVENTS:  # a station's bundle outlives an update of its software
        values["events"] = {}
    elif isinstance(version, int) and version > MANIFEST_VERSION:
        raise InputError(
            f"{path}: expected a bundle of version {MANIFEST_VERSION} or older, found {version}; update lineact on "
            "this machine, or release with the version that it has"
        )
    elif version not in (MANIFEST_VERSION, WITHOUT_VIEW):
        raise InputError(f"{path}: expected a bundle of version {MANIFEST_VERSION}, found {version}; {WAY_OUT}")
    try:
        manifest = from_mapping(Manifest, values, str(path))
    except ConfigError as error:
        raise InputError(f"{error}; {WAY_OUT}") from error
    samples = {crop.file for crop in manifest.crops} | {frame.file for frame in manifest.frames}
    samples |= {manifest.view.file} if manifest.view else set()
    for name in sorted({*NETWORK_FILES, *samples} - set(manifest.files)):
        raise InputError(f"{path}: expected the hash of {name}, found none; {WAY_OUT}")
    for name in manifest.files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path}: expected files inside the bundle, found {name}; {WAY_OUT}")
    return manifest


def _check_file(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    if not path.is_file():
        raise InputError(f"{path}: expected a file of the bundle, found nothing; {WAY_OUT}")
    found = sha256_of_file(path)
    if found != expected:
        raise InputError(f"{path}: expected SHA-256 {expected[:12]}, found {found[:12]}: it was altered; {WAY_OUT}")
