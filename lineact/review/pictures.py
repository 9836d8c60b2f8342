"""Pictures of a review, read when asked for: crops by row group, frames and loops by seeking in a recording."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineact.errors import InputError
from lineact.lookup import Lookup
from lineact.png import encode_png
from lineact.video import PTS_TOLERANCE_S, Frame, read_frames, video_facts, videos_by_sha256

KEPT_BYTES = 32 * 2**20  # of crops, and of frames and loops
LOOP_AROUND_S = 1.0  # seconds before and after
LOOP_FRAMES = 15
LOOP_LONG_SIDE_PX = 640
LOOP_FRAME_MS = 120
BOX_RGB = (255, 210, 0)


class Kept:
    """The last pictures, up to so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        """Keeps none so far."""
        self._most_bytes = most_bytes
        self._bytes = 0
        self._pictures: OrderedDict[object, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: object) -> bytes | None:
        """A picture that is kept."""
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
            return self._pictures.get(key)

    def put(self, key: object, picture: bytes) -> None:
        """Keeps a picture, at the cost of those that nobody asked for longest."""
        with self._lock:
            self._bytes += len(picture) - len(self._pictures.pop(key, b""))
            self._pictures[key] = picture
            while self._bytes > self._most_bytes and len(self._pictures) > 1:
                self._bytes -= len(self._pictures.popitem(last=False)[1])


class Crops:
    """PNG of the crops that a queue shows, out of a table of any length."""

    def __init__(self, path: Path, listed: pa.ChunkedArray, wanted: pa.Array) -> None:
        """Finds the crops.

        Args:
            path: table of schema EMBEDDED.
            listed: box ids of its rows.
            wanted: box ids.

        Raises:
            InputError: where some are not in the table.
        """
        wanted = pc.unique(wanted)
        if lost := wanted.filter(pc.invert(pc.is_in(wanted, value_set=listed.combine_chunks()))).to_pylist():
            raise InputError(f"{path}: expected {len(wanted)} crops, found {len(lost)} of them missing, e.g. {lost[0]}")
        self._file = pq.ParquetFile(path, memory_map=False)
        self._row_of = Lookup(listed)
        self._is_wanted = pc.is_in(listed, value_set=wanted).to_numpy()
        lengths = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._ends = np.cumsum(lengths)
        self._kept = Kept(KEPT_BYTES)
        self._lock = Lock()

    def __contains__(self, box_id: str) -> bool:
        """Whether it is one of those wanted."""
        row = self._row_of.get(box_id)
        return row is not None and bool(self._is_wanted[row])

    def pngs(self, box_ids: Iterable[str]) -> dict[str, bytes]:
        """Crops that are wanted, by id; what lies together in the table is read once."""
        found = {box_id: self._kept.get(box_id) for box_id in box_ids}
        groups: dict[int, list[tuple[str, int]]] = {}
        for box_id, kept in found.items():
            if kept is None:
                row = self._row_of[box_id]
                groups.setdefault(int(np.searchsorted(self._ends, row, side="right")), []).append((box_id, row))
        pictures = {box_id: kept for box_id, kept in found.items() if kept is not None}
        for group, of_group in sorted(groups.items()):
            with self._lock:
                read = self._file.read_row_group(group, columns=["crop_png"], use_threads=False)["crop_png"]
            start = int(self._ends[group]) - len(read)
            for box_id, row in of_group:
                pictures[box_id] = read[row - start].as_py()
                self._kept.put(box_id, pictures[box_id])
        return pictures


class Frames:
    """Queued frames, and what happens around them."""

    def __init__(self, raw: Path) -> None:
        """Takes the folder of recordings."""
        self._raw = raw
        self._videos: dict[str, Path] = {}
        self._kept = Kept(KEPT_BYTES)
        self._sizes: dict[tuple[str, float], tuple[int, int]] = {}
        self._lock = Lock()

    def png(self, video_sha256: str, pts_s: float) -> bytes:
        """A frame as it is in the recording.

        Raises:
            InputError: where the recording is not there, or has no such frame.
        """

        def made() -> bytes:
            image_rgb = frame_at(self._path(video_sha256), pts_s).image_rgb
            self._sizes[video_sha256, pts_s] = (image_rgb.shape[1], image_rgb.shape[0])
            return encode_png(image_rgb)

        return self._keeping(("frame", video_sha256, pts_s), made)

    def size_wh_px(self, video_sha256: str, pts_s: float) -> tuple[int, int]:
        """A frame's width and height.

        Raises:
            InputError: as `png`.
        """
        if (video_sha256, pts_s) not in self._sizes:
            self.png(video_sha256, pts_s)
        return self._sizes[video_sha256, pts_s]

    def loop_webp(self, video_sha256: str, pts_s: float, box_xyxy_px: tuple[float, ...] | None) -> bytes:
        """The neighbouring frames as a moving picture, over and over.

        Args:
            video_sha256: the recording.
            pts_s: its middle.
            box_xyxy_px: what is asked about, marked on the frame in the middle; None where it is the whole frame.

        Raises:
            InputError: as `png`.
        """

        def made() -> bytes:
            near = list(frames_between(self._path(video_sha256), pts_s - LOOP_AROUND_S, pts_s + LOOP_AROUND_S))
            if not near:
                raise InputError(f"{self._path(video_sha256)}: expected frames about {pts_s:.3f} s, found none")
            return _animation(near, pts_s, box_xyxy_px)

        return self._keeping(("loop", video_sha256, pts_s, box_xyxy_px), made)

    def _keeping(self, key: tuple, make: Callable[[], bytes]) -> bytes:
        kept = self._kept.get(key)
        if kept is None:
            with self._lock:  # decoding takes all cores: one after the other
                kept = self._kept.get(key) or make()
            self._kept.put(key, kept)
        return kept

    def _path(self, sha256: str) -> Path:
        if not self._videos:
            self._videos.update(videos_by_sha256(self._raw))
        if sha256 not in self._videos:
            raise InputError(f"{self._raw}: expected the recording {sha256[:12]}, found others; run `dvc repro`")
        return self._videos[sha256]


def frame_at(path: Path, pts_s: float) -> Frame:
    """One frame, without decoding the recording from its beginning where it can be sought in.

    Raises:
        InputError: where the recording has no frame at this time.
    """
    for frame in frames_between(path, pts_s - PTS_TOLERANCE_S, pts_s + PTS_TOLERANCE_S):
        return frame
    return next(read_frames(path, [pts_s]))


def frames_between(path: Path, start_s: float, end_s: float) -> Iterator[Frame]:
    """Frames in a stretch of time, sought from the key frame before it; none where the container has no times.

    Args:
        path: the recording.
        start_s: seconds, included.
        end_s: seconds, included.

    Raises:
        InputError: where it is no video.
    """
    import av

    fps = video_facts(path).fps  # tells what is wrong with a file that is no video
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            ticks = Fraction(max(start_s - 1 / fps, 0.0)) / (stream.time_base or Fraction(1, av.time_base))
            container.seek(int(ticks), stream=stream, backward=True)
            for decoded in container.decode(stream):
                if decoded.time is None or decoded.time > end_s:
                    return
                if decoded.time >= start_s:
                    yield Frame(-1, float(decoded.time), decoded.to_ndarray(format="rgb24"))
    except av.FFmpegError:
        return  # cannot be sought in: the caller reads it from its beginning


def _animation(frames: list[Frame], pts_s: float, box_xyxy_px: tuple[float, ...] | None) -> bytes:
    from PIL import Image, ImageDraw

    middle = min(range(len(frames)), key=lambda place: abs(frames[place].pts_s - pts_s))
    chosen = sorted({*np.linspace(0, len(frames) - 1, min(len(frames), LOOP_FRAMES)).round().astype(int), middle})
    pictures = []
    for place in chosen:
        picture = Image.fromarray(frames[place].image_rgb)
        if box_xyxy_px is not None and place == middle:
            ImageDraw.Draw(picture).rectangle(box_xyxy_px, outline=BOX_RGB, width=max(picture.width // 320, 2))
        picture.thumbnail((LOOP_LONG_SIDE_PX, LOOP_LONG_SIDE_PX))
        pictures.append(picture)
    shown_ms = [LOOP_FRAME_MS * (4 if place == middle else 1) for place in chosen]
    stream = BytesIO()
    pictures[0].save(stream, "WEBP", save_all=True, append_images=pictures[1:], duration=shown_ms, loop=0, quality=75)
    return stream.getvalue()
