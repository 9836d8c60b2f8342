"""Where frames come from: video files, folders of them, webcams and network cameras, at any rate."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

from lineact.runtime.frame import Frame
from lineact.runtime.settings import Mode, SourceSettings
from lineact.runtime.sources.counts import SourceCounts
from lineact.runtime.sources.decoding import Clock, decoded_frames
from lineact.runtime.sources.files import FileReader
from lineact.runtime.sources.handing_on import in_packets, newest_only
from lineact.runtime.sources.live import CameraReader
from lineact.runtime.sources.packets import Packet

LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtp", "http", "https", "tcp", "udp", "srt"})
WEBCAMS = ("/dev/video", "/dev/v4l/")  # the second has links that name the device by its serial number or its socket


class Source:
    """Frames of one camera or recording, to be iterated once, and what became of those that are missing.

    Attributes:
        address: for messages: without a password.
        mode: "latest" or "lossless".
        is_paced: whether its media time goes along with the time of day: of a camera, and of a file played like one.
        counts: how many frames were read, dropped and so on; of another thread, so read only.
    """

    def __init__(self, address: str, mode: Mode, settings: SourceSettings) -> None:
        self.address = without_password(address)
        self.mode = mode
        self.counts = SourceCounts()
        self._stop = threading.Event()
        live = is_live(address)
        self.is_paced = live or mode == "latest"
        reader: CameraReader | FileReader
        if live:
            reader = CameraReader(address, self.address, settings, self.counts, self._stop)
        else:
            reader = FileReader(Path(address), mode == "latest", settings.repeat, self.counts, self._stop)
        self._clock: Clock = reader.clock
        self._packets: Iterator[Packet] = iter(reader)
        self._most_waiting_bytes = round(settings.most_waiting_mb * 1e6) if live else 0

    def __iter__(self) -> Iterator[Frame]:
        """The frames, until a recording's end or `stop`.

        Raises:
            InputError: where a file is no video, or none of a folder's can be read.
            CameraError: where a camera gave no picture for too long.
        """
        packets = self._packets
        if self.mode == "latest":
            frames = newest_only(decoded_frames(packets, self._clock, self.counts), self.counts, self._stop)
        else:
            if self._most_waiting_bytes:
                packets = in_packets(packets, self._most_waiting_bytes, self._stop)
            frames = decoded_frames(packets, self._clock, self.counts)
        for number, frame in enumerate(frames):
            if self._stop.is_set():
                return
            self.counts.hand_on(frame.arrived_s)
            yield frame._replace(number=number)

    def stop(self) -> None:
        """Ends the iteration soon, from any thread."""
        self._stop.set()

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def open_source(address: str, settings: SourceSettings) -> Source:
    """The source behind an address; nothing is opened before its frames are asked for.

    Args:
        address: a file, a folder of videos, /dev/video0, or a camera's URL (rtsp://...).
        settings: see `SourceSettings`.
    """
    if settings.mode != "auto":
        return Source(address, settings.mode, settings)
    return Source(address, "latest" if is_live(address) else "lossless", settings)


def camera_name(address: str) -> str:
    """What a source is called where nobody names it: a file's or a device's name, a network camera's host."""
    if "://" in address:
        return urlsplit(address).hostname or address
    return Path(address).stem


def is_live(address: str) -> bool:
    """Whether an address is a camera's: what it missed does not come again."""
    return address.startswith(WEBCAMS) or (urlsplit(address).scheme in LIVE_SCHEMES and "://" in address)


def without_password(address: str) -> str:
    """The address as it may be shown."""
    parts = urlsplit(address)
    if "://" not in address or parts.password is None:
        return address
    _, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{place}"))
