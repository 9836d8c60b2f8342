"""From what single frames show to events: an action of one hand from a start to an end."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from lineact.bundle.manifest import EventSettings
from lineact.runtime.frame import Frame
from lineact.runtime.results import FrameResult

EVENT_VERSION = 2  # of the event's JSON form
ACTION = "action"  # the kind of these events; others are of `lineact.runtime.work`
TOLERANCE_S = 1e-6  # 0.7 - 0.4 is less than 0.3


@dataclass(frozen=True)
class Event:
    """An action as the runtime reports it.

    Attributes:
        line: the bundle's.
        camera: which one saw it.
        action: a label, "NG" included.
        start_s: media seconds, included.
        end_s: media seconds, excluded.
        start_utc_s: seconds since 1970.
        confidence: mean over the frames that show it, 0 to 1.
        hand: the tracked hand's number.
        bundle: the first 12 digits of the SHA-256 of the bundle with which it began.
        product: number of the product or cycle that it belongs to; "" where nobody tells one.
        view: whether the camera saw what it saw in training when it ended: "ok", "moved", "covered" or "unchecked".
        event_id: unique: MQTT may deliver an event twice.
    """

    line: str
    camera: str
    action: str
    start_s: float
    end_s: float
    start_utc_s: float
    confidence: float
    hand: int
    bundle: str
    product: str
    view: str = "unchecked"
    event_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def as_json(self) -> dict[str, object]:
        """The form in which it is written and sent. A clock that is set meanwhile changes no duration."""
        return {
            "version": EVENT_VERSION,
            "event_id": self.event_id,
            "kind": ACTION,
            "line": self.line,
            "camera": self.camera,
            "action": self.action,
            "start_s": round(self.start_s, 6),
            "end_s": round(self.end_s, 6),
            "start_utc": utc_text(self.start_utc_s),
            "end_utc": utc_text(self.start_utc_s + self.end_s - self.start_s),
            "confidence": round(self.confidence, 4),
            "hand": self.hand,
            "bundle": self.bundle,
            "product": self.product,
            "view": self.view,
        }


def utc_text(seconds: float) -> str:
    """ISO 8601 with milliseconds, of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Begun(NamedTuple):
    """An event that still goes on.

    Attributes:
        hand: see `Event`; with the start it tells which event this becomes.
        action: likewise.
        start_s: likewise.
        start_utc_s: likewise.
        product: likewise.
        until_s: the action has been seen until then, media seconds.
    """

    hand: int
    action: str
    start_s: float
    start_utc_s: float
    product: str
    until_s: float


class Origin(NamedTuple):
    """What all events of a runtime have in common: see `Event`."""

    line: str
    camera: str
    bundle: str


@dataclass
class _Run:
    """Frames of one hand with one action."""

    action: str
    start_s: float
    start_utc_s: float
    product: str
    bundle: str
    last_s: float  # of its last frame
    confidences: float = 0.0
    frames: int = 0
    end_s: float | None = None  # where its last frame ended; None while that is the newest one

    def add(self, pts_s: float, confidence: float) -> None:
        self.last_s, self.end_s = pts_s, None
        self.confidences += confidence
        self.frames += 1

    def stop(self, at_s: float, longest_s: float) -> None:
        """Its last frame lasts until the next one, of whatever, but no longer than `longest_s`."""
        if self.end_s is None:
            self.end_s = min(at_s, self.last_s + longest_s)

    @property
    def duration_s(self) -> float:
        return (self.last_s if self.end_s is None else self.end_s) - self.start_s


class _Hand:
    """One hand's event in progress, and the action that may take its place.

    An event begins with `min_duration_s` of one action without another in between, goes on over gaps of at most
    `max_gap_s`, and ends with the last frame that showed its action. So a hand's events never overlap.
    """

    def __init__(self, settings: EventSettings) -> None:
        self.settings = settings
        self._current: _Run | None = None
        self._next: _Run | None = None

    @property
    def is_idle(self) -> bool:
        return self._current is None and self._next is None

    def pass_time(self, at_s: float) -> list[_Run]:
        """A frame begins: the one before ends. Returns the run that ended for good, if one did."""
        for run in (self._current, self._next):
            if run:
                run.stop(at_s, self.settings.max_gap_s)
        return self._over(at_s)

    def wait(self, until_s: float) -> list[_Run]:
        """No frame began until then: ends what has certainly ended, whenever the next one begins."""
        for run in (self._current, self._next):
            if run and until_s >= run.last_s + self.settings.max_gap_s:
                run.stop(until_s, self.settings.max_gap_s)
        return self._over(until_s)

    def _over(self, at_s: float) -> list[_Run]:
        ended = self._promote()
        if self._next and self._is_over(self._next, at_s):
            self._next = None
        if self._current and self._is_over(self._current, at_s):
            ended.append(self._current)
            self._current = None
        return ended

    def _is_over(self, run: _Run, at_s: float) -> bool:
        return run.end_s is not None and at_s - run.end_s > self.settings.max_gap_s + TOLERANCE_S

    def see(self, action: str, confidence: float, frame: Frame, product: str, bundle: str) -> None:
        """The frame shows this hand."""
        if self._current and action == self._current.action:
            self._current.add(frame.pts_s, confidence)
            self._next = None
            return
        if self._next is None or action != self._next.action:
            self._next = _Run(action, frame.pts_s, frame.utc_s, product, bundle, frame.pts_s)
        self._next.add(frame.pts_s, confidence)

    def _promote(self) -> list[_Run]:
        if self._next is None or self._next.duration_s < self.settings.min_duration_s - TOLERANCE_S:
            return []
        ended = [self._current] if self._current else []
        self._current, self._next = self._next, None
        return ended

    @property
    def current(self) -> _Run | None:
        """What counts as an event by now."""
        return self._current

    @property
    def unsure_since_s(self) -> float | None:
        """Since when it shows what may become an event, or not."""
        return None if self._next is None else self._next.start_s

    def end(self, at_s: float) -> list[_Run]:
        """Nothing comes any more."""
        ended = self.pass_time(at_s)
        return [*ended, self._current] if self._current else ended


def _nobody_tells(arrived_s: float) -> str:  # noqa: ARG001 - it is asked for a moment
    return ""


class Debouncer:
    """Turns results, frame by frame, into events. One for each camera.

    Args:
        settings: see `EventSettings`.
        origin: what the events have in common.
        product_at: the product when a frame arrived, by `time.monotonic()`; an event has that of its first frame.

    Attributes:
        view: goes into the events that end from now on; see `Event`.
    """

    def __init__(
        self, settings: EventSettings, origin: Origin, product_at: Callable[[float], str] = _nobody_tells
    ) -> None:
        self._settings = settings
        self._origin = origin
        self._product_at = product_at
        self.view = "unchecked"
        self._hands: dict[int, _Hand] = {}
        self._passed_s = float("-inf")

    def change(self, settings: EventSettings, bundle: str) -> None:
        """Another bundle recognises from the next frame on. What goes on keeps the name of the one it began with.

        Args:
            settings: the new bundle's.
            bundle: see `Event`.
        """
        self._settings = settings
        self._origin = self._origin._replace(bundle=bundle)
        for hand in self._hands.values():
            hand.settings = settings

    def push(self, result: FrameResult) -> list[Event]:
        """Takes a frame, later than all before, and returns the events that it ended, by their start.

        A frame of a time that `pass_time` has passed comes too late to be told of.
        """
        frame = result.frame
        if frame.pts_s < self._passed_s:
            return []
        events = self._told({number: hand.pass_time(frame.pts_s) for number, hand in self._hands.items()})
        product = self._product_at(frame.arrived_s)
        for seen in result.hands:
            hand = self._hands.setdefault(seen.hand_id, _Hand(self._settings))
            hand.see(seen.action, seen.confidence, frame, product, self._origin.bundle)
        return events

    def pass_time(self, at_s: float) -> list[Event]:
        """No frame came and none of a time before comes any more: returns the events that are over, by their start.

        Args:
            at_s: media seconds of now.
        """
        self._passed_s = max(at_s, self._passed_s)
        return self._told({number: hand.wait(at_s) for number, hand in self._hands.items()})

    def _told(self, ended: dict[int, list[_Run]]) -> list[Event]:
        events = [event for number, runs in ended.items() for event in self._events(number, runs)]
        self._hands = {number: hand for number, hand in self._hands.items() if not hand.is_idle}
        return sorted(events, key=lambda event: event.start_s)

    def begun(self) -> tuple[Begun, ...]:
        """The events that go on, by their hand."""
        runs = [(number, hand.current) for number, hand in self._hands.items()]
        return tuple(
            Begun(
                number, run.action, run.start_s, run.start_utc_s, run.product,
                run.last_s if run.end_s is None else run.end_s,
            )
            for number, run in runs
            if run is not None
        )  # fmt: skip

    def settled_s(self, at_s: float) -> float:
        """Media seconds before which nothing begins any more that was not told of.

        Args:
            at_s: of the last frame.
        """
        return min([hand.unsure_since_s for hand in self._hands.values() if hand.unsure_since_s is not None] + [at_s])

    def close(self, at_s: float) -> list[Event]:
        """The source ended: returns the events that were still going on, by their start.

        Args:
            at_s: media seconds where the last frame ended.
        """
        hands, self._hands = self._hands, {}
        events = [event for number, hand in hands.items() for event in self._events(number, hand.end(at_s))]
        return sorted(events, key=lambda event: event.start_s)

    def _events(self, hand: int, runs: list[_Run]) -> list[Event]:
        line, camera, _ = self._origin
        return [
            Event(
                line=line,
                camera=camera,
                action=run.action,
                start_s=run.start_s,
                end_s=run.last_s if run.end_s is None else run.end_s,
                start_utc_s=run.start_utc_s,
                confidence=run.confidences / run.frames,
                hand=hand,
                bundle=run.bundle,
                product=run.product,
                view=self.view,
            )
            for run in runs
        ]
