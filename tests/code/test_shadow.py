"""The shadow: a challenger sees what the champion sees, reports no event, and its differences are written down."""

import json
import shutil

import pytest

from lineact.bundle.manifest import MANIFEST
from lineact.files import write_json
from lineact.runtime import shadow as shadow_module
from lineact.runtime.recognise import Recogniser, Running, open_bundle
from lineact.runtime.settings import RecogniseSettings
from lineact.runtime.shadow import BEFORE, FILE, Difference, Shadow, differences
from tests.released_pair import smooth_noise
from tests.station import frame_at, hand

SETTINGS = RecogniseSettings()


def moved(one, by_px):
    return one._replace(box_xyxy_px=tuple(value + by_px for value in one.box_xyxy_px))


PICK, PLACE = hand("pick"), hand("place")


@pytest.mark.parametrize(
    ("champion", "challenger", "expected"),
    [
        ((), (), (0, [])),
        ((PICK,), (moved(PICK, 2),), (1, [])),
        ((PICK,), (PLACE,), (1, [("pick", "place")])),
        ((PICK,), (), (1, [("pick", "")])),
        ((), (PLACE,), (1, [("", "place")])),
        ((PICK,), (moved(PICK, 30),), (2, [("pick", ""), ("", "pick")])),
        ((PICK, moved(PLACE, 40)), (moved(PLACE, 41), PICK), (2, [])),
        ((PICK,), (PICK, PICK), (2, [("", "pick")])),
    ],
)
def test_what_counts_as_a_difference(champion, challenger, expected):
    hands, found = differences(champion, challenger)
    assert (hands, found) == (expected[0], [Difference(*one) for one in expected[1]])


@pytest.fixture
def champion(released):
    return open_bundle(released / "export/bundle", SETTINGS)


@pytest.fixture
def renamed(released, tmp_path):
    """The same networks, but what the champion calls screw it calls wipe, and the other way round."""
    folder = shutil.copytree(released / "export/bundle", tmp_path / "renamed")
    manifest = json.loads((folder / MANIFEST).read_text())
    first, second, *rest = manifest["classifier"]["labels"]
    manifest["classifier"]["labels"] = [second, first, *rest]
    write_json(folder / MANIFEST, manifest)
    return open_bundle(folder, SETTINGS)


def results_of(bundle, count=30):
    import numpy as np

    rng = np.random.default_rng(3)
    pictures = [smooth_noise(rng, (128, 192)) for _ in range(3)]
    frames = [frame_at(index / 10, index, pictures[index // 10]) for index in range(count)]
    return list(Recogniser(bundle, SETTINGS).recognise(frames))


def again(results, times):
    """The same pictures and hands over and over, numbered and timed on as a source does it."""
    return [
        one._replace(frame=frame_at(index / 10, index, one.frame.picture)) for index, one in enumerate(results * times)
    ]


def shadowed(bundle, results, folder, lossless=True):
    folder.mkdir()
    shadow = Shadow(Running(bundle, "new"), SETTINGS, folder, "old", lossless)
    for result in results:
        shadow.see(result)
    shadow.close()
    return shadow.counts, [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_the_same_bundle_never_differs(champion, tmp_path):
    results = results_of(champion)
    counts, lines = shadowed(champion, results, tmp_path / "out")
    assert (counts.frames, counts.different, counts.rate, lines) == (30, 0, 0.0, [])
    assert counts.hands == sum(len(result.hands) for result in results) > 0


def test_differences_are_counted_and_written_with_their_times(champion, renamed, tmp_path, caplog):
    caplog.set_level("INFO")
    results = results_of(champion)
    expected = sum(one.action != "NG" for result in results for one in result.hands)
    assert expected
    counts, lines = shadowed(renamed, results, tmp_path / "out")
    assert counts.different == expected
    assert counts.stretches == len(lines)
    assert sum(line["hands"] for line in lines) == expected
    for line in lines:
        assert {line["champion_says"], line["challenger_says"]} == {"screw", "wipe"}
        assert 0 <= line["start_s"] <= line["end_s"] <= 2.9
        assert (line["champion"], line["challenger"]) == ("old", "new")
        assert line["start_utc"].startswith("1970-01-12T")
    assert f"{expected} of {counts.hands} hands differ" in caplog.text


def test_a_live_champion_does_not_wait_for_a_slow_challenger(champion, tmp_path):
    results = again(results_of(champion), 20)
    counts, _ = shadowed(champion, results, tmp_path / "out", lossless=False)
    assert counts.left_out
    assert counts.frames + counts.left_out == len(results)


def test_a_challenger_that_fails_is_told_and_the_champion_goes_on(champion, tmp_path, caplog, monkeypatch):
    results = results_of(champion)

    def fail(*_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(champion, "classify", fail)
    counts, _ = shadowed(champion, again(results, 3), tmp_path / "out")
    assert counts.frames < 30
    assert caplog.text.count("shadow new ended: out of order") == 1


def test_what_was_written_is_bounded_and_outlives_a_start(champion, renamed, tmp_path, monkeypatch):
    results = results_of(champion)
    _, lines = shadowed(renamed, results, tmp_path / "out")
    assert lines
    written = (tmp_path / "out" / FILE).read_text()
    Shadow(Running(renamed, "new"), SETTINGS, tmp_path / "out", "old", lossless=True).close()
    assert (tmp_path / "out" / BEFORE).read_text() == written
    assert (tmp_path / "out" / FILE).read_text() == ""
    monkeypatch.setattr(shadow_module, "MOST_BYTES", 1)
    counts, lines = shadowed(renamed, results, tmp_path / "bounded")
    assert counts.stretches
    assert lines == []
    assert len((tmp_path / "bounded" / BEFORE).read_text().splitlines()) == 1
