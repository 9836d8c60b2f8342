"""Crops that the recogniser was unsure of or took for irrelevant, kept for the next review: so many bytes, so long."""

import logging
import queue
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lineact.boxes import square_around
from lineact.bundle.manifest import ClassifierManifest
from lineact.feedback import SUFFIX, Kept, KeptCrop, content_of
from lineact.files import write_bytes
from lineact.privacy import Blur
from lineact.runtime.events import Origin
from lineact.runtime.outputs.kept_files import Limits, free_path, remove_old
from lineact.runtime.pixels import Pixels
from lineact.runtime.results import FrameResult, TrackedHand
from lineact.runtime.settings import FeedbackSettings, PrivacySettings

NG = "NG"
MOST_WAITING = 32  # crops; each holds its frame
NAME_FORMAT = "%Y%m%dT%H%M%S.%fZ"
LOOK_EVERY_S = 60.0  # for what was kept long enough
DAY_S = 86400.0

log = logging.getLogger(__name__)


class _Unsure(NamedTuple):
    """A crop that is to be kept, as the bundle saw it that ran then: another one may run when it is written."""

    result: FrameResult
    hand: TrackedHand
    origin: Origin
    spec: ClassifierManifest


class FeedbackRing:
    """Keeps crops in a folder; the oldest go first. Written in a thread of its own.

    Where none are to be stored, those of before still go when their time is over.

    Args:
        folder: made where it is missing; what a station kept there before counts.
        settings: see `FeedbackSettings`.
        privacy: see `PrivacySettings`.
        origin: the model's line, camera and version.
        spec: how the bundle's crops are cut.

    Raises:
        ConfigError: where faces are to be blurred and cannot be found.
    """

    def __init__(
        self,
        folder: Path,
        settings: FeedbackSettings,
        privacy: PrivacySettings,
        origin: Origin,
        spec: ClassifierManifest,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._stores = privacy.store_crops
        self._blur = Blur(privacy.blur_regions, privacy.blur_faces)
        self._origin = origin
        self._spec = spec
        self._specs: dict[str, ClassifierManifest] = {}
        self._asked_s: dict[int, float] = {}  # hand -> when a crop of it was kept last
        self._told_full = False
        folder.mkdir(parents=True, exist_ok=True)
        self._limits = Limits(settings.most_mb * 1e6, settings.keep_days * DAY_S)
        self._bytes = remove_old(folder, SUFFIX, self._limits)
        self._looked_s = time.monotonic()
        self._waiting: queue.Queue[_Unsure | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._write_until_closed, name="feedback", daemon=True)
        self._thread.start()

    def expect(self, bundle: str, spec: ClassifierManifest) -> None:
        """This bundle comes; before its first frame."""
        self._specs[bundle] = spec

    def change(self, bundle: str) -> None:
        """Another bundle recognises from now on."""
        self._origin = self._origin._replace(bundle=bundle)
        self._spec = self._specs.pop(bundle, self._spec)

    def see(self, result: FrameResult) -> None:
        """Looks for crops worth keeping; where they come faster than they are written, they are left out."""
        if not self._stores:
            return
        at_s = result.frame.pts_s
        for hand in result.hands:
            is_unsure = hand.action == NG or hand.confidence < self._settings.below
            passed_s = at_s - self._asked_s.get(hand.hand_id, -self._settings.apart_s)
            if not is_unsure or passed_s < self._settings.apart_s:
                continue
            if not self._waiting.full():
                self._asked_s[hand.hand_id] = at_s
                self._waiting.put(_Unsure(result, hand, self._origin, self._spec))
        if len(self._asked_s) > MOST_WAITING:
            recent = at_s - self._settings.apart_s
            self._asked_s = {number: kept_s for number, kept_s in self._asked_s.items() if kept_s > recent}

    def close(self) -> None:
        """Writes what waits."""
        self._waiting.put(None)
        self._thread.join()

    def _write_until_closed(self) -> None:
        while True:
            try:
                unsure = self._waiting.get(timeout=LOOK_EVERY_S)
                if unsure is None:
                    return
                self._write(unsure)
            except queue.Empty:
                pass
            except Exception as error:  # feedback is worth less than events: the station goes on without
                self._tell(error)
            self._guarded_look()

    def _guarded_look(self) -> None:
        is_time = time.monotonic() - self._looked_s >= LOOK_EVERY_S
        if not is_time and self._bytes <= self._limits.most_bytes:
            return
        self._looked_s = time.monotonic()
        try:
            self._bytes = remove_old(self._folder, SUFFIX, self._limits)
        except OSError as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._told_full:
            log.warning("%s: crops are not kept: %s", self._folder, error)
        self._told_full = True

    def _write(self, unsure: _Unsure) -> None:
        frame, hand, spec = unsure.result.frame, unsure.hand, unsure.spec
        pixels = Pixels(frame.picture)
        box_xyxy_px = np.array(hand.box_xyxy_px)
        crop_rgb = pixels.crop(box_xyxy_px, spec.crop_context, spec.crop_side_px).rgb()
        square = square_around(box_xyxy_px, spec.crop_context)
        line, camera, bundle = unsure.origin
        kept = Kept(line, camera, frame.utc_s, hand.action, round(hand.confidence, 4), bundle, spec.crop_context)
        content = content_of(KeptCrop(kept, self._blur.apply(crop_rgb, square, pixels.size_wh)))
        stamp = datetime.now(UTC).strftime(NAME_FORMAT)
        write_bytes(free_path(self._folder / f"{stamp}{SUFFIX}"), content)
        self._told_full = False
        self._bytes += len(content)
