"""Cameras: connected anew with growing pauses wherever they fall silent."""

import errno
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from lineact.runtime.errors import BusyError, CameraError
from lineact.runtime.settings import SourceSettings
from lineact.runtime.sources.clock import CameraClock
from lineact.runtime.sources.counts import SourceCounts
from lineact.runtime.sources.packets import Packet, Stream
from lineact.video import BOUNDED, DEFAULT_FPS

log = logging.getLogger(__name__)


class CameraReader:
    """Packets of a camera, across cuts.

    Args:
        address: a device or a URL.
        shown: the address for messages.
        settings: of the source.
        counts: of the source.
        stop: ends it.
    """

    def __init__(
        self, address: str, shown: str, settings: SourceSettings, counts: SourceCounts, stop: threading.Event
    ) -> None:
        self.clock = CameraClock(counts)
        self._address = address
        self._shown = shown
        self._settings = settings
        self._counts = counts
        self._stop = stop

    def __iter__(self) -> Iterator[Packet]:
        """Goes on until `stop`.

        Raises:
            CameraError: where no packet came for `give_up_s`.
            BusyError: where another process has the device.
        """
        import av

        pause_s = self._settings.retry_first_s
        silent_since_s = time.monotonic()
        while not self._stop.is_set():
            try:
                for packet in self._connected():
                    pause_s, silent_since_s = self._settings.retry_first_s, packet.arrived_s
                    yield packet
                reason = "the stream ended"
            except (av.FFmpegError, OSError) as error:
                reason = error.strerror or str(error)
            if self._stop.is_set():
                return
            silent_s = time.monotonic() - silent_since_s
            if 0 < self._settings.give_up_s <= silent_s:
                raise CameraError(
                    f"{self._shown}: expected a picture, found none for {silent_s:.0f} s ({reason}); is the camera "
                    "plugged in, on, and its address right?"
                )
            log.warning("%s: no picture (%s); trying again in %.1f s", self._shown, reason, pause_s)
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, self._settings.retry_most_s)
            self._counts.reconnects += 1

    def _connected(self) -> Iterator[Packet]:
        with self._opened() as container:
            if not container.streams.video:
                raise CameraError(f"{self._shown}: expected video, found none; name the camera's video stream")
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # a thread per frame would hold frames back
            codec = stream.codec_context
            codec.options = BOUNDED
            connection = Stream(codec, float(stream.time_base), float(stream.average_rate or DEFAULT_FPS), None)
            log.info("%s: connected, %s %sx%s px", self._shown, codec.name, codec.width, codec.height)
            for data in container.demux(stream):
                if self._stop.is_set():
                    return
                if data.size:
                    yield Packet(connection, data, time.monotonic())
            yield Packet(connection, None, time.monotonic())

    def _opened(self) -> Any:
        import av

        options = dict(self._settings.options)
        kind = "v4l2" if self._address.startswith("/dev/") else None
        if self._address.startswith("rtsp"):
            options = {"rtsp_transport": "tcp"} | options  # over UDP a lost packet spoils all up to the next key frame
        try:
            return av.open(self._address, format=kind, options=options, timeout=self._settings.timeout_s)
        except (av.FFmpegError, OSError) as error:
            if error.errno == errno.EBUSY:
                raise BusyError(f"{self._shown}: another process has this camera; end that one first") from error
            raise
