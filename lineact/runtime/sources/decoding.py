"""From packets to frames."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from lineact.runtime.frame import Frame
from lineact.runtime.sources.counts import SourceCounts
from lineact.runtime.sources.packets import Packet, Stream

if TYPE_CHECKING:
    import av

MOST_IN_DECODER = 64  # packets whose frames a decoder holds back

log = logging.getLogger(__name__)


class Clock(Protocol):
    """See `lineact.runtime.sources.clock`."""

    def begin(self, stream: Stream) -> None:
        """A file or a connection begins: its timestamps have nothing to do with those before."""

    def at(self, stamp_s: float | None, arrived_s: float) -> tuple[float, float]:
        """Media seconds and seconds since 1970 of the next frame."""


def decoded_frames(packets: Iterable[Packet], clock: Clock, counts: SourceCounts) -> Iterator[Frame]:
    """Decodes packets; frames that are not whole, or have no size, are counted and left out.

    A frame arrived when its own packet did, also where the decoder holds it back.
    """
    arrivals_s: dict[int | None, float] = {}
    size_wh: tuple[int, int] | None = None
    stream: Stream | None = None
    for packet in packets:
        if packet.stream is not stream:
            stream = packet.stream
            clock.begin(stream)
        if packet.data is not None:
            arrivals_s[packet.data.pts] = packet.arrived_s
            if len(arrivals_s) > MOST_IN_DECODER:
                del arrivals_s[next(iter(arrivals_s))]
        for picture in _pictures(packet, counts):
            if picture.is_corrupt or picture.width < 1 or picture.height < 1:
                counts.broken += 1
                continue
            found_wh = (picture.width, picture.height)
            if size_wh not in (None, found_wh):
                counts.size_changes += 1
                log.warning("the picture's size changed from %s to %s px", size_wh, found_wh)
            size_wh = found_wh
            # a frame that came out at the stream's end does not know the unit of its timestamp
            stamp_s = None if picture.pts is None else picture.pts * stream.tick_s
            # a container without decoding times lets frames be due after they came
            arrived_s = min(arrivals_s.pop(picture.pts, packet.arrived_s), time.monotonic())
            pts_s, utc_s = clock.at(stamp_s, arrived_s)
            yield Frame(0, picture, pts_s, utc_s, arrived_s, *size_wh)


def _pictures(packet: Packet, counts: SourceCounts) -> "list[av.VideoFrame]":
    import av

    try:
        return packet.stream.codec.decode(packet.data)
    except av.FFmpegError:  # data that is none, or that this decoder cannot decode: the next may be better
        counts.broken += 1
        return []
