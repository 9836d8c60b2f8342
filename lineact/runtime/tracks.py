"""Which hand is which from frame to frame, and what its action is over time."""

from dataclasses import dataclass, field

import numpy as np

from lineact.boxes import area
from lineact.runtime.settings import RecogniseSettings


@dataclass
class Track:
    """A hand that is followed.

    Attributes:
        hand_id: never given again.
        box_xyxy_px: float32, 4, where it was seen last.
        seen_s: when, media seconds.
        blocks: brightness of its crop when that was classified last; None before.
        classified_s: when that was.
        answer: the classifier's probabilities of then, float32, one per label.
        smoothed: the same over time.
    """

    hand_id: int
    box_xyxy_px: np.ndarray
    seen_s: float
    blocks: np.ndarray | None = None
    classified_s: float = -np.inf
    answer: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    smoothed: np.ndarray | None = None

    def smooth(self, passed_s: float, smooth_s: float) -> np.ndarray:
        """Moves the smoothed probabilities towards the last answer.

        Exponential smoothing over time, not frames, so that a source's rate does not matter.

        Args:
            passed_s: since this was called last.
            smooth_s: see `RecogniseSettings`.
        """
        if self.smoothed is None or not smooth_s:
            self.smoothed = self.answer
        else:
            self.smoothed = self.smoothed + (1 - np.exp(-passed_s / smooth_s)) * (self.answer - self.smoothed)
        return self.smoothed


class Tracks:
    """The hands of one camera."""

    def __init__(self, settings: RecogniseSettings) -> None:
        self._settings = settings
        self._tracks: list[Track] = []
        self._given = 0

    def follow(self, boxes_xyxy_px: np.ndarray, at_s: float) -> list[tuple[Track, float]]:
        """Says which hand each box is.

        Args:
            boxes_xyxy_px: float32, N x 4.
            at_s: the frame's media seconds.

        Returns:
            Per box its hand, with the box and time taken over, and the seconds since it was seen before.
        """
        self._tracks = [track for track in self._tracks if at_s - track.seen_s <= self._settings.lost_after_s]
        nearest = self._pair(boxes_xyxy_px)
        found = []
        for row, box_xyxy_px in enumerate(boxes_xyxy_px):
            track = nearest.get(row)
            if track is None:
                self._given += 1
                track = Track(self._given, box_xyxy_px, at_s)
                self._tracks.append(track)
            found.append((track, at_s - track.seen_s))
            track.box_xyxy_px, track.seen_s = box_xyxy_px, at_s
        return found

    def forget_answers(self) -> None:
        """Another classifier takes over: the hands stay who they are, what they do is asked anew."""
        for track in self._tracks:
            track.blocks, track.classified_s, track.smoothed = None, -np.inf, None

    def _pair(self, boxes_xyxy_px: np.ndarray) -> dict[int, Track]:
        """Nearest pairs first, one to one; distances in sides of the boxes, so that camera and size do not matter."""
        if not (len(boxes_xyxy_px) and self._tracks):
            return {}
        before = np.stack([track.box_xyxy_px for track in self._tracks])
        distance_px = np.linalg.norm(_centres(boxes_xyxy_px)[:, None] - _centres(before)[None], axis=2)  # N x tracks
        sides_px = (_sides(boxes_xyxy_px)[:, None] + _sides(before)[None]) / 2
        distance = distance_px / np.maximum(sides_px, 1.0)
        pairs: dict[int, Track] = {}
        taken: set[int] = set()
        for row, column in zip(*np.unravel_index(np.argsort(distance, axis=None), distance.shape), strict=True):
            if distance[row, column] > self._settings.follow_within:
                break
            if row not in pairs and column not in taken:
                pairs[int(row)] = self._tracks[column]
                taken.add(int(column))
        return pairs


def one_box_per_hand(boxes_xyxy_px: np.ndarray, most_covered: float) -> np.ndarray:
    """Rows of the boxes that stay where a surer box covers most of another: of a hand, or of a hand and its arm.

    The detector's own suppression goes by IoU, which is small for a small box inside a large one.

    Args:
        boxes_xyxy_px: N x 4, surest first.
        most_covered: see `RecogniseSettings`.

    Returns:
        int64, rising.
    """
    areas = area(boxes_xyxy_px)
    stay: list[int] = []
    for row, box_xyxy_px in enumerate(boxes_xyxy_px):
        others = boxes_xyxy_px[stay]
        corners = np.maximum(others[:, :2], box_xyxy_px[:2]), np.minimum(others[:, 2:], box_xyxy_px[2:])
        common = area(np.concatenate(corners, axis=1))
        if not np.any(common > most_covered * np.minimum(areas[stay], areas[row])):
            stay.append(row)
    return np.array(stay, np.int64)


def _centres(boxes_xyxy_px: np.ndarray) -> np.ndarray:
    return (boxes_xyxy_px[:, :2] + boxes_xyxy_px[:, 2:]) / 2


def _sides(boxes_xyxy_px: np.ndarray) -> np.ndarray:
    return (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).max(axis=1)
