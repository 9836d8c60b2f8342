"""Frames in, hands and their actions out. Stages overlap, and what did not change is skipped."""

import dataclasses
import time
from collections.abc import Generator, Iterable
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
from lineact.runtime.tracks import Track, Tracks

# Greatest differences of logits and of scores from those stored with a bundle's samples. A release is held to stricter
# ones; beyond these the machine computes something else.
MOST_OFF: dict[Precision, tuple[float, float]] = {
    "f32": (0.01, 0.01),
    "f16": (0.2, 0.05),
    "bf16": (1.0, 0.2),
    "int8": (2.0, 0.5),
}


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

    def __init__(self, bundle: Bundle, settings: RecogniseSettings) -> None:
        self._bundle = bundle
        self._settings = settings
        self.counts = Counts()

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
        looking = _Looking(self._bundle, self._settings)
        naming = _Naming(self._bundle, self._settings)
        for result in overlapped(frames, [looking.look, naming.name], pause_s):
            if result is None:
                yield None
                continue
            self.counts.frames += 1
            self.counts.looked += result.looked
            self.counts.hands += len(result.hands)
            self.counts.classified += result.classified
            yield result


class _Seen(NamedTuple):
    """A frame on its way from detecting to naming."""

    frame: Frame
    pixels: Pixels
    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    looked: bool


class _Looking:
    """Finds the hands; where nothing moved they are where they were."""

    def __init__(self, bundle: Bundle, settings: RecogniseSettings) -> None:
        self._bundle = bundle
        self._settings = settings
        self._last: tuple[_Seen, np.ndarray] | None = None  # what the detector ran on last, and its blocks

    def look(self, frame: Frame) -> _Seen:
        pixels = Pixels(frame.picture)
        fitted_rgb, placement = pixels.fitted(self._bundle.manifest.detector.input_wh)
        blocks = block_means(fitted_rgb[..., 1])  # green: most of the brightness
        if self._last is not None and self._is_still(frame, blocks, *self._last):
            before = self._last[0]
            return _Seen(frame, pixels, before.boxes_xyxy_px, before.scores, looked=False)
        boxes_xyxy_px, scores = self._bundle.detect_fitted(fitted_rgb, placement)
        seen = _Seen(frame, pixels, boxes_xyxy_px, scores, looked=True)
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

    def __init__(self, bundle: Bundle, settings: RecogniseSettings) -> None:
        self._bundle = bundle
        self._settings = settings
        self._tracks = Tracks(settings)
        self._size_wh: tuple[int, int] | None = None
        self._past: Past[Pixels] = Past(bundle.lags_s)

    def name(self, seen: _Seen) -> FrameResult:
        spec = self._bundle.manifest.classifier
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
        for track, answer in zip(changed, self._classify(crops_rgb), strict=True):
            track.answer = answer
        hands = tuple(
            self._hand(track, track.smooth(passed_s, self._settings.smooth_s), float(score))
            for (track, passed_s), score in zip(followed, seen.scores, strict=True)
        )
        return FrameResult(seen.frame, hands, seen.looked, len(changed), time.monotonic())

    def _with_past(self, seen: _Seen) -> list[Pixels]:
        """The pictures that a hand's strip is cut from, newest first; of another size they show other places."""
        if seen.pixels.size_wh != self._size_wh:
            self._size_wh, self._past = seen.pixels.size_wh, Past(self._bundle.lags_s)
        return self._past.add(seen.frame.pts_s, seen.pixels)

    def _classify(self, crops_rgb: list[np.ndarray]) -> np.ndarray:
        return self._bundle.classify(np.stack(crops_rgb)) if crops_rgb else np.zeros((0, len(self._bundle.labels)))

    def _is_same(self, track: Track, blocks: np.ndarray, at_s: float) -> bool:
        settings = self._settings
        return (
            settings.skip_same_crops
            and track.blocks is not None
            and at_s - track.classified_s < settings.look_again_s
            and greatest_change(track.blocks, blocks) < settings.same_below
        )

    def _hand(self, track: Track, probabilities: np.ndarray, score: float) -> TrackedHand:
        surest = np.argsort(-probabilities, kind="stable")[:TOP_ACTIONS]
        top = tuple((self._bundle.labels[label], float(probabilities[label])) for label in surest)
        x1, y1, x2, y2 = (float(value) for value in track.box_xyxy_px)
        return TrackedHand(track.hand_id, (x1, y1, x2, y2), score, *top[0], top)
