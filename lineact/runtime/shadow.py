"""A challenger beside the champion: it sees the same frames and reports no events; where they differ is told."""

import contextlib
import json
import logging
import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from lineact.boxes import iou_matrix
from lineact.errors import FullDiskError
from lineact.files import is_full_disk
from lineact.runtime.events import utc_text
from lineact.runtime.frame import Frame
from lineact.runtime.recognise import Recogniser, Running
from lineact.runtime.results import FrameResult, TrackedHand
from lineact.runtime.settings import RecogniseSettings

FILE = "disagreements.jsonl"
BEFORE = "disagreements-before.jsonl"  # the last full one, or that of the start before
MOST_BYTES = 10_000_000  # of each: a challenger that differs all day must not fill the disk
MOST_WAITING = 8  # frames
SAME_IOU = 0.5  # from this IoU on two boxes are the same hand
GAP_S = 0.5  # a stretch goes on over as much
LOOK_S = 0.2
NO_HAND = ""  # what the one says who sees none

log = logging.getLogger(__name__)


class Difference(NamedTuple):
    """What the two say of one hand.

    Attributes:
        champion: its action; "" where it sees no hand.
        challenger: likewise.
    """

    champion: str
    challenger: str


@dataclass
class ShadowCounts:
    """What was compared.

    Attributes:
        frames: seen by both.
        left_out: frames for which the challenger had no time.
        hands: on those frames, seen by either.
        different: of these, with another action, or seen by one alone.
        stretches: times at which one difference lasted, as written down.
    """

    frames: int = 0
    left_out: int = 0
    hands: int = 0
    different: int = 0
    stretches: int = 0

    @property
    def rate(self) -> float:
        """Share of the hands on which the two differ, 0 to 1."""
        return self.different / self.hands if self.hands else 0.0


@dataclass
class _Stretch:
    """A difference that lasts."""

    start_s: float
    start_utc_s: float
    end_s: float
    hands: int


def differences(champion: tuple[TrackedHand, ...], challenger: tuple[TrackedHand, ...]) -> tuple[int, list[Difference]]:
    """Hands that either of them sees, and what they say of those on which they differ."""
    left = list(range(len(challenger)))
    iou = iou_matrix(_boxes(champion), _boxes(challenger))  # N x M
    found = []
    for row, hand in enumerate(champion):
        nearest = left[int(iou[row, left].argmax())] if left else None
        if nearest is None or iou[row, nearest] < SAME_IOU:
            found.append(Difference(hand.action, NO_HAND))
            continue
        left.remove(nearest)
        if challenger[nearest].action != hand.action:
            found.append(Difference(hand.action, challenger[nearest].action))
    found += [Difference(NO_HAND, challenger[column].action) for column in left]
    return len(champion) + len(left), found


def _boxes(hands: tuple[TrackedHand, ...]) -> np.ndarray:
    return np.array([hand.box_xyxy_px for hand in hands]).reshape(-1, 4)


class Shadow:
    """Runs the challenger in a thread of its own.

    Args:
        running: the challenger, loaded and checked.
        settings: of its recogniser.
        out: folder that gets `disagreements.jsonl`; what a start before left there becomes `BEFORE`.
        champion: name of the bundle that reports, for the file.
        lossless: whether frames wait for the challenger; else those for which it has no time are left out.

    Attributes:
        counts: so far; of another thread, so read only.
    """

    def __init__(self, running: Running, settings: RecogniseSettings, out: Path, champion: str, lossless: bool) -> None:
        self.counts = ShadowCounts()
        self._name = running.name
        self._champion = champion
        self._lossless = lossless
        self._path = out / FILE
        self._stream = self._begun()
        self._open: dict[Difference, _Stretch] = {}
        self._expected: deque[FrameResult] = deque()  # what the champion said of the frames on their way
        self._waiting: queue.Queue[FrameResult | None] = queue.Queue(MOST_WAITING)
        self._error: Exception | None = None
        self._closing = threading.Event()
        recogniser = Recogniser(running.bundle, settings, running.name)
        self._thread = threading.Thread(target=self._work, args=(recogniser,), name="shadow", daemon=True)
        self._thread.start()
        log.info("bundle %s runs in the shadow of %s; it reports nothing", running.name, champion)

    def _begun(self) -> TextIO:
        """The file, empty; what was written before is kept beside it, once."""
        if self._path.is_file() and self._path.stat().st_size:
            self._path.replace(self._path.with_name(BEFORE))
        return self._path.open("w", encoding="utf-8")

    def change(self, bundle: str) -> None:
        """Another champion reports from now on."""
        self._champion = bundle

    def see(self, result: FrameResult) -> None:
        """Takes a frame and what the champion says of it.

        A challenger that fails is told and left alone: the champion goes on.
        """
        if self._error is not None:
            return
        if not self._lossless and self._waiting.full():
            self.counts.left_out += 1
            return
        self._waiting.put(result)

    def close(self) -> None:
        """Finishes the file and tells what came of it."""
        self._closing.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=LOOK_S)
                break
        self._thread.join()
        counts = self.counts
        log.info(
            "shadow %s: %d frames compared, %d left out; %d of %d hands differ (%.2f %%), in %d stretches: %s",
            self._name, counts.frames, counts.left_out, counts.different, counts.hands, 100 * counts.rate,
            counts.stretches, self._path,
        )  # fmt: skip

    def _frames(self) -> Iterator[Frame]:
        while (result := self._waiting.get()) is not None:
            self._expected.append(result)
            yield result.frame

    def _work(self, recogniser: Recogniser) -> None:
        last: FrameResult | None = None
        try:
            for challenged in recogniser.recognise(self._frames()):
                last = self._expected.popleft()  # results come in the order of their frames
                self._compare(last, challenged)
            if last is not None:
                self._end_those_before(np.inf)
        except Exception as error:  # whatever a challenger does, the champion goes on
            self._error = error
            full = is_full_disk(error, self._path.parent)
            log.error("shadow %s ended: %s", self._name, FullDiskError(self._path) if full else error)
            while not self._closing.is_set():  # whoever puts must not wait for ever
                with contextlib.suppress(queue.Empty):
                    self._waiting.get(timeout=LOOK_S)
        finally:
            self._stream.close()

    def _compare(self, champion: FrameResult, challenger: FrameResult) -> None:
        frame = champion.frame
        hands, found = differences(champion.hands, challenger.hands)
        self.counts.frames += 1
        self.counts.hands += hands
        self.counts.different += len(found)
        for difference in found:
            stretch = self._open.setdefault(difference, _Stretch(frame.pts_s, frame.utc_s, frame.pts_s, 0))
            stretch.end_s = frame.pts_s
            stretch.hands += 1
        self._end_those_before(frame.pts_s - GAP_S)

    def _end_those_before(self, at_s: float) -> None:
        for difference in [one for one, stretch in self._open.items() if stretch.end_s < at_s]:
            stretch = self._open.pop(difference)
            line = {
                "start_s": round(stretch.start_s, 6),
                "end_s": round(stretch.end_s, 6),
                "start_utc": utc_text(stretch.start_utc_s),
                "champion_says": difference.champion,
                "challenger_says": difference.challenger,
                "hands": stretch.hands,
                "champion": self._champion,
                "challenger": self._name,
            }
            self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._stream.flush()
            if self._stream.tell() >= MOST_BYTES:
                self._stream.close()
                self._stream = self._begun()
            self.counts.stretches += 1
