"""Recordings: a file, or all videos below a folder, one after another as one stream."""

import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from lineact.errors import InputError
from lineact.machine import usable_cores
from lineact.runtime.sources.clock import FileClock
from lineact.runtime.sources.counts import SourceCounts
from lineact.runtime.sources.packets import Packet, Stream
from lineact.video import DEFAULT_FPS, find_videos, opened_video

log = logging.getLogger(__name__)


class FileReader:
    """Packets of recordings.

    Args:
        path: a file or a folder.
        in_real_time: whether packets come at the rate at which they were recorded, as from a camera.
        repeat: whether to begin again after the last one.
        counts: of the source.
        stop: ends it.
    """

    def __init__(
        self, path: Path, in_real_time: bool, repeat: bool, counts: SourceCounts, stop: threading.Event
    ) -> None:
        self.clock = FileClock()
        self._path = path
        self._in_real_time = in_real_time
        self._repeat = repeat
        self._counts = counts
        self._stop = stop

    def __iter__(self) -> Iterator[Packet]:
        paths = find_videos(self._path)
        while not self._stop.is_set():
            bad = 0
            for path in paths:
                try:
                    yield from self._packets(path)
                except InputError as error:
                    bad += 1
                    self._counts.bad_files += 1
                    if bad == len(paths):
                        raise
                    log.warning("%s; going on with the next file", error)
            if not self._repeat:
                return

    def _packets(self, path: Path) -> Iterator[Packet]:
        with opened_video(path) as container:
            stream = container.streams.video[0]
            # Threads that take a frame each are the fastest, and hold back as many frames as there are threads. A core
            # is left to those who look at the frames.
            stream.thread_type = "SLICE" if self._in_real_time else "FRAME"
            if not self._in_real_time:
                stream.thread_count = max(usable_cores() - 1, 1)
            rate = float(stream.average_rate or DEFAULT_FPS)
            played = Stream(stream.codec_context, float(stream.time_base), rate, start_utc_s(path, container))
            zero_s: float | None = None  # when the timestamp 0 was due
            last_s = 0.0  # when the last frame is
            for data in container.demux(stream):
                arrived_s = time.monotonic()
                if not data.size:  # the end
                    self._stop.wait(max(last_s - arrived_s, 0))
                    yield Packet(played, None, arrived_s)
                    continue
                if self._in_real_time:
                    shown_s, decoded_s = _stamps_s(data, played)
                    zero_s = arrived_s - decoded_s if zero_s is None else zero_s
                    if self._stop.wait(max(zero_s + decoded_s - arrived_s, 0)):
                        return
                    # Of frames that wait for later ones a camera would not have this one before it is to be shown.
                    arrived_s = zero_s + shown_s
                    last_s = max(last_s, arrived_s)
                yield Packet(played, data, arrived_s)


def _stamps_s(data: Any, stream: Stream) -> tuple[float, float]:
    """When a packet's frame is to be shown and to be decoded, seconds; some containers tell only one of the two."""
    shown = data.dts if data.pts is None else data.pts
    decoded = data.pts if data.dts is None else data.dts
    return (shown or 0) * stream.tick_s, (decoded or 0) * stream.tick_s


def start_utc_s(path: Path, container: Any) -> float:
    """When a recording began, seconds since 1970: as its container says, else its file's time less its duration."""
    import av

    told = container.metadata.get("creation_time")
    if told:
        try:
            return datetime.fromisoformat(told).timestamp()
        except ValueError:
            log.warning("%s: expected an ISO 8601 creation_time, found %r", path, told)
    return path.stat().st_mtime - (container.duration or 0) / av.time_base
