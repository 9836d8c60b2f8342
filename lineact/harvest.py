"""Kept crops of stations become a recording of the line whose frames are the crops: it is labelled like others.

A harvest lies below the raw folder's `harvest/`. It is video without loss, so that its crops are cut out of it exactly
as they were kept; its times are those of the crops, from the first one on.
"""

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lineact.errors import InputError
from lineact.feedback import SUFFIX, KeptCrop, crop_of
from lineact.files import write_whole
from lineact.schema import HARVEST_FOLDER
from lineact.video import CONTEXT_KEY, VIDEO_SUFFIXES, read_frames

TICKS_PER_S = 1000  # Matroska's own


class Harvested(NamedTuple):
    """What came of kept crops.

    Attributes:
        taken: those that are asked now, by time.
        known: so many were harvested before.
        too_many: so many are left for the next harvest.
        problems: a line for each file that could not be used.
    """

    taken: list[KeptCrop]
    known: int
    too_many: int
    problems: list[str]


def choose(folders: Sequence[Path], raw: Path, line: str, crop_context: float, crop_px: int, most: int) -> Harvested:
    """Reads what stations kept and chooses the least sure crops that are new. No more than those are held in memory.

    Args:
        folders: of kept crops, at any depth.
        raw: the line's raw folder, which tells what was harvested before.
        line: whose crops count.
        crop_context: of the line's crops; others show more or less around a hand.
        crop_px: side of the line's crops.
        most: so many are taken.
    """
    paths = sorted(
        path
        for folder in folders
        for path in folder.rglob(f"*{SUFFIX}")
        if not path.name.startswith(".")  # half there
    )
    known = set(_hashes_of_harvests(raw))
    problems: list[str] = []
    fresh: set[str] = set()
    repeated = 0
    surest_first: list[tuple[float, float, int, KeptCrop]] = []  # a heap of those that are taken so far
    for number, path in enumerate(paths):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # a station that runs has made room meanwhile
            continue
        try:
            crop = _fitting(crop_of(content, str(path)), path, line, crop_context, crop_px)
        except InputError as error:
            problems.append(str(error))
            continue
        digest = _hash_of(crop.crop_rgb)
        if digest in known or digest in fresh:
            repeated += 1
            continue
        fresh.add(digest)
        heapq.heappush(surest_first, (-crop.kept.confidence, -crop.kept.utc_s, -number, crop))
        if len(surest_first) > most:
            heapq.heappop(surest_first)
    taken = sorted(surest_first, key=lambda entry: (-entry[1], -entry[0], -entry[2]))
    return Harvested([crop for *_, crop in taken], repeated, len(fresh) - len(taken), problems)


def write_harvest(crops: Sequence[KeptCrop], raw: Path) -> Path:
    """Writes crops as a recording of the line.

    Args:
        crops: by time; all of one side and context.
        raw: the line's raw folder.

    Returns:
        The file; its name tells its content.
    """
    digest = hashlib.sha256("".join(_hash_of(crop.crop_rgb) for crop in crops).encode()).hexdigest()[:12]
    path = raw / HARVEST_FOLDER / f"harvest-{digest}.mkv"
    write_whole(path, lambda temporary: _write_video(temporary, crops))
    return path


def _fitting(crop: KeptCrop, path: Path, line: str, crop_context: float, crop_px: int) -> KeptCrop:
    import cv2

    if crop.kept.line != line:
        raise InputError(f"{path}: expected a crop of line {line}, found one of {crop.kept.line}")
    if abs(crop.kept.crop_context - crop_context) > 1e-6:
        raise InputError(
            f"{path}: expected a crop with context {crop_context:g} (embed.context), found {crop.kept.crop_context:g}: "
            "it was kept by a bundle of other settings"
        )
    if len(crop.crop_rgb) == crop_px:
        return crop
    interpolation = cv2.INTER_AREA if len(crop.crop_rgb) > crop_px else cv2.INTER_LINEAR
    return crop._replace(crop_rgb=cv2.resize(crop.crop_rgb, (crop_px, crop_px), interpolation=interpolation))


def _hash_of(crop_rgb: np.ndarray) -> str:
    return hashlib.sha256(crop_rgb.tobytes()).hexdigest()


def _hashes_of_harvests(raw: Path) -> Iterable[str]:
    folder = raw / HARVEST_FOLDER
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.suffix in VIDEO_SUFFIXES and not path.name.startswith("."):
            yield from (_hash_of(frame.image_rgb) for frame in read_frames(path))


def _write_video(path: Path, crops: Sequence[KeptCrop]) -> None:
    import av

    options = {"fflags": "+bitexact"}  # the same crops give the same bytes
    with av.open(str(path), "w", format="matroska", options=options) as container:
        container.metadata[CONTEXT_KEY] = f"{crops[0].kept.crop_context:g}"
        stream: Any = container.add_stream("ffv1", rate=TICKS_PER_S)
        stream.width = stream.height = len(crops[0].crop_rgb)
        stream.pix_fmt = "bgr0"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        ticks = -1
        for crop in crops:
            picture = av.VideoFrame.from_ndarray(crop.crop_rgb, "rgb24").reformat(format="bgr0")
            # two hands of one frame are at the same time: a frame is told by its time, so one comes a tick later
            ticks = max(round((crop.kept.utc_s - crops[0].kept.utc_s) * TICKS_PER_S), ticks + 1)
            picture.pts, picture.time_base = ticks, Fraction(1, TICKS_PER_S)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
