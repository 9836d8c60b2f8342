"""Video files: what they are, and their frames by the container's own timestamps (PyAV)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineact.errors import InputError
from lineact.files import sha256_of_file

VIDEO_SUFFIXES = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})
PTS_TOLERANCE_S = 1e-4  # timestamps survive a trip through Parquet and CSV to far better than this


@dataclass(frozen=True)
class Frame:
    """A decoded frame.

    Attributes:
        index: decoding order within the video, from 0.
        pts_s: presentation time in seconds, from the container.
        image_rgb: uint8, height x width x 3.
    """

    index: int
    pts_s: float
    image_rgb: np.ndarray


def find_videos(folder: Path) -> list[Path]:
    """All files with a video's suffix below a folder, sorted by path (or the one file that `folder` is).

    Raises:
        InputError: where there is no such folder or no video in it.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of videos, found nothing there")
    videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not videos:
        suffixes = " ".join(sorted(VIDEO_SUFFIXES))
        raise InputError(f"{folder}: expected at least one video ({suffixes}), found none; put the recordings there")
    return videos


def videos_by_sha256(raw: Path) -> dict[str, Path]:
    """Video files of a folder by the SHA-256 of their content."""
    return {sha256_of_file(path): path for path in find_videos(raw)}


def read_frames(path: Path, wanted_pts_s: Iterable[float] | None = None) -> Iterator[Frame]:
    """Decodes a video in presentation order.

    Args:
        path: any file PyAV can read.
        wanted_pts_s: times of the frames to return; all where None. Others are decoded (most codecs need them) but not
            converted to RGB.

    Yields:
        Frames with their presentation time; a frame without a timestamp takes the place that the mean rate gives it.

    Raises:
        InputError: where the file is no video, has no video stream, or breaks off while decoding.
    """
    import av

    wanted = None if wanted_pts_s is None else sorted(wanted_pts_s)
    if wanted is not None and not wanted:
        return
    position = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: expected a video stream, found none; is it a sound file?")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for index, decoded in enumerate(container.decode(stream)):
                pts_s = float(decoded.time) if decoded.time is not None else index / float(stream.average_rate or 25)
                if wanted is not None:
                    while position < len(wanted) and wanted[position] < pts_s - PTS_TOLERANCE_S:
                        position += 1
                    if position == len(wanted):
                        return
                    if wanted[position] > pts_s + PTS_TOLERANCE_S:
                        continue
                yield Frame(index, pts_s, decoded.to_ndarray(format="rgb24"))
    except av.FFmpegError as error:
        raise InputError(f"{path}: expected a readable video, found: {error}; replace or remove the file") from error
