"""Frames, results and videos for the tests of the runtime."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lineact.runtime.events import Event, Origin
from lineact.runtime.frame import Frame
from lineact.runtime.results import FrameResult, TrackedHand
from tests.generated_videos import write_video

ORIGIN = Origin("press_a", "top", "0123456789ab")


def frame_at(pts_s: float, number: int = 0, image_rgb: np.ndarray | None = None) -> Frame:
    """A frame that arrived at its media time."""
    image_rgb = np.zeros((36, 64, 3), np.uint8) if image_rgb is None else image_rgb
    height, width = image_rgb.shape[:2]
    return Frame(number, image_rgb, pts_s, 1_000_000 + pts_s, pts_s, width, height)


def hand(action: str = "pick", confidence: float = 0.75, hand_id: int = 1) -> TrackedHand:
    """A hand with one action, and NG as what it might be, too."""
    top = ((action, confidence), ("NG", 1 - confidence))
    return TrackedHand(hand_id, (8.0, 6.0, 24.0, 20.0), 0.9, action, confidence, top)


def result_at(pts_s: float, *hands: TrackedHand, number: int = 0) -> FrameResult:
    """A frame in which these hands are."""
    return FrameResult(frame_at(pts_s, number), hands, True, len(hands), pts_s + 0.02)


def event(number: int = 0, action: str = "pick") -> Event:
    """An event with an id of its own."""
    return Event(*ORIGIN[:2], action, float(number), number + 0.5, 1_000_000.0 + number, 0.75, 1, ORIGIN.bundle, "")


def numbered_video(path: Path, count: int = 20, fps: float = 10.0, size_wh: tuple[int, int] = (320, 180)) -> Path:
    """A video whose frames get brighter, so that each can be told from the next."""
    width, height = size_wh
    grey = np.linspace(20, 235, count).round().astype(np.uint8)
    pictures = [np.full((height, width, 3), value, np.uint8) for value in grey]
    return write_video(path, pictures, [index / fps for index in range(count)])


@contextlib.contextmanager
def camera_of_bytes(videos: Sequence[bytes], hold_s: float = 0.0) -> Iterator[str]:
    """A camera on a TCP port: each connection gets the next video and is cut; after the last one nobody answers.

    Args:
        videos: as MPEG-TS.
        hold_s: how long a connection stays open, silent, after its video; until the camera is left at most.
    """
    left = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for video in videos:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.sendall(video)
                left.wait(hold_s)
        server.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    finally:
        left.set()
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def close_in_time(output: Any, most_s: float = 60.0) -> None:
    """Closes an output, and raises what that raises; one that never ends fails the test, not the whole run."""
    raised: list[BaseException] = []

    def close() -> None:
        try:
            output.close()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=close, daemon=True)
    thread.start()
    thread.join(most_s)
    assert not thread.is_alive(), f"{output} does not close"
    for error in raised:
        raise error
