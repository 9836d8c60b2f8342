"""Whether the camera still sees what it saw in training: a camera nudged or covered is told, not guessed through."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np

from lineact.bundle.manifest import ViewManifest
from lineact.bundle.pair import Bundle
from lineact.bundle.processing import read_png
from lineact.runtime.pixels import Pixels
from lineact.runtime.results import FrameResult
from lineact.runtime.settings import ViewCheckSettings
from lineact.view import View, ViewMatch, compare_views, small_wh

PICTURES = 5  # of which the median is compared: what moves through the picture is not in it
APART_S = 0.5
SURE_AFTER = 2  # so many checks in turn say the same before it is told, but at the start
SHAPE_TOLERANCE_PX = 2  # sizes may round otherwise

State = Literal["unchecked", "ok", "moved", "covered"]
log = logging.getLogger(__name__)


class ViewWatch:
    """Compares the picture with the bundle's reference, at the start and now and then.

    Args:
        settings: see `ViewCheckSettings`.
        tell: gets the state whenever it changes.
        in_thread: whether a thread compares, which takes some 20 ms: of a camera no frame waits for it. What a
            recording tells must not depend on how fast that thread is.
    """

    def __init__(self, settings: ViewCheckSettings, tell: Callable[[State], None], in_thread: bool) -> None:
        self._settings = settings
        self._comparing = ThreadPoolExecutor(1, "view check") if in_thread else None
        self._compared: Future[tuple[State, str]] | None = None
        self._tell = tell
        self._views: dict[str, tuple[View, ViewManifest]] = {}
        self._view: tuple[View, ViewManifest] | None = None
        self._pictures: list[np.ndarray] = []
        self._size_wh = (0, 0)
        self._next_s = -np.inf
        self._state: State = "unchecked"
        self._seen_so_often = 0
        self._last: State = "unchecked"

    def expect(self, name: str, bundle: Bundle) -> None:
        """This bundle comes; before its first frame."""
        described = bundle.manifest.view
        if not self._settings.every_s:
            return
        if described is None:
            log.warning("bundle %s has no reference view: whether the camera moved is not checked", name)
            return
        grey = read_png(bundle.folder / described.file)[..., 0]
        self._views[name] = View(grey, described.blocks_xy_px), described

    def change(self, name: str) -> None:
        """From now on this bundle recognises."""
        self._take()
        self._view = self._views.pop(name, None)
        self._pictures, self._next_s = [], -np.inf
        self._say("unchecked", "")

    def see(self, result: FrameResult) -> None:
        """Looks at a frame."""
        frame = result.frame
        if self._compared is not None and self._compared.done():
            self._take()
        if self._view is None or frame.pts_s < self._next_s:
            return
        size_wh = (frame.width_px, frame.height_px)
        if size_wh != self._size_wh:
            self._size_wh, self._pictures = size_wh, []
        self._pictures.append(Pixels(frame.picture).grey(small_wh(size_wh)))
        self._next_s = frame.pts_s + APART_S
        if len(self._pictures) == PICTURES:
            self._take()
            self._check(*self._view, self._pictures)
            self._pictures, self._next_s = [], frame.pts_s + self._settings.every_s

    def close(self) -> None:
        """Nothing comes any more."""
        self._take()
        if self._comparing:
            self._comparing.shutdown()
        if self._view is not None and self._state == "unchecked":
            log.warning("the picture was too short to check the view: less than %g s", (PICTURES - 1) * APART_S)

    def _check(self, view: View, described: ViewManifest, pictures: list[np.ndarray]) -> None:
        expected_wh, found_wh = view.grey.shape[::-1], pictures[0].shape[::-1]
        if (
            max(abs(expected - found) for expected, found in zip(expected_wh, found_wh, strict=True))
            > SHAPE_TOLERANCE_PX
        ):
            width, height = described.size_wh
            self._note(
                "moved", f"the picture is {self._size_wh[0]} x {self._size_wh[1]} px, in training {width} x {height}"
            )
        elif self._comparing:
            self._compared = self._comparing.submit(self._compare, view, pictures, self._size_wh)
        else:
            self._note(*self._compare(view, pictures, self._size_wh))

    def _take(self) -> None:
        """Notes what the thread found."""
        compared, self._compared = self._compared, None
        if compared is not None:
            self._note(*compared.result())

    def _compare(self, view: View, pictures: Sequence[np.ndarray], size_wh: tuple[int, int]) -> tuple[State, str]:
        match = compare_views(view, _cut_to(median_of_five(pictures), view.grey.shape[::-1]))
        if match.seen < self._settings.least_seen:
            return "covered", f"{match.seen:.0%} of the view is as in training: it is covered, dark or another place"
        if match.moved > self._settings.most_moved:
            return "moved", _shift_in_words(match, size_wh)
        return "ok", f"the view is as in training ({match.seen:.0%} of it seen)"

    def _note(self, state: State, words: str) -> None:
        self._seen_so_often = self._seen_so_often + 1 if state == self._last else 1
        self._last = state
        if self._state == "unchecked" or self._seen_so_often >= SURE_AFTER:
            self._say(state, words)

    def _say(self, state: State, words: str) -> None:
        if state == self._state:
            return
        self._state = state
        if words:
            log.log(logging.INFO if state == "ok" else logging.ERROR, "%s", words)
        self._tell(state)


def _shift_in_words(match: ViewMatch, size_wh: tuple[int, int]) -> str:
    side_px = max(size_wh)
    x, y = (value * side_px for value in match.moved_xy)
    return (
        f"the camera was moved since training: the picture by {x:+.0f} px across and {y:+.0f} px down, parts of it "
        f"by {match.moved * side_px:.0f} px or more; move it back, or record and train anew"
    )


def median_of_five(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Their median, pixel by pixel, as `np.median` has it, in a hundredth of its time: ten comparisons.

    Args:
        pictures: five of one shape and type.
    """
    one, two, three, four, five = pictures
    low = np.maximum(np.minimum(one, two), np.minimum(three, four))  # of the first four the least one is none
    high = np.minimum(np.maximum(one, two), np.maximum(three, four))  # nor is the greatest
    return np.maximum(np.minimum(five, low), np.minimum(high, np.maximum(five, low)))


def _cut_to(grey: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """The same picture with a row or column less or more at the edge."""
    padded = np.pad(grey, ((0, SHAPE_TOLERANCE_PX), (0, SHAPE_TOLERANCE_PX)), mode="edge")
    return np.ascontiguousarray(padded[: size_wh[1], : size_wh[0]])
