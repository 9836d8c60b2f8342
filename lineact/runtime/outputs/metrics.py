"""Figures for Prometheus: http://127.0.0.1:<port>/metrics."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lineact.errors import ConfigError
from lineact.runtime.events import Event, Origin
from lineact.runtime.results import FrameResult
from lineact.runtime.settings import MetricsSettings
from lineact.runtime.sources.counts import SourceCounts
from lineact.runtime.work.events import Reported

if TYPE_CHECKING:
    from prometheus_client.core import Metric

NG = "NG"
VIEW_STATES = ("unchecked", "ok", "moved", "covered")
RATE_OVER_S = 10.0  # of the frames per second
NG_OVER_HANDS = 1000  # of the share of irrelevant actions
LATENCY_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 2, 5)
CYCLE_BUCKETS_S = (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)
COUNTED = {
    "dropped": "Frames that came while the recogniser was busy",
    "broken": "Frames that did not decode whole",
    "size_changes": "Changes of the picture's size",
    "reconnects": "New connections to the camera",
    "clock_jumps": "Jumps of the stream's or this machine's clock",
}


class MetricsOutput:
    """Counts frames, hands and events, and serves the figures.

    Args:
        settings: where to serve.
        origin: the model's line, camera and version.
        counts: of the source.
        waiting: how many events wait for the MQTT broker.

    Raises:
        ConfigError: where the port cannot be opened.
    """

    def __init__(
        self, settings: MetricsSettings, origin: Origin, counts: SourceCounts, waiting: Callable[[], int]
    ) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

        registry = CollectorRegistry()
        self._frames = Counter("lineact_frames", "Frames recognised", registry=registry)
        self._detected = Counter("lineact_detector_calls", "Frames the detector looked at", registry=registry)
        self._classified = Counter("lineact_classified_crops", "Crops the classifier was asked", registry=registry)
        self._hands = Counter("lineact_hands", "Hands on all frames, by action", ["action"], registry=registry)
        self._events = Counter("lineact_events", "Events reported, by action", ["action"], registry=registry)
        self._latency = Histogram(
            "lineact_latency_seconds",
            "From a frame's arrival to its result",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._cycles = Counter("lineact_cycles", "Finished cycles, seen whole or not", ["seen"], registry=registry)
        self._deviations = Counter(
            "lineact_deviations", "Differences from the standard work", ["kind", "action"], registry=registry
        )
        self._cycle_s = Histogram(
            "lineact_cycle_seconds", "Cycles seen whole, start to end", buckets=CYCLE_BUCKETS_S, registry=registry
        )
        self._recent_s: deque[float] = deque()
        self._are_ng: deque[bool] = deque(maxlen=NG_OVER_HANDS)
        rate = Gauge("lineact_frames_per_second", f"Over the last {RATE_OVER_S:g} s", registry=registry)
        rate.set_function(self._rate)
        share = Gauge("lineact_ng_ratio", f"Share of {NG} among the last {NG_OVER_HANDS} hands", registry=registry)
        share.set_function(lambda: sum(self._are_ng) / max(len(self._are_ng), 1))
        queued = Gauge("lineact_mqtt_waiting", "Events that the broker has not acknowledged", registry=registry)
        queued.set_function(waiting)
        self._origin = origin
        self._model = Gauge("lineact_model_info", "The bundle that runs", list(Origin._fields), registry=registry)
        self._model.labels(*origin).set(1)
        self._view = Gauge(
            "lineact_view", "Whether the camera sees what it saw in training", ["state"], registry=registry
        )
        self.show_view("unchecked")
        registry.register(_SourceFigures(counts))
        try:
            self._server, self._thread = start_http_server(settings.port, settings.host, registry)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"metrics: {settings.host}:{settings.port} cannot be opened ({reason}); choose another port"
            ) from error

    @property
    def port(self) -> int:
        """Where the figures are served."""
        return self._server.server_port

    def see(self, result: FrameResult) -> None:
        """Counts a frame."""
        self._frames.inc()
        self._detected.inc(result.looked)
        self._classified.inc(result.classified)
        self._latency.observe(result.done_s - result.frame.arrived_s)
        for hand in result.hands:
            self._hands.labels(hand.action).inc()
            self._are_ng.append(hand.action == NG)
        now_s = time.monotonic()
        self._recent_s.append(now_s)
        while self._recent_s[0] < now_s - RATE_OVER_S:
            self._recent_s.popleft()

    def show_view(self, state: str) -> None:
        """Whether the camera sees what it saw in training; see `Event`."""
        for one in VIEW_STATES:
            self._view.labels(one).set(one == state)

    def change(self, bundle: str) -> None:
        """Another bundle runs."""
        self._model.remove(*self._origin)
        self._origin = self._origin._replace(bundle=bundle)
        self._model.labels(*self._origin).set(1)

    def write(self, event: Reported) -> None:
        """Counts an event."""
        if isinstance(event, Event):
            self._events.labels(event.action).inc()
        elif event.times is None:
            self._deviations.labels(event.kind, event.action).inc()
        else:
            self._cycles.labels("whole" if event.times.whole else "partial").inc()
            if event.times.whole:
                self._cycle_s.observe(event.times.cycle_s)

    def close(self) -> None:
        """Serves no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _rate(self) -> float:
        since_s = time.monotonic() - RATE_OVER_S
        return sum(at_s >= since_s for at_s in tuple(self._recent_s)) / RATE_OVER_S


class _SourceFigures:
    """What the source counts, asked when Prometheus asks."""

    def __init__(self, counts: SourceCounts) -> None:
        self._counts = counts

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, meaning in COUNTED.items():
            yield CounterMetricFamily(f"lineact_source_{name}", meaning, value=getattr(self._counts, name))
        meaning = "How long ago the newest recognised frame had arrived when its turn came"
        yield GaugeMetricFamily("lineact_source_behind_seconds", meaning, value=self._counts.behind_s)

    def describe(self) -> list[Any]:
        return []  # no figure of it is there before the first question
