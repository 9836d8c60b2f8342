"""The last hours of a camera, small and bounded, for the clips of a shift report. Nothing is kept unless asked for."""

import contextlib
import logging
import queue
import shutil
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from threading import Thread
from typing import Any

from lineact.privacy import Blur
from lineact.runtime.frame import Frame
from lineact.runtime.outputs.kept_files import Limits, free_path, remove_old
from lineact.runtime.results import FrameResult
from lineact.runtime.settings import KeptVideoSettings, PrivacySettings

SUFFIX = ".mkv"  # what a kill leaves of it can be played
OFF_HOURS = 24.0  # where nothing is to be kept any more
LOOK_EVERY_S = 60.0  # for what was kept long enough
CHUNK_S = 60.0
LEAST_FREE_BYTES = 500_000_000  # of the disk: events need room more than video does
MOST_WAITING = 4  # frames
MOST_STEP_S = 2.0  # after a longer pause, or where a clock was set, another file begins
TICKS_PER_S = 90_000

log = logging.getLogger(__name__)


class KeptVideo:
    """Writes files of a minute, named by their start in UTC, and removes the oldest. In a thread of its own.

    Where nothing is to be kept, what was kept before goes after a day: time for its shift's report.

    Frames for which there is no time are left out. Where the disk gets full nothing more is kept, which is told once.

    Args:
        folder: made where it is missing.
        settings: see `KeptVideoSettings`.
        privacy: what is blurred in it, as in kept crops.
    """

    def __init__(self, folder: Path, settings: KeptVideoSettings, privacy: PrivacySettings) -> None:
        from av.video.reformatter import VideoReformatter

        self._folder = folder
        self._settings = settings
        hours = settings.hours or OFF_HOURS
        most_files = max(round(3600 * hours / CHUNK_S), 1)
        self._limits = Limits(settings.most_mb * 1e6, 3600 * hours, most_files)
        self._blur = Blur(privacy.blur_regions, privacy.blur_faces)
        self._last_s = float("-inf")
        self._ended = False  # whether the writer was told that nothing comes any more
        self._reformatter = VideoReformatter()  # a frame's own one may be at work in another thread
        self._waiting: queue.Queue[Frame | None] = queue.Queue(MOST_WAITING)
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = Thread(target=self._write, name="kept video", daemon=True)
        self._writer.start()

    def see(self, result: FrameResult) -> None:
        """Takes a frame, if its turn has come and there is time."""
        frame = result.frame
        too_soon = frame.pts_s - self._last_s < 1 / self._settings.fps - 1e-6
        if not self._settings.hours or too_soon or self._waiting.full():
            return
        self._last_s = frame.pts_s
        self._waiting.put(frame)

    def close(self) -> None:
        """Finishes the file."""
        self._waiting.put(None)
        self._writer.join()

    def _write(self) -> None:
        try:
            self._remove_old()
            frame = self._next()
            while frame is not None and shutil.disk_usage(self._folder).free >= LEAST_FREE_BYTES:
                frame = self._chunk(frame)
                self._remove_old()
            reason = "" if frame is None else "the disk is nearly full"
        except Exception as error:
            reason = str(error)
        if reason:
            log.error("%s: no video is kept any more: %s; events go on", self._folder, reason)
            while not self._ended:  # whoever puts must not wait for ever
                self._next()

    def _next(self) -> Frame | None:
        """The next frame; None at the end. Time passes for what is kept, also where no frame comes."""
        while True:
            try:
                frame = self._waiting.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                with contextlib.suppress(OSError):  # the next file's end tells
                    self._remove_old()
                continue
            self._ended = frame is None
            return frame

    def _chunk(self, first: Frame) -> Frame | None:
        """Writes one file; returns the first frame of the next one."""
        import av

        begin = datetime.fromtimestamp(first.utc_s, UTC)
        path = free_path(self._folder / f"{begin:%Y%m%dT%H%M%S.%fZ}{SUFFIX}")
        scale = min(self._settings.long_side_px / max(first.width_px, first.height_px), 1.0)
        width, height = (max(round(side * scale / 2) * 2, 2) for side in (first.width_px, first.height_px))
        with av.open(str(path), "w") as container:
            container.metadata["creation_time"] = begin.isoformat()
            stream: Any = container.add_stream("libx264", options={"preset": "veryfast", "crf": "28", "bf": "0"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
            frame: Frame | None = first
            last = first
            while frame is not None and self._belongs(first, last, frame):
                picture = frame.picture
                if not isinstance(picture, av.VideoFrame):
                    picture = av.VideoFrame.from_ndarray(picture, "rgb24")
                small_rgb = self._reformatter.reformat(picture, width, height, "rgb24").to_ndarray()
                blurred_rgb = self._blur.apply(small_rgb, (0, 0, width, height), (width, height))
                small = av.VideoFrame.from_ndarray(blurred_rgb, "rgb24").reformat(format="yuv420p")
                small.pts = round((frame.utc_s - first.utc_s) * TICKS_PER_S)
                small.time_base = Fraction(1, TICKS_PER_S)
                small.pict_type = 0
                container.mux(stream.encode(small))
                last, frame = frame, self._next()
            container.mux(stream.encode(None))
        return frame

    def _belongs(self, first: Frame, last: Frame, frame: Frame) -> bool:
        if frame is first:
            return True
        step_s = frame.utc_s - last.utc_s
        return 0 < step_s <= MOST_STEP_S + 1 / self._settings.fps and frame.utc_s - first.utc_s < CHUNK_S

    def _remove_old(self) -> None:
        remove_old(self._folder, SUFFIX, self._limits)
