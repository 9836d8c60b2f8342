"""Videos made for tests: moving blobs on a textured scene, muxed with chosen times."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SIZE_WH = (320, 180)
CLOCK = 1000  # ticks of the container's clock per second


def scene(seed: int = 0) -> np.ndarray:
    """A still, textured picture: uint8, 180 x 320 x 3."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = rng.integers(90, 170, (12, 20, 3), dtype=np.uint8)
    return cv2.resize(coarse, SIZE_WH, interpolation=cv2.INTER_CUBIC)


def with_arm(picture: np.ndarray, tip_xy: tuple[int, int], hand_px: int = 40) -> np.ndarray:
    """The picture with an arm from the top border down to a hand, whose lowest point is at `tip_xy`."""
    image = picture.copy()
    x, y = tip_xy
    image[: max(y - hand_px, 0), x - 10 : x + 10] = (60, 40, 150)  # sleeve
    image[max(y - hand_px, 0) : y, x - 20 : x + 20] = (215, 70, 60)  # hand
    return image


def write_video(
    path: Path, images_rgb: Sequence[np.ndarray], times_s: Sequence[float] | None = None, *, codec: str = "libx264"
) -> Path:
    """Encodes pictures with these times; 10 frames per second where none are given."""
    import av

    times_s = [index / 10 for index in range(len(images_rgb))] if times_s is None else times_s
    options = {"crf": "10", "preset": "ultrafast"} if codec == "libx264" else {"qscale": "2"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=CLOCK, options=options)
        height, width = images_rgb[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        for image, time_s in zip(images_rgb, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time_s * CLOCK), Fraction(1, CLOCK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A file with a video's suffix and an audio stream alone."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def passing_hand(seconds: float = 12.0, fps: float = 10.0, offset: int = 0) -> tuple[list[np.ndarray], list[int]]:
    """Pictures in which an arm comes from the top, works and leaves, and the frames that show it fully.

    Returns:
        The pictures, and the indices of frames in which the hand's tip is at x = 160, y = 120.
    """
    still = np.clip(scene().astype(int) + offset, 0, 255).astype(np.uint8)
    count = round(seconds * fps)
    pictures, at_work = [], []
    for index in range(count):
        phase = index / count
        if 0.4 <= phase < 0.6:
            depth = min((phase - 0.4) / 0.04, 1.0, (0.6 - phase) / 0.04)
            tip_y = round(120 * depth)
            pictures.append(with_arm(still, (160, tip_y)) if tip_y > 2 else still)
            if depth == 1.0:
                at_work.append(index)
        else:
            pictures.append(still)
    return pictures, at_work
