"""A station: one bundle on one camera, with the outputs that its settings ask for."""

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from lineact.bundle.manifest import MANIFEST
from lineact.bundle.pair import Bundle
from lineact.bundle.provenance import identity_of
from lineact.runtime.bundles import DIGITS, fetch
from lineact.runtime.events import Debouncer, Origin
from lineact.runtime.locks import camera_lock, folder_lock
from lineact.runtime.outputs.json_lines import EventFile, last_event
from lineact.runtime.products import Products
from lineact.runtime.recognise import Recogniser, open_bundle
from lineact.runtime.run import PAUSE_S, EventOutput, ResultOutput, run
from lineact.runtime.settings import RuntimeSettings
from lineact.runtime.sources import Source, is_live, open_source
from lineact.runtime.work.sense import WorkSense

log = logging.getLogger(__name__)


class Station(NamedTuple):
    """What runs where.

    Attributes:
        bundle: the released pair's address: see `fetch`.
        bundles: folder of the copies of those that come from elsewhere.
        source: see `open_source`.
        camera: its name in events.
        out: folder of the events.
        annotated: a video to write, or none.
    """

    bundle: str
    bundles: Path
    source: str
    camera: str
    out: Path
    annotated: Path | None


class _Outputs(NamedTuple):
    events_to: list[EventOutput]
    results_to: list[ResultOutput]


def watch(station: Station, settings: RuntimeSettings, on_signal: Callable[[Callable[[], None]], None]) -> None:
    """Recognises and reports until the source ends or is stopped.

    Args:
        station: what runs where.
        settings: see `RuntimeSettings`.
        on_signal: gets what stops the source.

    Raises:
        LineactError: a setting, the bundle, the source or the disk, in one line.
    """
    source = open_source(station.source, settings.source)
    with ExitStack() as stack:
        stack.enter_context(folder_lock(station.out))
        if is_live(station.source):
            stack.enter_context(camera_lock(station.source, source.address))
        folder = fetch(station.bundle, station.bundles)
        bundle = open_bundle(folder, settings.recognise)
        digits = identity_of(folder / MANIFEST, bundle.manifest)[:DIGITS]
        origin = Origin(bundle.manifest.line, station.camera, digits)
        log.info("line %s, camera %s, bundle %s, source %s, mode %s", *origin, source.address, source.mode)
        standard = settings.work or bundle.manifest.work
        if standard:
            standard.refuse_unknown(bundle.labels, "work")
        work = WorkSense(standard, origin) if standard else None
        products = Products()
        outputs = _outputs(station, settings, origin, bundle, source, products, stack)
        stack.enter_context(source)
        on_signal(source.stop)
        results = Recogniser(bundle, settings.recognise).recognise_in_time(source, PAUSE_S)
        debouncer = Debouncer(settings.events or bundle.manifest.events, origin, products.at)
        reported = run(results, debouncer, outputs.events_to, outputs.results_to, source, work)
        log.info("%s: the end; %d events in %s", source.address, reported, station.out)
        log.info("frames: %s", ", ".join(f"{name} {value:.6g}" for name, value in vars(source.counts).items()))


def _outputs(
    station: Station,
    settings: RuntimeSettings,
    origin: Origin,
    bundle: Bundle,
    source: Source,
    products: Products,
    stack: ExitStack,
) -> _Outputs:
    """Opens what the settings ask for. The event file comes first: it holds the truth that the others tell of."""
    event_file = stack.enter_context(closing(EventFile(station.out, settings.event_files)))
    outputs = _Outputs([event_file], [])
    waiting: Callable[[], int] = lambda: 0  # noqa: E731
    if settings.mqtt.host:
        from lineact.runtime.outputs.mqtt import MqttOutput
        from lineact.runtime.outputs.outbox import Outbox

        outbox = Outbox(station.out / "mqtt_waiting.sqlite")
        broker = MqttOutput(settings.mqtt, origin, outbox, products, last_event(station.out))
        outputs.events_to.append(stack.enter_context(closing(broker)))
        waiting = lambda: broker.waiting  # noqa: E731
    if settings.metrics.port:
        from lineact.runtime.outputs.metrics import MetricsOutput

        metrics = stack.enter_context(closing(MetricsOutput(settings.metrics, origin, source.counts, waiting)))
        outputs.events_to.append(metrics)
        outputs.results_to.append(metrics)
    if settings.view.port:
        from lineact.runtime.outputs.view import LiveView

        view = stack.enter_context(closing(LiveView(settings.view, origin, bundle.labels, source.counts)))
        log.info("live view: %s", view.url)
        outputs.events_to.append(view)
        outputs.results_to.append(view)
    if station.annotated:
        from lineact.runtime.outputs.annotated import AnnotatedVideo

        video = AnnotatedVideo(station.annotated, bundle.labels, source.mode == "lossless")
        outputs.results_to.append(stack.enter_context(closing(video)))
    return outputs
