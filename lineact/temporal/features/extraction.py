"""From a video to its features: whatever makes the rows, they come with what they cost, and are made once."""

import dataclasses
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from lineact.errors import ConfigError, InputError
from lineact.files import cache_folder, sha256_of_file, write_json
from lineact.process_memory import forget_memory_peak, memory_peak_mb
from lineact.temporal.features import ClipParams, Features, Rate, read_features, write_features
from lineact.video import read_frames, video_facts

CODE_VERSION = 1  # raise where the same video would give other rows
COST_FILE = "cost.json"


@dataclass(frozen=True)
class Extraction:
    """A video's features and what they cost.

    Attributes:
        features: the rows.
        seconds: that it took, decoding included.
        peak_memory_mb: greatest resident memory of the process meanwhile, 10^6 bytes, its libraries included.
    """

    features: Features
    seconds: float
    peak_memory_mb: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for each second of video."""
        return self.seconds / self.features.duration_s


class Extractor(Protocol):
    """What makes a video's rows."""

    @property
    def key(self) -> Mapping[str, object]:
        """All that decides the rows but the video and `ClipParams`: name, weights, settings."""

    def extract(self, path: Path, video: str, params: ClipParams) -> Extraction:
        """Rows of a video.

        Args:
            path: of the video.
            video: its name in the features.
            params: see `ClipParams`.

        Raises:
            InputError: where it is no video, or shorter than one clip.
        """


@dataclass(frozen=True)
class Region:
    """The part of the picture that is looked at, as shares of its width and height.

    Attributes:
        x1, y1: upper left corner, 0 to 1.
        x2, y2: lower right corner, beyond the first.
    """

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        if not (0 <= self.x1 < self.x2 <= 1 and 0 <= self.y1 < self.y2 <= 1):
            found = f"{self.x1:g}, {self.y1:g}, {self.x2:g}, {self.y2:g}"
            raise ValueError(f"region: expected x1, y1, x2, y2 with 0 <= x1 < x2 <= 1, and y likewise, found {found}")

    def cut(self, image_rgb: np.ndarray) -> np.ndarray:
        """The region of a picture (H x W x 3), at least one pixel."""
        height, width = image_rgb.shape[:2]
        x1, y1 = int(self.x1 * width), int(self.y1 * height)
        return image_rgb[y1 : max(round(self.y2 * height), y1 + 1), x1 : max(round(self.x2 * width), x1 + 1)]


class Network(Protocol):
    """What makes rows of clips: `lineact.temporal.features.network.ClipNetwork`, or several side by side."""

    @property
    def name(self) -> str:
        """Of the family."""

    @property
    def identity(self) -> str:
        """Changes with the weights' bytes."""

    @property
    def side_px(self) -> int:
        """Side of the pictures that it takes."""

    @property
    def stack(self) -> int | None:
        """Frames that its clips must have; None for any number."""

    def start(self) -> Callable[[np.ndarray], np.ndarray]:
        """For one video: pictures in their order (uint8, side_px x side_px x 3) to what clips are made of
        (uint8, side_px x side_px x C).
        """

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Rows, float32, N x D, of clips, uint8, N x stack x side_px x side_px x C."""


@dataclass(frozen=True)
class NetworkExtractor:
    """Rows of a network that sees clips.

    Attributes:
        network: the network.
        region: what it sees of the picture; None for all.
        batch: clips that go through it together.
    """

    network: Network
    region: Region | None
    batch: int

    @property
    def key(self) -> Mapping[str, object]:
        """See `Extractor`."""
        region = None if self.region is None else dataclasses.astuple(self.region)
        return {"network": self.network.name, "weights": self.network.identity, "region": region}

    def extract(self, path: Path, video: str, params: ClipParams) -> Extraction:
        """Reads a video once; memory does not grow with its length but by the rows. See `Extractor`.

        Raises:
            ConfigError: where the network takes clips of another number of frames.
        """
        wanted = self.network.stack
        if wanted not in (None, params.stack):
            raise ConfigError(
                f"features.stack: {self.network.name} takes clips of {wanted} frames, found {params.stack}"
            )
        cost = Cost()
        counted = Counted()
        times_s: list[float] = []
        # One buffer: small arrays that stay would lie between the pictures' places, which then cannot be used again.
        rows = bytearray()
        for clip_times_s, clips in self._batches(path, params, counted):
            times_s += clip_times_s
            rows += self.network(clips).tobytes()
        if not times_s:
            raise too_short(path, params, counted.frames)
        duration_s = length_s(path, counted.end_s)
        values = np.frombuffer(rows, np.float32).reshape(len(times_s), -1)
        return cost.of(Features(video, np.array(times_s), values, duration_s))

    def _batches(self, path: Path, params: ClipParams, counted: "Counted") -> Iterator[tuple[list[float], np.ndarray]]:
        """Middle times of some clips, seconds from the first frame, and the clips."""
        times_s: list[float] = []
        clips: list[np.ndarray] = []
        for middle_s, clip in self._clips(path, params, counted):
            times_s.append(middle_s)
            clips.append(clip)
            if len(clips) == self.batch:
                yield times_s, np.stack(clips)
                times_s, clips = [], []
        if clips:
            yield times_s, np.stack(clips)

    def _clips(self, path: Path, params: ClipParams, counted: "Counted") -> Iterator[tuple[float, np.ndarray]]:
        prepare = self.network.start()
        held: deque[tuple[float, np.ndarray]] = deque(maxlen=params.stack)
        for time_s, image_rgb in _chosen(path, params.fps, counted):
            held.append((time_s, prepare(self._small(image_rgb))))
            if counted.frames >= params.stack and (counted.frames - params.stack) % params.step == 0:
                yield (held[0][0] + held[-1][0]) / 2, np.stack([frame for _, frame in held])

    def _small(self, image_rgb: np.ndarray) -> np.ndarray:
        seen = image_rgb if self.region is None else self.region.cut(image_rgb)
        side = self.network.side_px
        return np.asarray(cv2.resize(seen, (side, side), interpolation=cv2.INTER_AREA))


@dataclass
class Counted:
    """What was seen of a video so far.

    Attributes:
        frames: that were looked at.
        end_s: time of the last frame, looked at or not, seconds from the first.
    """

    frames: int = 0
    end_s: float = 0.0


def _chosen(path: Path, fps: float, counted: Counted) -> Iterator[tuple[float, np.ndarray]]:
    first_s: float | None = None
    rate = Rate(fps)
    for frame in read_frames(path):
        first_s = frame.pts_s if first_s is None else first_s
        counted.end_s = frame.pts_s - first_s
        if rate.takes(frame.pts_s):
            counted.frames += 1
            yield counted.end_s, frame.image_rgb


def length_s(path: Path, last_frame_s: float) -> float:
    """A video's length, seconds; where it is not declared, the last frame is shown as long as any other."""
    facts = video_facts(path)
    return facts.duration_s or last_frame_s + 1 / facts.fps


class Cost:
    """Measures from its making on."""

    def __init__(self) -> None:
        forget_memory_peak()
        self._began_s = time.perf_counter()

    def of(self, features: Features) -> Extraction:
        """What these features have cost."""
        return Extraction(features, time.perf_counter() - self._began_s, memory_peak_mb())


def too_short(path: Path, params: ClipParams, frames: int) -> InputError:
    """The error of a video that has no whole clip."""
    return InputError(
        f"{path}: expected a video of at least one clip, {params.stack} frames at {params.fps:g} a second, found "
        f"{frames} frames; leave it out, or set a shorter stack"
    )


def extract_once(extractor: Extractor, path: Path, video: str, params: ClipParams) -> Extraction:
    """A video's rows from the cache, or made and put there; so a killed run goes on with the video that it was at.

    The cost is that of the making.

    Args:
        extractor: what makes the rows.
        path: of the video.
        video: its name in the features.
        params: see `ClipParams`.

    Raises:
        InputError: see `Extractor`.
    """
    key = {"code": CODE_VERSION, "video": sha256_of_file(path), "clips": dataclasses.asdict(params), **extractor.key}
    folder = cache_folder("features", key)
    stored, cost = folder / "features.npz", folder / COST_FILE
    if not cost.is_file():
        extraction = extractor.extract(path, video, params)
        extraction = dataclasses.replace(extraction, features=_made(extraction.features, extractor))
        write_features(stored, extraction.features)
        numbers = {"seconds": extraction.seconds, "peak_memory_mb": extraction.peak_memory_mb}
        write_json(cost, numbers)  # last: without it the video is extracted again
        return extraction
    features = dataclasses.replace(read_features(stored), video=video)
    return Extraction(_made(features, extractor), **json.loads(cost.read_text()))


def maker_of(extractor: Extractor) -> str:
    """What makes rows: hex SHA-256; empty of imported arrays, whose files say nothing of their network."""
    key = extractor.key
    return "" if "imported" in key else sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def _made(features: Features, extractor: Extractor) -> Features:
    return dataclasses.replace(features, made_by=maker_of(extractor))
