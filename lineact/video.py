"""Video files: what they are, and their frames by the container's own timestamps (PyAV)."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lineact.errors import InputError
from lineact.files import sha256_of_file
from lineact.picture_size import MOST_PIXELS, unusable_size

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"}
    | {".ts", ".webm", ".wmv"}
)
DEFAULT_FPS = 25.0  # where a container does not tell its rate
CONTEXT_KEY = "lineact_crop_context"
BOUNDED = {"max_pixels": str(MOST_PIXELS)}  # FFmpeg's option: a decoder refuses larger frames, also in mid-stream
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
        raise InputError(
            f"{folder}: expected a folder of videos, found nothing there; name the one with the recordings"
        )
    videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not videos:
        suffixes = " ".join(sorted(VIDEO_SUFFIXES))
        raise InputError(f"{folder}: expected at least one video ({suffixes}), found none; put the recordings there")
    return videos


def other_files(folder: Path) -> list[Path]:
    """Files below a folder that `find_videos` passes over, sorted; hidden ones, such as .gitignore, are not named."""
    if folder.is_file():
        return []
    below = (path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() not in VIDEO_SUFFIXES)
    return sorted(path for path in below if not path.name.startswith("."))


def videos_by_sha256(raw: Path) -> dict[str, Path]:
    """Video files of a folder by the SHA-256 of their content; of byte-identical copies the first by name."""
    return {sha256_of_file(path): path for path in reversed(find_videos(raw))}


@dataclass(frozen=True)
class VideoFacts:
    """What a container declares about its first video stream.

    Attributes:
        start_s: time of the first frame, seconds.
        duration_s: declared length in seconds; None where it is not declared.
        fps: mean rate, 25 where it is not declared.
        codec: ffmpeg's name of it, e.g. "h264".
    """

    start_s: float
    duration_s: float | None
    fps: float
    codec: str


def video_facts(path: Path) -> VideoFacts:
    """Reads a video's header.

    Raises:
        InputError: where the file is no video or has no video stream.
    """
    import av

    with opened_video(path) as container:
        stream = container.streams.video[0]
        start_s = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
        if stream.duration and stream.time_base:
            duration_s: float | None = float(stream.duration * stream.time_base)
        else:
            duration_s = container.duration / av.time_base if container.duration else None
        fps = float(stream.average_rate or DEFAULT_FPS)
        return VideoFacts(start_s, duration_s, fps, stream.codec_context.name)


def crop_context_of(path: Path) -> float:
    """Of a recording whose frames are crops: how much wider they are than the hand's box.

    Raises:
        InputError: where the file does not tell.
    """
    with opened_video(path) as container:
        told = {name.lower(): value for name, value in container.metadata.items()}.get(CONTEXT_KEY, "")
    try:
        return float(told)
    except ValueError as error:
        raise InputError(
            f"{path}: expected a harvest, which tells {CONTEXT_KEY}, found none; remove the file"
        ) from error


@contextmanager
def opened_video(path: Path) -> Iterator[Any]:
    """An open PyAV container with at least one video stream.

    Raises:
        InputError: where its frames are smaller than a patch or vast; in place of PyAV's errors, also of those while it
            is read.
    """
    import av

    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected a video, found an empty file (0 bytes); replace or remove it")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: expected a video stream, found none (a sound file?); replace or remove it")
            codec = container.streams.video[0].codec_context
            is_told = codec.width and codec.height
            if is_told and (unusable := unusable_size(codec.width, codec.height)):
                raise InputError(f"{path}: expected frames of {unusable}; replace or remove it")
            codec.options = BOUNDED
            yield container
    except av.FFmpegError as error:
        raise InputError(
            f"{path}: expected a readable video, found: {error.strerror} (cut short, or no video at all?); "
            "replace or remove the file"
        ) from error


def read_frames(
    path: Path, wanted_pts_s: Iterable[float] | None = None, broken_pts_s: list[float] | None = None
) -> Iterator[Frame]:
    """Decodes a video in presentation order. A frame that does not decode whole is left out.

    Args:
        path: any file PyAV can read.
        wanted_pts_s: times of the frames to return; all where None. Others are decoded (most codecs need them) but not
            converted to RGB.
        broken_pts_s: gets the time of each frame left out, a few frames late where several are decoded at once; NaN
            where the container tells none.

    Yields:
        Frames with their presentation time; a frame without a timestamp takes the place that the mean rate gives it.

    Raises:
        InputError: where the file is no video, has no video stream, breaks off while it is read, or has no frame at
            a wanted time.
    """
    wanted = None if wanted_pts_s is None else deque(sorted(wanted_pts_s))
    if wanted is not None and not wanted:
        return
    with opened_video(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        fps = float(stream.average_rate or DEFAULT_FPS)
        for index, decoded in enumerate(_whole_frames(container, stream, broken_pts_s)):
            pts_s = float(decoded.time) if decoded.time is not None else index / fps
            if wanted is not None and not _take(wanted, pts_s, path):
                continue
            yield Frame(index, pts_s, decoded.to_ndarray(format="rgb24"))
            if wanted is not None and not wanted:
                return  # what lies behind may be broken and is not needed
    if wanted:
        raise InputError(f"{path}: expected a frame at {wanted[0]:.6f} s, found the video's end; {_CHANGED}")


def _whole_frames(container: Any, stream: Any, broken_pts_s: list[float] | None) -> Iterator[Any]:
    """Decoded frames; those of a broken packet, patched up by the decoder or unusably small are left out and noted."""
    import av

    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except (av.InvalidDataError, av.ArgumentError):  # the latter is also said of frames above MOST_PIXELS
            _note(packet, broken_pts_s)
            continue
        for frame in decoded:
            if frame.is_corrupt or unusable_size(frame.width, frame.height):
                _note(frame, broken_pts_s)
            else:
                yield frame


def _note(broken: Any, broken_pts_s: list[float] | None) -> None:
    if broken_pts_s is not None:
        broken_pts_s.append(float("nan") if broken.pts is None else float(broken.pts * broken.time_base))


_CHANGED = "is this the file that the table was made from? Run `dvc repro`"


def _take(wanted_pts_s: deque[float], pts_s: float, path: Path) -> bool:
    """Whether the frame at this time is the next wanted one; if so, takes it off the list."""
    if wanted_pts_s[0] < pts_s - PTS_TOLERANCE_S:
        raise InputError(
            f"{path}: expected a frame at {wanted_pts_s[0]:.6f} s, found the next at {pts_s:.6f}; {_CHANGED}"
        )
    found = False
    while wanted_pts_s and wanted_pts_s[0] <= pts_s + PTS_TOLERANCE_S:
        wanted_pts_s.popleft()
        found = True
    return found
