"""New bundles while the station runs: each is fetched, loaded and checked beside the old one, which goes on."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from lineact.bundle.manifest import EventSettings
from lineact.errors import ConfigError, FullDiskError, InputError, LineactError
from lineact.runtime.bundles import fetch, name_at
from lineact.runtime.copies import Copies
from lineact.runtime.events import Debouncer
from lineact.runtime.recognise import Running, open_bundle
from lineact.runtime.releases import (
    Release,
    Releases,
    name_of,
    read_releases,
    rollback_asked,
    rollback_done,
    write_releases,
)
from lineact.runtime.results import FrameResult
from lineact.runtime.settings import RecogniseSettings

LOOK_FOR_WISHES_S = 0.5  # a wish is a file beside the events: looking costs nothing
CLOSE_S = 5.0  # a registry that does not answer holds up the end no longer

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where a station's bundles come from and go to.

    Attributes:
        address: see `fetch`.
        bundles: folder of copies.
        out: folder of the events, where `release.json` lies.
    """

    address: str
    bundles: Path
    out: Path


Check = Callable[[Running], object]  # raises LineactError where the station cannot work with a bundle


def _fits(running: Running) -> None:
    """Nothing more is asked of a bundle."""


def first_bundle(place: Place, settings: RecogniseSettings, check: Check = _fits) -> Running:
    """The bundle that a station starts with, loaded and checked, and noted as running.

    That of the address; where it does not answer, gives a bundle that cannot be used, or leads to one that was taken
    back: the last one that ran here, which is told.

    Args:
        place: where bundles come from.
        settings: of the recogniser.
        check: see `Check`.

    Raises:
        LineactError: where neither can be had.
    """
    known = _known(place)
    if known.running and known.previous and rollback_asked(place.out) == known.running.name:
        known = known.rolled_back()
    rollback_done(place.out)
    try:
        found = name_at(place.address)
        known = known.led_to(found)
        if known.running is None or found not in known.refused:
            return _noted(place, known, fetch(place.address, place.bundles), settings, check)
        log.warning("%s leads to %s, which was taken back: %s runs", place.address, found, known.running.name)
    except (LineactError, OSError) as error:
        if known.running is None or isinstance(error, FullDiskError):
            raise
        log.warning("%s; the last verified copy runs: %s", error, known.running.name)
    return _noted(place, known, known.running.check(), settings, check)


def _known(place: Place) -> Releases:
    """What ran here before, from the same address."""
    try:
        known = read_releases(place.out)
    except InputError as error:
        log.warning("%s; goes on as if nothing ran here before", error)
        known = None
    return known if known is not None and known.address == place.address else Releases(place.address)


def loaded(folder: Path, settings: RecogniseSettings) -> Running:
    """Loads and checks a bundle; see `open_bundle`.

    Raises:
        InputError: where it cannot be used, whatever the networks' runtime says of it.
    """
    try:
        return Running(open_bundle(folder, settings), name_of(folder))
    except (LineactError, OSError):
        raise
    except Exception as error:  # OpenVINO's and ONNX Runtime's own
        raise InputError(
            f"{folder}: expected networks that this machine can run, found some that fail ({error}); update lineact on "
            "this machine, or release with the version that it has"
        ) from error


def _noted(place: Place, known: Releases, folder: Path, settings: RecogniseSettings, check: Check) -> Running:
    running = loaded(folder, settings)
    check(running)
    write_releases(place.out, known.switched(Release(running.name, str(folder))))
    return running


class Updater:
    """Looks for new bundles and for wishes to go back, in a thread of its own, until it is closed.

    Args:
        place: where bundles come from.
        settings: of the recogniser.
        every_s: so often the address is asked, seconds; 0 for never: then rollbacks alone are obeyed.
        running: the one that runs now.
        switch: called with a bundle that is loaded and checked.
        copies: where bundles that nobody needs any more are removed after each switch.
        check: see `Check`.
    """

    def __init__(
        self,
        place: Place,
        settings: RecogniseSettings,
        every_s: float,
        running: Running,
        switch: Callable[[Running], None],
        copies: Copies,
        check: Check = _fits,
    ) -> None:
        self._place = place
        self._copies = copies
        self._settings = settings
        self._every_s = every_s
        self._line = running.bundle.manifest.line
        self._switch = switch
        self._check = check
        self._told = ""  # what was told last: a registry that is away for a night is told once
        self._bad = ""  # name of the bundle that was refused last, until the station starts anew
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="updates", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Looks no more; a bundle that is being loaded is not taken."""
        self._closed.set()
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        waited_s = 0.0
        while not self._closed.wait(LOOK_FOR_WISHES_S):
            waited_s += LOOK_FOR_WISHES_S
            self._guarded(self._obey)
            if self._every_s and waited_s >= self._every_s:
                waited_s = 0.0
                self._guarded(self._look)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Whatever goes wrong with another bundle, the one that runs goes on."""
        try:
            work()
        except (LineactError, OSError) as error:
            self._tell(f"{error}; goes on with the bundle that runs")
        except Exception as error:  # without this thread nobody looks any more, and no rollback is obeyed
            self._tell(f"{type(error).__name__}: {error}; goes on with the bundle that runs")

    def _tell(self, words: str) -> None:
        if words != self._told:
            log.warning("%s", words)
        self._told = words

    def _obey(self) -> None:
        wish = rollback_asked(self._place.out)
        if wish is None:
            return
        known = _known(self._place)
        try:
            if known.running is None or known.previous is None or wish != known.running.name:
                log.warning("rollback from %s: that bundle does not run, or none ran before it", wish or "nothing")
                return
            running = loaded(known.previous.check(), self._settings)
            self._check(running)
            write_releases(self._place.out, known.rolled_back())
            log.warning("rollback: %s is taken back, %s runs again", known.running.name, running.name)
            self._switch(running)
        finally:
            rollback_done(self._place.out)

    def _look(self) -> None:
        known = _known(self._place)
        found = name_at(self._place.address)
        if self._told:
            log.info("%s answers again", self._place.address)
            self._told = ""
        if known.led_to(found) != known:
            known = known.led_to(found)
            write_releases(self._place.out, known)
        if found in known.refused or found == self._bad or (known.running and found == known.running.name):
            return
        with self._copies.staying(self._place.address):
            try:
                running = self._checked(fetch(self._place.address, self._place.bundles))
            except (InputError, ConfigError) as error:
                self._bad = found
                log.error("bundle %s is refused, the old one goes on: %s", found, error)
                return
            if self._closed.is_set():
                return
            write_releases(self._place.out, known.switched(Release(running.name, str(running.bundle.folder))))
            self._copies.note()
        self._switch(running)
        self._copies.clear()

    def _checked(self, folder: Path) -> Running:
        running = loaded(folder, self._settings)
        if running.bundle.manifest.line != self._line:
            raise InputError(f"{folder}: expected a bundle of line {self._line}, found {running.bundle.manifest.line}")
        self._check(running)
        return running


class ChangeOutput(Protocol):
    """Tells which bundle runs."""

    def change(self, bundle: str) -> None:
        """Another bundle recognises from now on; see `Event`."""


class Changes:
    """The events' part of a switch: from the first frame on that another bundle recognised its settings count.

    Args:
        debouncer: of the camera.
        own: the station's event settings, which go before those of bundles; None for none.
        name: of the bundle with which it begins.
        told: who else must know.
    """

    def __init__(
        self, debouncer: Debouncer, own: EventSettings | None, name: str, told: Sequence[ChangeOutput]
    ) -> None:
        self._debouncer = debouncer
        self._own = own
        self._told = told
        self._name = name
        self._settings_of: dict[str, EventSettings] = {}

    def expect(self, name: str, settings: EventSettings) -> None:
        """This bundle comes; before its first frame."""
        self._settings_of[name] = settings

    def follow(self, results: Iterable[FrameResult | None]) -> Iterator[FrameResult | None]:
        """The results as they are; whoever must know is told before the first frame of another bundle."""
        for result in results:
            if result is not None and result.bundle != self._name:
                log.info(
                    "from %.3f s on (frame %d) bundle %s recognises",
                    result.frame.pts_s,
                    result.frame.number,
                    result.bundle,
                )
                self._name = result.bundle
                self._debouncer.change(self._own or self._settings_of[result.bundle], result.bundle)
                for output in self._told:
                    output.change(result.bundle)
            yield result
