"""Compressed video on its way from a reader to the decoder."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import av


class Stream(NamedTuple):
    """One file, or one connection to a camera.

    Attributes:
        codec: its decoder.
        tick_s: unit of its timestamps, seconds.
        fps: its mean rate, as declared.
        start_utc_s: when the recording began, seconds since 1970; None of a camera.
    """

    codec: "av.VideoCodecContext"
    tick_s: float
    fps: float
    start_utc_s: float | None


class Packet(NamedTuple):
    """A packet and where it comes from.

    Attributes:
        stream: another one after a new connection or in the next file.
        data: None where the stream ended: the decoder gives what it still holds.
        arrived_s: `time.monotonic()` when it was read; where a file is played at its own rate, when it was due.
    """

    stream: Stream
    data: "av.Packet | None"
    arrived_s: float
