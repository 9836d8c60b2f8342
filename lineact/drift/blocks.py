"""Video as rows, one for each block of time: light, view, hands, their places, colours and shapes, confidence, actions.

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

CODE_VERSION = 2  # raise it where the same video gives other rows
NG = "NG"
CELLS_WH = (16, 9)
COLOUR_LEVELS = 4  # of red, of green and of blue
SHAPE_PX, SHAPE_CELLS, DIRECTIONS = 48, 4, 8
LIGHT = ("brightness", "contrast", "sharpness", "red less green", "blue less green")
HANDS = ("hands a frame", "frames with hands", "size of hands", "hands' x", "hands' y")
CONFIDENCE = ("confidence", "share of NG", "entropy")
GROUPS = ("light", "view", "hands", "places", "confidence", "actions", "colours", "shapes")


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


class TooLittleVideoError(InputError):
    """Too little was seen to say anything of it."""


class Unsure(NamedTuple):
    """A hand that the pair was unsure of.

    Attributes:
        path: of its video.
        at_s: when: the file's own time (POSIX) and the frame's within it, seconds.
        confidence: 0 to 1.
        action: what it was taken for.
        crop_rgb: uint8, S x S x 3.
    """

    path: Path
    at_s: float
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
    colours: np.ndarray  # N x COLOUR_LEVELS ** 3: share of the crop's middle that has them
    shapes: np.ndarray  # N x SHAPE_CELLS ** 2 * DIRECTIONS: where the crop has edges, and of which direction


def sample_videos(paths: Iterable[Path], pair: Pair, params: SampleParams, most_unsure: int) -> Sampled:
    """Looks at videos.

    Args:
        paths: of the videos, in their order.
        pair: the release's.
        params: see `SampleParams`.
        most_unsure: so many unsure hands are kept.

    Raises:
        TooLittleVideoError: where there is not one whole block in all of them.
        InputError: likewise, and of a video that broke off.
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
        except FileNotFoundError:  # a look takes long, and a station keeps its last hours alone
            problems.append(f"{path}: removed before it was looked at")
    _keep_least_sure(unsure, most_unsure)
    if not rows:
        expected = f"expected at least {params.block_s:g} s of video, found less"
        raise InputError(f"{expected}; {problems[0]}") if problems else TooLittleVideoError(expected)
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
    levels = [round((level + 0.5) * 256 / COLOUR_LEVELS) for level in range(COLOUR_LEVELS)]
    colours = tuple(f"about rgb({red}, {green}, {blue})" for red in levels for green in levels for blue in levels)
    turns = [round(turn * 360 / DIRECTIONS) for turn in range(DIRECTIONS)]
    shapes = tuple(f"edges of part {part + 1} to {turn} degrees" for part in range(SHAPE_CELLS**2) for turn in turns)
    names = {"light": LIGHT, "view": cells, "hands": HANDS, "places": cells, "confidence": CONFIDENCE}
    names |= {"actions": labels, "colours": colours, "shapes": shapes}
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
    return _Frame(
        light, cells, boxes_xywh, pair.classify(crops_rgb), colours_of(crops_rgb), shapes_of(crops_rgb)
    ), crops_rgb


def colours_of(crops_rgb: np.ndarray) -> np.ndarray:
    """Of which colours the middle of crops is, where the hand lies.

    Args:
        crops_rgb: uint8, N x S x S x 3.

    Returns:
        float64, N x COLOUR_LEVELS ** 3, rows sum to 1.
    """
    edge = crops_rgb.shape[1] // 4
    middle = crops_rgb[:, edge:-edge, edge:-edge]
    levels = middle.astype(np.intp) * COLOUR_LEVELS // 256
    codes = (levels[..., 0] * COLOUR_LEVELS + levels[..., 1]) * COLOUR_LEVELS + levels[..., 2]  # N x H x W
    counts = [np.bincount(code.ravel(), minlength=COLOUR_LEVELS**3) / code.size for code in codes]
    return np.array(counts).reshape(-1, COLOUR_LEVELS**3)


def shapes_of(crops_rgb: np.ndarray) -> np.ndarray:
    """Histograms of gradients (Dalal and Triggs 2005), without their overlapping blocks.

    Args:
        crops_rgb: uint8, N x S x S x 3.

    Returns:
        float64, N x SHAPE_CELLS ** 2 * DIRECTIONS, rows of length 1, or 0 where a crop has no edge.
    """
    import cv2

    cell_px = SHAPE_PX // SHAPE_CELLS
    rows, columns = np.mgrid[:SHAPE_PX, :SHAPE_PX] // cell_px
    found = np.zeros((len(crops_rgb), SHAPE_CELLS**2 * DIRECTIONS))
    for number, crop_rgb in enumerate(crops_rgb):
        small = cv2.resize(crop_rgb, (SHAPE_PX, SHAPE_PX), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
        strength, turn_deg = cv2.cartToPolar(across, down, angleInDegrees=True)
        direction = (turn_deg * DIRECTIONS / 360).round().astype(np.intp) % DIRECTIONS
        cell = (rows * SHAPE_CELLS + columns) * DIRECTIONS + direction
        histogram = np.bincount(cell.ravel(), strength.ravel(), found.shape[1])
        found[number] = histogram / max(float(np.linalg.norm(histogram)), 1e-9)
    return found


def _looked_at(
    frames: Iterable[tuple[float, np.ndarray]], path: Path, pair: Pair, unsure: list[Unsure], most_unsure: int
) -> Iterator[tuple[float, _Frame]]:
    written_at_s = path.stat().st_mtime
    for pts_s, image_rgb in frames:
        frame, crops_rgb = look_at(image_rgb, pair)
        for probabilities, crop_rgb in zip(frame.probabilities, crops_rgb, strict=True):
            action = pair.labels[int(probabilities.argmax())]
            unsure.append(Unsure(path, written_at_s + pts_s, float(probabilities.max()), action, crop_rgb))
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
    row = {"light": np.mean([frame.light for frame in block], axis=0), "view": view}
    if not len(boxes):
        hands = np.array([0.0, 0.0, np.nan, np.nan, np.nan])
        sizes = {"places": cells.size, "confidence": len(CONFIDENCE), "actions": len(labels)}
        sizes |= {"colours": COLOUR_LEVELS**3, "shapes": SHAPE_CELLS**2 * DIRECTIONS}
        return row | {"hands": hands} | {group: np.full(size, np.nan) for group, size in sizes.items()}
    size = 0.5 * np.log(boxes[:, 2] * boxes[:, 3] + 1e-9)
    hands = np.array([counts.mean(), (counts > 0).mean(), size.mean(), boxes[:, 0].mean(), boxes[:, 1].mean()])
    entropy = -(probabilities * np.log(probabilities + 1e-9)).sum(axis=1)
    irrelevant = probabilities[:, labels.index(NG)] if NG in labels else np.zeros(len(probabilities))
    confidence = np.array([probabilities.max(axis=1).mean(), irrelevant.mean(), entropy.mean()])
    # roots of shares: what was never seen before counts, however rare it is
    return row | {
        "hands": hands,
        "places": np.sqrt(_places(boxes[:, :2])),
        "confidence": confidence,
        "actions": probabilities.mean(axis=0),
        "colours": np.sqrt(np.concatenate([frame.colours for frame in block]).mean(axis=0)),
        "shapes": np.concatenate([frame.shapes for frame in block]).mean(axis=0),
    }


def _places(centres_xy: np.ndarray) -> np.ndarray:
    """Share of hands in each of the picture's cells, of centres (N x 2) as shares of the picture."""
    columns, rows = np.clip((centres_xy * CELLS_WH).astype(np.intp), 0, np.array(CELLS_WH) - 1).T
    counts = np.bincount(rows * CELLS_WH[0] + columns, minlength=CELLS_WH[0] * CELLS_WH[1])
    return counts / len(centres_xy)


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
