"""Video as rows, one for each block of time: light, view, hands, confidence, actions, and how hands look.

Frames that follow each other are nearly one, so a block is what counts as one observation. Only numbers are kept: means
over a block, and a picture of 16 x 9 cells.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from lineact.errors import InputError
from lineact.files import write_whole
from lineact.temporal.features.student import Pair
from lineact.video import read_frames

CODE_VERSION = 1  # raise it where the same video gives other rows
NG = "NG"
CELLS_WH = (16, 9)
LOOK_CELLS = 4
LIGHT = ("brightness", "contrast", "sharpness", "red less green", "blue less green")
HANDS = ("hands a frame", "frames with hands", "size of hands", "hands' x", "hands' y")
CONFIDENCE = ("confidence", "share of NG", "entropy")
GROUPS = ("light", "view", "hands", "confidence", "actions", "looks")


@dataclass(frozen=True)
class SampleParams:
    """How video becomes rows; rows of other settings are not compared.

    Attributes:
        fps: frames a second that are looked at.
        block_s: length of a block, seconds; what changes within it is one observation.
    """

    fps: float = 2.0
    block_s: float = 20.0

    def __post_init__(self) -> None:
        if not self.fps > 0 or self.block_s * self.fps < 2:
            raise ValueError(f"expected at least two frames a block, found {self.fps} a second for {self.block_s} s")


@dataclass(frozen=True)
class Blocks:
    """Rows of blocks, by group.

    Attributes:
        groups: name to float64, B x D; NaN where a block had no hand.
        names: name to what its D numbers are.
    """

    groups: Mapping[str, np.ndarray]
    names: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        """How many blocks there are."""
        return len(self.groups["light"])


class Unsure(NamedTuple):
    """A hand that the pair was unsure of.

    Attributes:
        path: of its video.
        pts_s: when.
        confidence: 0 to 1.
        action: what it was taken for.
        crop_rgb: uint8, S x S x 3.
    """

    path: Path
    pts_s: float
    confidence: float
    action: str
    crop_rgb: np.ndarray


@dataclass
class Sampled:
    """What came of videos.

    Attributes:
        blocks: rows.
        unsure: hands, the least sure first.
        problems: a line for each video that broke off or could not be read.
    """

    blocks: Blocks
    unsure: list[Unsure]
    problems: list[str]


class _Frame(NamedTuple):
    light: np.ndarray
    cells: np.ndarray
    boxes_xywh: np.ndarray  # N x 4: centre and size as shares of the picture
    probabilities: np.ndarray  # N x K
    looks: np.ndarray  # N x 48


def sample_videos(paths: Iterable[Path], pair: Pair, params: SampleParams, most_unsure: int) -> Sampled:
    """Looks at videos.

    Args:
        paths: of the videos, in their order.
        pair: the release's.
        params: see `SampleParams`.
        most_unsure: so many unsure hands are kept.

    Raises:
        InputError: where there is not one whole block in all of them.
    """
    rows: list[dict[str, np.ndarray]] = []
    unsure: list[Unsure] = []
    problems: list[str] = []
    for path in paths:
        taken = _every(((frame.pts_s, frame.image_rgb) for frame in read_frames(path)), params.fps)
        try:
            rows += blocks_of(_looked_at(taken, path, pair, unsure, most_unsure), pair.labels, params)
        except InputError as error:  # what was read before counts
            problems.append(str(error))
    _keep_least_sure(unsure, most_unsure)
    if not rows:
        told = f"; {problems[0]}" if problems else ""
        raise InputError(f"expected at least {params.block_s:g} s of video, found less{told}")
    return Sampled(stack(rows, pair.labels), unsure, problems)


def frames_to_blocks(frames: Iterable[tuple[float, np.ndarray]], pair: Pair, params: SampleParams) -> Blocks:
    """Rows of pictures that come from anywhere.

    Args:
        frames: time in seconds and picture (uint8, H x W x 3), in order.
        pair: the release's.
        params: see `SampleParams`.
    """
    looked_at = ((pts_s, look_at(image_rgb, pair)[0]) for pts_s, image_rgb in frames)
    return stack(list(blocks_of(looked_at, pair.labels, params)), pair.labels)


def stack(rows: list[dict[str, np.ndarray]], labels: tuple[str, ...]) -> Blocks:
    """Rows of single blocks as tables."""
    cells = tuple(f"cell {column + 1}, {row + 1}" for row in range(CELLS_WH[1]) for column in range(CELLS_WH[0]))
    looks = tuple(
        f"{colour} of part {part + 1}" for part in range(LOOK_CELLS**2) for colour in ("red", "green", "blue")
    )
    names = {"light": LIGHT, "view": cells, "hands": HANDS, "confidence": CONFIDENCE, "actions": labels, "looks": looks}
    return Blocks({group: np.stack([row[group] for row in rows]) for group in GROUPS}, names)


def blocks_of(
    frames: Iterable[tuple[float, _Frame]], labels: tuple[str, ...], params: SampleParams
) -> Iterator[dict[str, np.ndarray]]:
    """A row for each block that is seen for most of its time; it begins with its first frame."""
    begin_s, block = 0.0, list[_Frame]()
    least = max(round(0.8 * params.block_s * params.fps), 2)
    for pts_s, frame in frames:
        if block and pts_s - begin_s >= params.block_s - 1e-6:
            if len(block) >= least:
                yield _row(block, labels)
            block = []
        if not block:
            begin_s = pts_s
        block.append(frame)
    if len(block) >= least:
        yield _row(block, labels)


def look_at(image_rgb: np.ndarray, pair: Pair) -> tuple[_Frame, np.ndarray]:
    """A frame in numbers, and its crops (uint8, N x S x S x 3)."""
    import cv2

    height, width = image_rgb.shape[:2]
    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
    red, green, blue = image_rgb.reshape(-1, 3).mean(axis=0)
    sharpness = np.log1p(float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0]))
    light = np.array([grey.mean(), grey.std(), sharpness, red - green, blue - green])
    cells = cv2.resize(grey, CELLS_WH, interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    boxes_xyxy_px, _ = pair.detect(image_rgb)
    crops_rgb = pair.crops(image_rgb, boxes_xyxy_px)
    x1, y1, x2, y2 = boxes_xyxy_px.T.astype(np.float64)
    boxes_xywh = np.stack(
        [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height], axis=1
    )
    if not len(crops_rgb):
        return _Frame(
            light, cells, boxes_xywh, np.zeros((0, len(pair.labels))), np.zeros((0, 3 * LOOK_CELLS**2))
        ), crops_rgb
    side = LOOK_CELLS, LOOK_CELLS
    looks = np.stack([cv2.resize(crop, side, interpolation=cv2.INTER_AREA).ravel() for crop in crops_rgb])
    return _Frame(light, cells, boxes_xywh, pair.classify(crops_rgb), looks.astype(np.float64)), crops_rgb


def _looked_at(
    frames: Iterable[tuple[float, np.ndarray]], path: Path, pair: Pair, unsure: list[Unsure], most_unsure: int
) -> Iterator[tuple[float, _Frame]]:
    for pts_s, image_rgb in frames:
        frame, crops_rgb = look_at(image_rgb, pair)
        for probabilities, crop_rgb in zip(frame.probabilities, crops_rgb, strict=True):
            action = pair.labels[int(probabilities.argmax())]
            unsure.append(Unsure(path, pts_s, float(probabilities.max()), action, crop_rgb))
        if len(unsure) > 2 * most_unsure:  # an hour of video would be half a gigabyte
            _keep_least_sure(unsure, most_unsure)
        yield pts_s, frame


def _keep_least_sure(unsure: list[Unsure], most: int) -> None:
    unsure.sort(key=lambda one: one.confidence)
    del unsure[most:]


def _every(frames: Iterable[tuple[float, np.ndarray]], fps: float) -> Iterator[tuple[float, np.ndarray]]:
    due_s = -np.inf
    for pts_s, image_rgb in frames:
        if pts_s >= due_s - 1e-3:  # timestamps are rounded to the container's clock
            due_s = max(due_s, pts_s - 1 / fps) + 1 / fps
            yield pts_s, image_rgb


def _row(block: list[_Frame], labels: tuple[str, ...]) -> dict[str, np.ndarray]:
    # the median over the block leaves out what moves; light is told by a group of its own
    cells = np.median([frame.cells for frame in block], axis=0)
    view = (cells - cells.mean()) / max(float(cells.std()), 1e-6)
    counts = np.array([len(frame.boxes_xywh) for frame in block])
    boxes = np.concatenate([frame.boxes_xywh for frame in block])
    probabilities = np.concatenate([frame.probabilities for frame in block])
    looks = np.concatenate([frame.looks for frame in block])
    row = {"light": np.mean([frame.light for frame in block], axis=0), "view": view}
    if not len(boxes):
        hands = np.array([0.0, 0.0, np.nan, np.nan, np.nan])
        nothing = {"confidence": len(CONFIDENCE), "actions": len(labels), "looks": looks.shape[1]}
        return row | {"hands": hands} | {group: np.full(size, np.nan) for group, size in nothing.items()}
    size = 0.5 * np.log(boxes[:, 2] * boxes[:, 3] + 1e-9)
    hands = np.array([counts.mean(), (counts > 0).mean(), size.mean(), boxes[:, 0].mean(), boxes[:, 1].mean()])
    entropy = -(probabilities * np.log(probabilities + 1e-9)).sum(axis=1)
    irrelevant = probabilities[:, labels.index(NG)] if NG in labels else np.zeros(len(probabilities))
    confidence = np.array([probabilities.max(axis=1).mean(), irrelevant.mean(), entropy.mean()])
    return row | {
        "hands": hands,
        "confidence": confidence,
        "actions": probabilities.mean(axis=0),
        "looks": looks.mean(axis=0),
    }


def write_blocks(path: Path, blocks: Blocks, params: SampleParams, bundle_sha256: str) -> None:
    """Keeps rows as a release's reference.

    Args:
        path: .npz.
        blocks: the rows.
        params: that they were made with.
        bundle_sha256: of the release.
    """
    tables: dict[str, Any] = {f"group_{name}": table for name, table in blocks.groups.items()}
    tables |= {"code": CODE_VERSION, "fps": params.fps, "block_s": params.block_s, "bundle": bundle_sha256}
    tables["labels"] = np.array(blocks.names["actions"])
    write_whole(path, lambda file: np.savez_compressed(file, **tables))


def read_blocks(path: Path, bundle_sha256: str) -> tuple[Blocks, SampleParams]:
    """Reads a reference.

    Raises:
        InputError: where it is none, or of another release or version.
    """
    way_out = "take it anew with REFERENCE=yes"
    try:
        with np.load(path, allow_pickle=False) as stored:
            if int(stored["code"]) != CODE_VERSION or str(stored["bundle"]) != bundle_sha256:
                raise InputError(f"{path}: expected the reference of this release, found another's; {way_out}")
            rows = {group: stored[f"group_{group}"] for group in GROUPS}
            labels = tuple(map(str, stored["labels"]))
            params = SampleParams(float(stored["fps"]), float(stored["block_s"]))
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected what the station saw at first, found nothing; {way_out}") from error
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{path}: expected a reference, found something else ({error}); {way_out}") from error
    singles = [{group: rows[group][number] for group in GROUPS} for number in range(len(rows["light"]))]
    return stack(singles, labels), params
