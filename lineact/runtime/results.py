"""What the recogniser says of a frame."""

from typing import NamedTuple

from lineact.runtime.frame import Frame

TOP_ACTIONS = 5  # so many of the likeliest actions a hand carries along


class TrackedHand(NamedTuple):
    """A hand, its action, and which hand it is.

    Attributes:
        hand_id: the same from frame to frame while the hand is followed; never given again.
        box_xyxy_px: x1, y1, x2, y2 in pixels of the frame.
        score: of the detector, 0 to 1.
        action: the likeliest label, "NG" included.
        confidence: its probability, smoothed over time, 0 to 1.
        top: up to `TOP_ACTIONS` labels with their probabilities, falling; the first is `action`.
    """

    hand_id: int
    box_xyxy_px: tuple[float, float, float, float]
    score: float
    action: str
    confidence: float
    top: tuple[tuple[str, float], ...]


class FrameResult(NamedTuple):
    """A recognised frame.

    Attributes:
        frame: which.
        hands: in it, surest detection first.
        looked: whether the detector ran; False where nothing had moved.
        classified: of so many crops the classifier was asked.
        done_s: `time.monotonic()` when this was known.
        bundle: which one recognised it, see `Running`; "" where nobody named it.
    """

    frame: Frame
    hands: tuple[TrackedHand, ...]
    looked: bool
    classified: int
    done_s: float
    bundle: str = ""
