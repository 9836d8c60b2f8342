"""The folder of fetched bundles: what some station needs stays, the rest goes."""

import contextlib
import json
import logging
import os
import shutil
import time

import pytest

from lineact.files import write_json
from lineact.runtime import copies as module
from lineact.runtime import updates
from lineact.runtime.bundles import fetch
from lineact.runtime.copies import FORGOTTEN_S, REMOVED, STATIONS, Copies
from lineact.runtime.releases import REQUEST, Release, Releases, name_of, write_releases
from lineact.runtime.settings import RecogniseSettings
from lineact.runtime.updates import Place, Updater, first_bundle
from tests.published_bundles import Published
from tests.station_services import wait_for

SETTINGS = RecogniseSettings()
NAMES = [digit * 12 for digit in "abcdef"]


@pytest.fixture
def folder(tmp_path):
    """Six copies, as far as their names go, and what else may lie there."""
    for name in NAMES:
        (tmp_path / "bundles" / f"press_a-{name}").mkdir(parents=True)
        (tmp_path / "bundles" / f"press_a-{name}" / "manifest.json").write_text("{}")
    (tmp_path / "bundles" / "backup-202611221530").mkdir()
    (tmp_path / "bundles" / "notes.txt").write_text("of the plant")
    return tmp_path / "bundles"


def ran(out, running, previous=None):
    """What a station notes in its folder of events."""
    out.mkdir(exist_ok=True)
    before = Release(previous, f"bundles/press_a-{previous}") if previous else None
    now = Release(running, f"bundles/press_a-{running}")
    write_releases(out, Releases("models:/lineact-press_a@champion", now, before))
    return out


def left(folder):
    return sorted(path.name.removeprefix("press_a-") for path in folder.glob("press_a-*"))


def test_what_runs_ran_before_or_is_in_the_shadow_stays_and_the_rest_goes(folder, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with Copies(folder, ran(tmp_path / "out", NAMES[1], NAMES[0])) as copies:
        copies.note(NAMES[4])
        copies.clear()
        assert left(folder) == [NAMES[0], NAMES[1], NAMES[4]]
        ran(tmp_path / "out", NAMES[4], NAMES[1])
        copies.note()
        copies.clear()
        assert left(folder) == [NAMES[1], NAMES[4]]
    assert caplog.text.count("it neither runs, nor is it kept") == 4
    assert f"press_a-{NAMES[0]}: removed" in caplog.text
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(("press_a-", "."))) == [
        "backup-202611221530", "notes.txt", STATIONS,
    ]  # fmt: skip


def test_stations_that_share_the_folder_keep_what_any_of_them_needs(folder, tmp_path):
    with Copies(folder, ran(tmp_path / "one", NAMES[0])) as one, Copies(folder, ran(tmp_path / "two", NAMES[1])) as two:
        one.note()
        two.note(NAMES[2])
        one.clear()
        assert left(folder) == NAMES[:3]
    with Copies(folder, ran(tmp_path / "one", NAMES[0])) as one:
        one.clear()
        assert left(folder) == NAMES[:3]  # that the other one stands still changes nothing


def test_a_station_that_has_not_run_for_long_is_forgotten_but_not_while_it_runs(folder, tmp_path):
    long_ago_s = time.time() - FORGOTTEN_S - 60
    other = Copies(folder, ran(tmp_path / "other", NAMES[5]))
    with other:
        other.note()
        (note,) = (folder / STATIONS).glob("*.json")
        os.utime(note, (long_ago_s, long_ago_s))
        with Copies(folder, ran(tmp_path / "out", NAMES[0])) as copies:
            copies.note()
            copies.clear()
        assert left(folder) == [NAMES[0], NAMES[5]]
    with Copies(folder, tmp_path / "out") as copies:
        copies.clear()
    assert left(folder) == [NAMES[0]]
    assert len(list((folder / STATIONS).iterdir())) == 2


def test_nothing_goes_while_another_station_fetches(folder, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with Copies(folder, ran(tmp_path / "out", NAMES[0])) as copies, Copies(folder, tmp_path / "new") as fetching:
        with fetching.staying("models:/lineact-press_a@champion"):
            copies.clear()
        assert left(folder) == NAMES
        assert "another station fetches a bundle" in caplog.text
        copies.clear()
    assert left(folder) == [NAMES[0]]


@pytest.mark.parametrize("torn", ['["aaaa', "", "\0\0", "5"])
def test_a_torn_note_is_told_and_nothing_goes(folder, tmp_path, caplog, torn):
    with Copies(folder, ran(tmp_path / "out", NAMES[0])) as copies:
        copies.note()
        (folder / STATIONS / "0123456789abcdef.json").write_text(torn)
        copies.clear()
    assert left(folder) == NAMES
    assert "bundles that nobody needs any more are not removed" in caplog.text


def test_what_a_kill_left_of_a_removal_goes_the_next_time(folder, tmp_path, monkeypatch):
    def killed(path):
        (path / "manifest.json").unlink()
        raise KeyboardInterrupt

    with Copies(folder, ran(tmp_path / "out", *NAMES[:2])) as copies:
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", killed)
            with pytest.raises(KeyboardInterrupt):
                copies.clear()
        assert list(folder.glob(f"{REMOVED}*"))
        copies.clear()
    assert left(folder) == sorted(NAMES[:2])
    assert not list(folder.glob(f"{REMOVED}*"))


def test_a_folder_that_cannot_be_written_costs_a_station_nothing(folder, tmp_path, caplog, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "write_json", denied)
    with Copies(folder, ran(tmp_path / "out", NAMES[3])) as copies:
        copies.note()
        assert "are not removed: [Errno 13] Permission denied" in caplog.text
        copies.clear()
    assert left(folder) == [NAMES[3]]  # what this station needs it knows without its note


def test_a_station_with_a_plain_folder_makes_none_for_copies(tmp_path):
    with Copies(tmp_path / "bundles", ran(tmp_path / "out", NAMES[0])) as copies:
        with copies.staying(str(tmp_path)):
            copies.note()
        copies.clear()
    assert not (tmp_path / "bundles").exists()


def test_a_station_keeps_two_of_all_the_champions_that_it_ran_and_one_that_was_taken_back_until_the_next(
    released, tmp_path, monkeypatch
):
    monkeypatch.setattr(updates, "LOOK_FOR_WISHES_S", 0.02)
    published = Published(released / "export/bundle", tmp_path / "published")
    place = Place(str(published.folder), tmp_path / "bundles", tmp_path / "out")
    place.out.mkdir()
    first = first_bundle(place, SETTINGS)
    switched = [first.name]
    with Copies(place.bundles, place.out) as copies:
        copies.note()
        updater = Updater(place, SETTINGS, 0.02, first, lambda new: switched.append(new.name), copies)
        with contextlib.closing(updater):
            second = published.publish(2)
            wait_for(lambda: switched == [first.name, second])
            third = published.publish(3)
            wait_for(lambda: left(place.bundles) == sorted({second, third}))
            write_json(place.out / REQUEST, {"from": third})
            wait_for(lambda: switched == [first.name, second, third, second])
            assert left(place.bundles) == sorted({second, third})
            fourth = published.publish(4)
            wait_for(lambda: left(place.bundles) == sorted({second, fourth}))
    assert name_of(fetch(place.address, place.bundles)) == fourth
    (note,) = (place.bundles / STATIONS).glob("*.json")
    assert json.loads(note.read_text()) == sorted({fourth, second})
