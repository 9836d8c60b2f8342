"""A station: one bundle on one camera, with the outputs that its settings ask for."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lineact.bundle.pair import Bundle
from lineact.bundle.work import WorkSettings
from lineact.errors import InputError
from lineact.privacy import Blur
from lineact.runtime.bundles import fetch
from lineact.runtime.clock_check import clock_problems
from lineact.runtime.copies import Copies
from lineact.runtime.events import Debouncer, Origin
from lineact.runtime.locks import camera_lock, folder_lock
from lineact.runtime.outputs.feedback import FeedbackRing
from lineact.runtime.outputs.json_lines import EventFile, events_after
from lineact.runtime.products import Products
from lineact.runtime.recognise import Recogniser, Running
from lineact.runtime.run import PAUSE_S, EventOutput, ResultOutput, run
from lineact.runtime.settings import RuntimeSettings
from lineact.runtime.shadow import Shadow
from lineact.runtime.sources import Source, is_live, open_source
from lineact.runtime.updates import ChangeOutput, Changes, Place, Updater, first_bundle, loaded
from lineact.runtime.view_check import ViewWatch
from lineact.runtime.work.sense import WorkSense

if TYPE_CHECKING:
    from lineact.runtime.outputs.metrics import MetricsOutput

FEEDBACK, VIDEO = "feedback", "video"  # in the folder of events
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
        shadow: address of a challenger that runs beside the bundle and reports no events; "" for none.
    """

    bundle: str
    bundles: Path
    source: str
    camera: str
    out: Path
    annotated: Path | None
    shadow: str = ""


class _Outputs(NamedTuple):
    events_to: list[EventOutput]
    results_to: list[ResultOutput]
    changes_to: list[ChangeOutput]
    metrics: "MetricsOutput | None" = None


def watch(station: Station, settings: RuntimeSettings, on_signal: Callable[[Callable[[], None]], None]) -> None:
    """Recognises and reports until the source ends or is stopped.

    Args:
        station: what runs where.
        settings: see `RuntimeSettings`.
        on_signal: gets what stops the source.

    Raises:
        LineactError: a setting, the bundle, the source or the disk, in one line.
    """
    Blur(settings.privacy.blur_regions, settings.privacy.blur_faces)  # refuses what it cannot do before any work
    source = open_source(station.source, settings.source)
    with ExitStack() as stack:
        stack.enter_context(folder_lock(station.out))
        if is_live(station.source):
            stack.enter_context(camera_lock(station.source, source.address))
        place = Place(station.bundle, station.bundles, station.out)

        def standard_of(bundle: Bundle) -> WorkSettings | None:
            standard = settings.work or bundle.manifest.work
            if standard:
                standard.refuse_unknown(bundle.labels, "work")
            return standard

        def check(new: Running) -> None:
            standard_of(new.bundle)

        copies = stack.enter_context(Copies(station.bundles, station.out))
        with copies.staying(station.bundle):
            running = first_bundle(place, settings.recognise, check)
            copies.note()
        bundle = running.bundle
        origin = Origin(bundle.manifest.line, station.camera, running.name)
        for problem in clock_problems(time.time(), bundle.folder, station.out if is_live(station.source) else None):
            log.error("%s", problem)
        log.info("line %s, camera %s, bundle %s, source %s, mode %s", *origin, source.address, source.mode)

        work = WorkSense(standard_of(bundle), origin)
        products = Products()
        outputs = _outputs(station, settings, origin, bundle, source, products, stack)
        stack.enter_context(source)
        on_signal(source.stop)
        recogniser = Recogniser(bundle, settings.recognise, running.name)
        debouncer = Debouncer(settings.events or bundle.manifest.events, origin, products.at)

        def show_view(state: str) -> None:
            debouncer.view = state
            if outputs.metrics:
                outputs.metrics.show_view(state)

        view_watch = ViewWatch(settings.view_check, show_view, source.is_paced)
        view_watch.expect(running.name, bundle)
        view_watch.change(running.name)
        outputs.results_to.append(stack.enter_context(closing(view_watch)))
        if station.shadow:
            shadow = _shadow(station, settings, running, source, copies)
            outputs.results_to.append(stack.enter_context(closing(shadow)))
            outputs.changes_to.append(shadow)
        ring: FeedbackRing | None = None
        if settings.privacy.store_crops or (station.out / FEEDBACK).is_dir():
            spec = bundle.manifest.classifier
            ring = FeedbackRing(station.out / FEEDBACK, settings.feedback, settings.privacy, origin, spec)
            outputs.results_to.append(stack.enter_context(closing(ring)))
            outputs.changes_to.append(ring)
        told = [*outputs.changes_to, view_watch, work]
        changes = Changes(debouncer, settings.events, running.name, told)

        def switch(new: Running) -> None:
            changes.expect(new.name, new.bundle.manifest.events)
            view_watch.expect(new.name, new.bundle)
            if ring:
                ring.expect(new.name, new.bundle.manifest.classifier)
            work.expect(new.name, standard_of(new.bundle))
            recogniser.switch(new)

        copies.clear()
        every_s = settings.updates.every_s
        stack.enter_context(closing(Updater(place, settings.recognise, every_s, running, switch, copies, check)))
        results = changes.follow(recogniser.recognise_in_time(source, PAUSE_S))
        reported = run(results, debouncer, outputs.events_to, outputs.results_to, source, work)
        log.info("%s: the end; %d events in %s", source.address, reported, station.out)
        log.info("frames: %s", ", ".join(f"{name} {value:.6g}" for name, value in vars(source.counts).items()))


def _shadow(station: Station, settings: RuntimeSettings, running: Running, source: Source, copies: Copies) -> Shadow:
    """Loads the challenger; what is wrong with it is told at the start, not in the middle of a shift."""
    with copies.staying(station.shadow):
        challenger = loaded(fetch(station.shadow, station.bundles), settings.recognise)
        copies.note(challenger.name)
    lines = [one.bundle.manifest.line for one in (running, challenger)]
    if lines[0] != lines[1]:
        raise InputError(f"{station.shadow}: expected a bundle of line {lines[0]}, found {lines[1]}")
    return Shadow(challenger, settings.recognise, station.out, running.name, source.mode == "lossless")


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
    outputs = _Outputs([event_file], [], [])
    waiting: Callable[[], int] = lambda: 0  # noqa: E731
    if settings.mqtt.host:
        from lineact.runtime.outputs.mqtt import MqttOutput
        from lineact.runtime.outputs.outbox import Outbox

        outbox = Outbox(station.out / "mqtt_waiting.sqlite")
        missed = events_after(station.out, outbox.last_added())
        broker = MqttOutput(settings.mqtt, origin, outbox, products, missed)
        outputs.events_to.append(stack.enter_context(closing(broker)))
        waiting = lambda: broker.waiting  # noqa: E731
    if settings.metrics.port:
        from lineact.runtime.outputs.metrics import MetricsOutput

        metrics = stack.enter_context(closing(MetricsOutput(settings.metrics, origin, source.counts, waiting)))
        outputs.events_to.append(metrics)
        outputs.results_to.append(metrics)
        outputs.changes_to.append(metrics)
        outputs = outputs._replace(metrics=metrics)
    if settings.view.port:
        from lineact.runtime.outputs.view import LiveView

        view = stack.enter_context(closing(LiveView(settings.view, origin, bundle.labels, source.counts)))
        log.info("live view: %s", view.url)
        outputs.events_to.append(view)
        outputs.results_to.append(view)
        outputs.changes_to.append(view)
    if settings.kept_video.hours or (station.out / VIDEO).is_dir():
        from lineact.runtime.outputs.kept_video import KeptVideo

        kept = KeptVideo(station.out / VIDEO, settings.kept_video, settings.privacy)
        outputs.results_to.append(stack.enter_context(closing(kept)))
    if station.annotated:
        from lineact.runtime.outputs.annotated import AnnotatedVideo

        video = AnnotatedVideo(station.annotated, bundle.labels, source.mode == "lossless", settings.privacy)
        outputs.results_to.append(stack.enter_context(closing(video)))
    return outputs
