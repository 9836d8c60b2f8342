"""New bundles at a running station: taken between two frames, refused where they fail, taken back by one command."""

import contextlib
import itertools
import json
import logging
import shutil
import threading

import pytest

from lineact.bundle.manifest import MANIFEST, EventSettings
from lineact.bundle.provenance import PROVENANCE
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_tree, write_json
from lineact.runtime import updates
from lineact.runtime.bundles import CHAMPION
from lineact.runtime.copies import Copies
from lineact.runtime.errors import RegistryError
from lineact.runtime.events import Debouncer
from lineact.runtime.recognise import Recogniser, Running, open_bundle
from lineact.runtime.releases import REQUEST, STATE, Release, Releases, name_of, read_releases, write_releases
from lineact.runtime.rollback import roll_back
from lineact.runtime.settings import RecogniseSettings
from lineact.runtime.updates import Changes, Place, Updater, first_bundle
from tests.published_bundles import Published, full_identity, variant
from tests.real_registry import RealRegistry
from tests.station import ORIGIN, frame_at, hand, result_at
from tests.station_services import wait_for

SETTINGS = RecogniseSettings()
NOWHERE = "models:/lineact-press_a@champion"


@pytest.fixture
def published(released, tmp_path):
    return Published(released / "export/bundle", tmp_path / "published")


@pytest.fixture
def place(published, tmp_path):
    (tmp_path / "out").mkdir()
    return Place(str(published.folder), tmp_path / "bundles", tmp_path / "out")


@pytest.fixture
def station(place, monkeypatch):
    """An updater beside the first bundle, and the names of those it switched to."""
    monkeypatch.setattr(updates, "LOOK_FOR_WISHES_S", 0.02)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    switched: list[str] = []
    running = first_bundle(place, SETTINGS)
    with Copies(place.bundles, place.out) as copies:
        updater = Updater(place, SETTINGS, 0.02, running, lambda new: switched.append(new.name), copies)
        with contextlib.closing(updater):
            yield switched


def unregistered(bundle, folder, number):
    """A `variant` as it is exported: the registry adds where it comes from."""
    variant(bundle, folder, number)
    (folder / PROVENANCE).unlink()
    return folder


def refuse_second(running: Running) -> None:
    if running.bundle.manifest.events.min_duration_s == pytest.approx(0.42):
        raise ConfigError("work: expected steps among the line's actions")


def test_a_bundle_with_which_the_station_cannot_work_is_never_noted_as_running(place, published, monkeypatch, caplog):
    monkeypatch.setattr(updates, "LOOK_FOR_WISHES_S", 0.02)
    running = first_bundle(place, SETTINGS, refuse_second)
    switched: list[str] = []
    copies = Copies(place.bundles, place.out)
    updater = Updater(place, SETTINGS, 0.02, running, lambda new: switched.append(new.name), copies, refuse_second)
    with copies, contextlib.closing(updater):
        published.publish(2)
        wait_for(lambda: "is refused, the old one goes on: work: expected steps" in caplog.text)
        assert noted(place).running == _release(place, running.name)
        third = published.publish(3)
        wait_for(lambda: switched == [third])
    published.name(2)
    assert first_bundle(place, SETTINGS, refuse_second).name == third
    assert f"the last verified copy runs: {third}" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("no such operation"), ValueError("odd"), MemoryError()])
def test_whatever_goes_wrong_with_a_new_bundle_the_next_one_is_taken(station, published, monkeypatch, caplog, error):
    def failing(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(updates, "open_bundle", failing)
        published.publish(2)
        wait_for(lambda: "is refused, the old one goes on" in caplog.text)
    third = published.publish(3)
    wait_for(lambda: station == [third])


def test_an_error_that_nobody_thought_of_does_not_end_the_looking(station, published, monkeypatch, caplog):
    def failing(*_):
        raise KeyError("odd")

    with monkeypatch.context() as patch:
        patch.setattr(updates, "name_at", failing)
        wait_for(lambda: "KeyError: 'odd'; goes on with the bundle that runs" in caplog.text)
    new = published.publish(2)
    wait_for(lambda: station == [new])


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(116, "Stale file handle")])
def test_a_start_from_a_share_that_fails_takes_the_last_verified_copy(place, monkeypatch, error):
    def failing(*_):
        raise error

    first = first_bundle(place, SETTINGS)
    monkeypatch.setattr(updates, "name_at", failing)
    assert first_bundle(place, SETTINGS).name == first.name


def test_a_new_champion_is_loaded_beside_the_old_one_and_noted(station, published, place):
    old, new = name_of(published.folder / "1"), published.publish(2)
    wait_for(lambda: station)
    known = noted(place)
    assert known == Releases(place.address, _release(place, new), _release(place, old))
    assert (place.bundles / f"press_a-{old}").is_dir()
    assert station == [new]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"logit": 1.0}, "expected the stored samples' logits within"),
        ({"schema_version": 99}, "update lineact on this machine"),
        ({"line": "press_b"}, "expected a bundle of line press_a, found press_b"),
    ],
)
def test_a_bundle_that_fails_its_check_is_refused_once_and_the_old_one_goes_on(
    station, published, place, caplog, wrong, words
):
    old = name_of(published.folder / "1")
    published.publish(2, **wrong) if "schema_version" not in wrong else _publish_too_new(published)
    wait_for(lambda: "is refused, the old one goes on" in caplog.text)
    next_one = published.publish(3)
    wait_for(lambda: station)
    assert station == [next_one]
    assert caplog.text.count("is refused") == 1
    assert words in caplog.text
    assert noted(place).previous == _release(place, old)


def _publish_too_new(published):
    folder = variant(published.folder / "1", published.folder / "2", 2)
    manifest = json.loads((folder / MANIFEST).read_text())
    identity = full_identity(folder)
    write_json(folder / MANIFEST, manifest | {"schema_version": 99})
    write_json(published.folder / CHAMPION, {"version": "2", "bundle_sha256": identity})


def test_what_is_taken_back_is_not_taken_again_before_the_address_led_elsewhere(station, published, place):
    old, bad = name_of(published.folder / "1"), published.publish(2)
    wait_for(lambda: station == [bad])
    asked = threading.Thread(target=lambda: write_json(place.out / REQUEST, {"from": bad}))
    asked.start()
    wait_for(lambda: station == [bad, old])
    wait_for(lambda: not (place.out / REQUEST).exists())
    assert noted(place) == Releases(place.address, _release(place, old), None, (bad,))
    third = published.publish(3)
    wait_for(lambda: station == [bad, old, third])
    assert noted(place).refused == ()
    published.name(2)
    wait_for(lambda: station == [bad, old, third, bad])


def noted(place: Place) -> Releases:
    releases = read_releases(place.out)
    assert releases is not None
    return releases


def _release(place, name):
    return Release(name, str(place.bundles / f"press_a-{name}"))


@pytest.mark.parametrize("wish", [b'{"from": "another"}', b"torn{", b"[]"])
def test_a_wish_that_means_nothing_is_told_and_taken_away(station, place, caplog, wish):
    (place.out / REQUEST).write_bytes(wish)
    wait_for(lambda: not (place.out / REQUEST).exists())
    assert "that bundle does not run, or none ran before it" in caplog.text
    assert not station


def test_an_address_that_does_not_answer_is_told_once_and_again_when_it_does(station, published, caplog):
    caplog.set_level(logging.INFO)
    away = published.folder.with_name("away")
    published.folder.rename(away)
    wait_for(lambda: "goes on with the bundle that runs" in caplog.text)
    away.rename(published.folder)
    wait_for(lambda: "answers again" in caplog.text)
    assert caplog.text.count("goes on with the bundle that runs") == 1
    assert station == []


def test_a_start_without_the_registry_takes_the_last_verified_copy_and_says_so(place, published, caplog):
    first = first_bundle(place, SETTINGS)
    shutil.rmtree(published.folder)
    assert first_bundle(place, SETTINGS).name == first.name
    assert f"the last verified copy runs: {first.name}" in caplog.text
    (place.bundles / f"press_a-{first.name}" / "detector.bin").write_bytes(b"worn out")
    with pytest.raises(InputError, match="it was altered"):
        first_bundle(place, SETTINGS)


def test_a_first_start_without_the_registry_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(RegistryError, match="does not answer"):
        first_bundle(Place(NOWHERE, tmp_path / "bundles", tmp_path), SETTINGS)


def test_a_start_with_a_bad_new_bundle_goes_on_with_the_old_one(place, published, caplog):
    old = first_bundle(place, SETTINGS).name
    published.publish(2, logit=1.0)
    assert first_bundle(place, SETTINGS).name == old
    assert "expected the stored samples' logits" in caplog.text


def test_what_ran_from_another_address_does_not_count(place):
    write_releases(place.out, Releases("elsewhere", Release("a" * 12, "nowhere"), Release("b" * 12, "nowhere")))
    running = first_bundle(place, SETTINGS)
    assert noted(place) == Releases(place.address, _release(place, running.name))


def test_a_damaged_note_does_not_keep_a_station_from_its_work(place, caplog):
    (place.out / STATE).write_text("torn{")
    assert first_bundle(place, SETTINGS).name
    assert "goes on as if nothing ran here before" in caplog.text


def test_a_rollback_while_no_station_runs_holds_at_the_next_start(place, published):
    old = first_bundle(place, SETTINGS).name
    new = published.publish(2)
    assert first_bundle(place, SETTINGS).name == new
    assert roll_back(place.out, 1.0) == f"bundle {old} runs from the next start on; {new} is refused"
    assert first_bundle(place, SETTINGS).name == old
    with pytest.raises(InputError, match="there is nothing to go back to"):
        roll_back(place.out, 1.0)


def test_a_rollback_where_no_station_was_says_so(tmp_path):
    with pytest.raises(InputError, match=r"release.json: expected a station's bundles, found nothing; name its --out"):
        roll_back(tmp_path, 1.0)


def test_a_rollback_to_a_copy_that_is_gone_is_refused_before_anything_changes(place, published):
    old = first_bundle(place, SETTINGS).name
    published.publish(2)
    first_bundle(place, SETTINGS)
    before = noted(place)
    shutil.rmtree(place.bundles / f"press_a-{old}")
    with pytest.raises(InputError, match=r"manifest.json: expected a bundle's manifest, found nothing"):
        roll_back(place.out, 1.0)
    assert noted(place) == before


def test_a_switch_loses_no_frame_and_every_frame_names_its_bundle(released, tmp_path):
    bundles = [
        Running(open_bundle(variant(released / "export/bundle", tmp_path / str(number), number), SETTINGS), str(number))
        for number in range(3)
    ]
    recogniser = Recogniser(bundles[0].bundle, SETTINGS, "0")
    given = []

    def frames():
        for number in range(60):
            if number and number % 20 == 0:
                recogniser.switch(bundles[number // 20])
            given.append(number)
            yield frame_at(number / 25, number)

    results = list(recogniser.recognise(frames()))
    assert [result.frame.number for result in results] == given == list(range(60))
    names = [result.bundle for result in results]
    assert [name for name, _ in itertools.groupby(names)] == ["0", "1", "2"]
    assert all(result.looked for result, before in zip(results[1:], names, strict=False) if result.bundle != before)


def test_an_event_that_goes_on_over_a_switch_is_one_and_names_where_it_began():
    class Told:
        def __init__(self) -> None:
            self.bundles: list[str] = []

        def change(self, bundle: str) -> None:
            self.bundles.append(bundle)

    settings, told = EventSettings(0.1, 0.2), Told()
    debouncer = Debouncer(settings, ORIGIN)
    changes = Changes(debouncer, None, ORIGIN.bundle, [told])
    changes.expect("new", settings)
    actions = ["pick"] * 10 + ["place"] * 5
    results = [
        result_at(index / 10, hand(action), number=index)._replace(bundle="new" if index >= 5 else ORIGIN.bundle)
        for index, action in enumerate(actions)
    ]
    events = [
        event for result in changes.follow(results) if result for event in debouncer.push(result)
    ] + debouncer.close(1.5)
    assert [(event.action, event.bundle) for event in events] == [("pick", ORIGIN.bundle), ("place", "new")]
    assert told.bundles == ["new"]


@pytest.mark.services
def test_a_real_registrys_new_champion_is_taken_across_an_absence(released, tmp_path, monkeypatch, caplog):
    registry = RealRegistry(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.url)
    (tmp_path / "out").mkdir()
    place = Place(NOWHERE, tmp_path / "bundles", tmp_path / "out")
    bundles = [unregistered(released / "export/bundle", tmp_path / str(number), number) for number in range(3)]
    switched: list[str] = []
    with contextlib.ExitStack() as stack:
        with registry.up():
            registry.release("press_a", bundles[0], {})
            running = first_bundle(place, SETTINGS)
            assert running.name == sha256_of_tree(bundles[0])[: len(running.name)]
            copies = stack.enter_context(Copies(place.bundles, place.out))
            updater = Updater(place, SETTINGS, 0.2, running, lambda new: switched.append(new.name), copies)
            stack.enter_context(contextlib.closing(updater))
            registry.release("press_a", bundles[1], {})
            wait_for(lambda: len(switched) == 1)
        wait_for(lambda: "goes on with the bundle that runs" in caplog.text)
        with registry.up():
            registry.release("press_a", bundles[2], {})
            wait_for(lambda: len(switched) == 2)
    assert switched == [sha256_of_tree(folder)[: len(running.name)] for folder in bundles[1:]]
