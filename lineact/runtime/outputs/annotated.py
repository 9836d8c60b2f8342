"""The annotated video: every recognised frame with its boxes and actions, at its own media time."""

import logging
import queue
from fractions import Fraction
from pathlib import Path
from threading import Thread
from typing import Any

from lineact.errors import ConfigError, FullDiskError
from lineact.files import is_full_disk
from lineact.privacy import Blur
from lineact.runtime.outputs.overlay import Overlay
from lineact.runtime.results import FrameResult
from lineact.runtime.settings import PrivacySettings

LONG_SIDE_PX = 1280
MOST_WAITING = 8  # frames
TICKS_PER_S = 90_000
SUFFIXES = (".mkv", ".mp4")

log = logging.getLogger(__name__)


class AnnotatedVideo:
    """Encodes results in a thread of its own. The file is called `part.NAME` until it is
    whole; what a killed process leaves under that name can be played.

    Args:
        path: .mkv or .mp4.
        labels: of the classifier.
        lossless: whether the recogniser waits where the encoder is slower; else frames are left out.
        privacy: what is blurred in it, as in kept crops.

    Raises:
        ConfigError: where the file cannot be one.
    """

    def __init__(
        self, path: Path, labels: tuple[str, ...], lossless: bool, privacy: PrivacySettings | None = None
    ) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path}: expected a file ending in {' or '.join(SUFFIXES)}, found {path.suffix!r}")
        self._path = path
        self._part = path.with_name(f"part.{path.name}")
        blur = Blur(privacy.blur_regions, privacy.blur_faces) if privacy else None
        self._overlay = Overlay(LONG_SIDE_PX, labels, blur)
        self._lossless = lossless
        self._left_out = 0
        self._error: Exception | None = None
        self._ended = False  # whether the encoder was told that nothing comes any more
        self._waiting: queue.Queue[FrameResult | None] = queue.Queue(MOST_WAITING)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._encoder = Thread(target=self._encode, name="annotated", daemon=True)
        self._encoder.start()

    def see(self, result: FrameResult) -> None:
        """Takes a frame.

        Raises:
            FullDiskError: where the disk is full.
        """
        self._refuse_error()
        if not self._lossless and self._waiting.full():
            self._left_out += 1
            return
        self._waiting.put(result)

    def close(self) -> None:
        """Finishes the file.

        Raises:
            FullDiskError: where the disk is full.
        """
        self._waiting.put(None)
        self._encoder.join()
        self._refuse_error()
        if self._part.exists():
            self._part.replace(self._path)
        if self._left_out:
            log.warning("%s: %d frames left out: the encoder was too slow for them", self._path, self._left_out)

    def _refuse_error(self) -> None:
        if self._error is None:
            return
        if is_full_disk(self._error, self._path.parent):
            raise FullDiskError(self._path) from self._error
        raise self._error

    def _encode(self) -> None:
        try:
            self._encode_all()
        except Exception as error:
            self._error = error
            while not self._ended:  # whoever puts must not wait for ever
                self._next()

    def _next(self) -> FrameResult | None:
        result = self._waiting.get()
        self._ended = result is None
        return result

    def _encode_all(self) -> None:
        import av

        first = self._next()
        if first is None:
            return
        # A fragmented MP4 can be played however it ended; Matroska always can.
        options = {"movflags": "frag_keyframe+empty_moov"} if self._path.suffix.lower() == ".mp4" else {}
        with av.open(str(self._part), "w", options=options) as container:
            image_rgb = self._overlay.draw(first)
            stream: Any = container.add_stream(
                "libx264", options={"preset": "veryfast", "crf": "26", "bf": "0", "g": "50"}
            )
            stream.height, stream.width = image_rgb.shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
            result: FrameResult | None = first
            while result is not None:
                picture = av.VideoFrame.from_ndarray(image_rgb, "rgb24")
                # the size as well: the source's may have changed
                picture = picture.reformat(stream.width, stream.height, "yuv420p")
                picture.pts = round((result.frame.pts_s - first.frame.pts_s) * TICKS_PER_S)
                picture.time_base = Fraction(1, TICKS_PER_S)
                container.mux(stream.encode(picture))
                result = self._next()
                if result is not None:
                    image_rgb = self._overlay.draw(result)
            container.mux(stream.encode(None))
