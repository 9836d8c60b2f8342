"""Frames in, hands and their actions out. Stages overlap, and what did not change is skipped."""

import dataclasses
import sys
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lineact.bundle import load_bundle
from lineact.bundle.manifest import read_manifest
from lineact.bundle.networks import Precision, at_hand
from lineact.bundle.pair import Bundle
from lineact.context import Past
from lineact.errors import InputError
from lineact.runtime.frame import Frame
from lineact.runtime.pixels import Pixels
from lineact.runtime.results import TOP_ACTIONS, FrameResult, TrackedHand
from lineact.runtime.settings import RecogniseSettings
from lineact.runtime.stages import overlapped
from lineact.runtime.stillness import block_means, greatest_change
from lineact.runtime.tracks import Track, Tracks, one_box_per_hand

# Greatest differences of logits and of scores from those stored with a bundle's samples. A release is held to stricter
# ones; beyond these the machine computes something else.
MOST_OFF: dict[Precision, tuple[float, float]] = {
    "f32": (0.01, 0.01),
    "f16": (0.2, 0.05),
    "bf16": (1.0, 0.2),
    "int8": (2.0, 0.5),
}

# A thread that comes back from a network, from OpenCV or from the decoder waits for Python's lock at most so long,
# seconds; with Python's own 5 ms the stages took turns in place of overlapping.
SWITCH_S = 0.0002


def open_bundle(folder: Path, settings: RecogniseSettings) -> Bundle:
    """Loads a bundle as it was released, but with the station's threads, and in f32 where its CPU lacks the precision.

    Raises:
        InputError: where a file is missing or altered, the manifest is none, or the networks answer otherwise on this
            machine than where they were released.
    """
    setup = at_hand(read_manifest(folder).setup)
    bundle = load_bundle(folder, dataclasses.replace(setup, threads=settings.threads))
    found, most = (bundle.logits_difference(), bundle.scores_difference()), MOST_OFF[setup.precision]
    if not (found[0] <= most[0] and found[1] <= most[1]):  # not a number is a difference, too
        raise InputError(
            f"{folder}: expected the stored samples' logits within {most[0]:g} and scores within {most[1]:g}, found "
            f"{found[0]:.3g} and {found[1]:.3g} ({bundle.setup.name}); release with another release.setup"
        )
    return bundle


class Running(NamedTuple):
    """A loaded bundle and what it is called.

    Attributes:
        bundle: loaded and checked.
        name: the first digits of its identity; "" where nobody asks.
    """

    bundle: Bundle
    name: str


@dataclass
class Counts:
    """What was done, and so what was skipped.

    Attributes:
        frames: recognised.
        looked: frames on which the detector ran.
        hands: boxes on all frames.
        classified: of these, the ones that the classifier was asked about.
    """

    frames: int = 0
    looked: int = 0
    hands: int = 0
    classified: int = 0


class Recogniser:
    """Recognises the frames of one camera. One iteration at a time.

    Attributes:
        counts: over all iterations so far.
    """

    def __init__(self, bundle: Bundle, settings: RecogniseSettings, name: str = "") -> None:
        self._running = Running(bundle, name)
        self._settings = settings
        self.counts = Counts()

    def switch(self, running: Running) -> None:
        """From the next frame on that is read another bundle recognises; from any thread."""
        self._running = running

    def recognise(self, frames: Iterable[Frame]) -> Generator[FrameResult, None, None]:
        """Recognises frames in their order.

        Reading the next frame, detecting and naming have a thread each: results come a few frames after what is read.

        Args:
            frames: of one camera; their `pts_s` rise.
        """
        for result in self.recognise_in_time(frames, None):
            if result is not None:
                yield result

    def recognise_in_time(
        self, frames: Iterable[Frame], pause_s: float | None
    ) -> Generator[FrameResult | None, None, None]:
        """As `recognise`, and None wherever no result came for `pause_s`: time passes without a frame, too."""
        _share_cores()
        looking = _Looking(lambda: self._running, self._settings)
        naming = _Naming(self._settings)
        for result in overlapped(frames, [looking.look, naming.name], pause_s):
            if result is None:
                yield None
                continue
            self.counts.frames += 1
            self.counts.looked += result.looked
            self.counts.hands += len(result.hands)
            self.counts.classified += result.classified
            yield result


def _share_cores() -> None:
    """The stages of this process overlap: threads of OpenCV's own would only take turns."""
    import cv2

    cv2.setNumThreads(1)
    sys.setswitchinterval(SWITCH_S)


class _Seen(NamedTuple):
    """A frame on its way from detecting to naming."""

    frame: Frame
    running: Running
    pixels: Pixels
    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    looked: bool


class _Looking:
    """Finds the hands; where nothing moved they are where they were."""

    def __init__(self, running: Callable[[], Running], settings: RecogniseSettings) -> None:
        self._running = running
        self._settings = settings
        self._last: tuple[_Seen, np.ndarray] | None = None  # what the detector ran on last, and its blocks

    def look(self, frame: Frame) -> _Seen:
        running = self._running()
        pixels = Pixels(frame.picture)
        fitted_rgb, placement = pixels.fitted(running.bundle.manifest.detector.input_wh)
        blocks = block_means(fitted_rgb[..., 1])  # green: most of the brightness
        same = self._last is not None and self._last[0].running is running
        if self._last is not None and same and self._is_still(frame, blocks, *self._last):
            before = self._last[0]
            return _Seen(frame, running, pixels, before.boxes_xyxy_px, before.scores, looked=False)
        boxes_xyxy_px, scores = running.bundle.detect_fitted(fitted_rgb, placement)
        stay = one_box_per_hand(boxes_xyxy_px, self._settings.most_covered)
        seen = _Seen(frame, running, pixels, boxes_xyxy_px[stay], scores[stay], looked=True)
        self._last = seen, blocks
        return seen

    def _is_still(self, frame: Frame, blocks: np.ndarray, seen: _Seen, before: np.ndarray) -> bool:
        settings = self._settings
        return (
            settings.skip_still_frames
            and (frame.width_px, frame.height_px) == (seen.frame.width_px, seen.frame.height_px)
            and frame.pts_s - seen.frame.pts_s < settings.look_again_s
            and greatest_change(before, blocks) < settings.still_below
        )


class _Naming:
    """Follows the hands and names their actions; where a crop is as it was, so is its answer."""

    def __init__(self, settings: RecogniseSettings) -> None:
        self._settings = settings
        self._tracks = Tracks(settings)
        self._running: Running | None = None
        self._size_wh: tuple[int, int] | None = None
        self._past: Past[Pixels] = Past((0.0,))

    def name(self, seen: _Seen) -> FrameResult:
        bundle = seen.running.bundle
        spec = bundle.manifest.classifier
        at_s = seen.frame.pts_s
        pictures = self._with_past(seen)
        followed = self._tracks.follow(seen.boxes_xyxy_px, at_s)
        changed, crops_rgb = [], []
        for track, _ in followed:
            strip = [picture.crop(track.box_xyxy_px, spec.crop_context, spec.crop_side_px) for picture in pictures]
            blocks = block_means(np.concatenate([crop.grey for crop in strip]))
            if not self._is_same(track, blocks, at_s):
                track.blocks, track.classified_s = blocks, at_s
                changed.append(track)
                crops_rgb.append(np.concatenate([crop.rgb() for crop in strip]))
        for track, answer in zip(changed, _classify(bundle, crops_rgb), strict=True):
            track.answer = answer
        hands = tuple(
            _hand(track, bundle.labels, track.smooth(passed_s, self._settings.smooth_s), float(score))
            for (track, passed_s), score in zip(followed, seen.scores, strict=True)
        )
        return FrameResult(seen.frame, hands, seen.looked, len(changed), time.monotonic(), seen.running.name)

    def _with_past(self, seen: _Seen) -> list[Pixels]:
        """The pictures that a hand's strip is cut from, newest first; of another size they show other places."""
        if seen.running is not self._running:
            self._tracks.forget_answers()
        if seen.running is not self._running or seen.pixels.size_wh != self._size_wh:
            self._running, self._size_wh = seen.running, seen.pixels.size_wh
            self._past = Past(seen.running.bundle.lags_s)
        return self._past.add(seen.frame.pts_s, seen.pixels)

    def _is_same(self, track: Track, blocks: np.ndarray, at_s: float) -> bool:
        settings = self._settings
        return (
            settings.skip_same_crops
            and track.blocks is not None
            and at_s - track.classified_s < settings.look_again_s
            and greatest_change(track.blocks, blocks) < settings.same_below
        )


def _classify(bundle: Bundle, crops_rgb: list[np.ndarray]) -> np.ndarray:
    return bundle.classify(np.stack(crops_rgb)) if crops_rgb else np.zeros((0, len(bundle.labels)))


def _hand(track: Track, labels: tuple[str, ...], probabilities: np.ndarray, score: float) -> TrackedHand:
    surest = np.argsort(-probabilities, kind="stable")[:TOP_ACTIONS]
    top = tuple((labels[label], float(probabilities[label])) for label in surest)
    x1, y1, x2, y2 = (float(value) for value in track.box_xyxy_px)
    return TrackedHand(track.hand_id, (x1, y1, x2, y2), score, *top[0], top)
