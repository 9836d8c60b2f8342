"""A frame as a source hands it on."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import av


class Frame(NamedTuple):
    """A decoded frame and its times.

    Attributes:
        number: counts the frames that a source handed on, from 0; dropped ones have none.
        picture: as decoded, or uint8, H x W x 3, RGB where the source has no decoder.
        pts_s: media seconds. They rise from frame to frame, also where a stream was cut and begins anew.
        utc_s: when it was captured, seconds since 1970: of a file its start plus `pts_s`, of a camera the arrival.
        arrived_s: `time.monotonic()` when its data had arrived, before decoding; of a file that is played at its own
            rate, when it was due.
        width_px: of the picture.
        height_px: likewise.
    """

    number: int
    picture: "av.VideoFrame | np.ndarray"
    pts_s: float
    utc_s: float
    arrived_s: float
    width_px: int
    height_px: int

    def rgb(self) -> np.ndarray:
        """The whole picture as uint8, H x W x 3. Costs a conversion where it was decoded."""
        return self.picture if isinstance(self.picture, np.ndarray) else self.picture.to_ndarray(format="rgb24")
