"""Recordings: a file, or all videos below a folder, one after another as one stream."""

import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from lineact.errors import InputError
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
            # Threads that take a frame each are the fastest, and hold back as many frames as there are threads.
            stream.thread_type = "SLICE" if self._in_real_time else "AUTO"
            rate = float(stream.average_rate or DEFAULT_FPS)
            played = Stream(stream.codec_context, float(stream.time_base), rate, start_utc_s(path, container))
            began_s, first_s = time.monotonic(), None
            for data in container.demux(stream):
                arrived_s = time.monotonic()
                if data.dts is None:  # the end; its packet has no data
                    yield Packet(played, None, arrived_s)
                    continue
                if self._in_real_time:
                    stamp_s = float(data.dts * data.time_base)
                    first_s = stamp_s if first_s is None else first_s
                    arrived_s = began_s + stamp_s - first_s
                    if self._stop.wait(max(arrived_s - time.monotonic(), 0)):
                        return
                yield Packet(played, data, arrived_s)


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
