"""The view: a camera that was nudged, turned or covered is noticed; light, noise, hands and products are not."""

import threading

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.bundle.manifest import MANIFEST, read_manifest
from lineact.errors import ConfigError
from lineact.export.view import read_training_view
from lineact.files import write_json
from lineact.runtime import view_check
from lineact.runtime.recognise import open_bundle
from lineact.runtime.settings import RecogniseSettings, RuntimeSettings, ViewCheckSettings
from lineact.runtime.view_check import APART_S, PICTURES, ViewWatch, median_of_five
from lineact.settings import from_mapping
from lineact.simulation.render import View, render_frames
from lineact.simulation.stations import STATIONS
from lineact.view import LONG_SIDE_PX, compare_views, small_wh, view_of
from tests.embedded_pair import write_bundle
from tests.station import frame_at, result_at

SIZE_WH = (640, 360)
LIMITS = ViewCheckSettings()


def recorded(number: int, seconds: float = 8.0) -> list[np.ndarray]:
    """Frames of a recording of the demo's station, two a second, RGB."""
    view = View(SIZE_WH, 10, seconds, 23, 2.0)
    return [
        frame for index, (frame, _) in enumerate(render_frames(STATIONS["demo"], view, (0, number))) if index % 5 == 0
    ]


def grey_of(image_rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="module")
def training():
    return [frame for number in (3, 4, 5) for frame in recorded(number)]


@pytest.fixture(scope="module")
def reference(training):
    return view_of([grey_of(frame) for frame in training])


@pytest.fixture(scope="module")
def later():
    """Another recording, another worker: the hands are in the pictures."""
    return recorded(6)


@pytest.fixture(scope="module")
def now(later):
    return np.median(np.stack([grey_of(frame) for frame in later[:PICTURES]]), axis=0).astype(np.uint8)


def warped(grey: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(
        grey, np.asarray(matrix, np.float32), (grey.shape[1], grey.shape[0]), borderMode=cv2.BORDER_REFLECT
    )


def shifted(grey: np.ndarray, x: float, y: float) -> np.ndarray:
    return warped(grey, np.array([[1, 0, x], [0, 1, y]]))


def turned(grey: np.ndarray, degrees: float, zoom: float) -> np.ndarray:
    return warped(grey, cv2.getRotationMatrix2D((grey.shape[1] / 2, grey.shape[0] / 2), degrees, zoom))


@pytest.mark.parametrize("shift", [(3, 0), (0, -4), (6, 3), (-12, 8), (30, -20), (100, 40), (-250, 10)])
def test_a_shift_is_measured_to_half_a_pixel(reference, now, shift):
    match = compare_views(reference, shifted(now, *shift))
    assert match.seen > LIMITS.least_seen
    assert match.moved > LIMITS.most_moved
    np.testing.assert_allclose(np.array(match.moved_xy) * LONG_SIDE_PX, shift, atol=0.5)


@pytest.mark.parametrize(("degrees", "zoom"), [(2, 1.0), (-3, 1.0), (0, 1.04)])
def test_a_turn_or_zoom_is_a_move_though_its_middle_stays(reference, now, degrees, zoom):
    match = compare_views(reference, turned(now, degrees, zoom))
    assert match.seen > LIMITS.least_seen
    assert match.moved > LIMITS.most_moved


def covered(grey: np.ndarray, share: float) -> np.ndarray:
    hidden = grey.copy()
    rng = np.random.default_rng(1)
    width = round(grey.shape[1] * share)
    hidden[:, :width] = np.clip(rng.normal(70, 4, (grey.shape[0], width)), 0, 255)
    return hidden


@pytest.mark.parametrize("picture", [lambda grey: covered(grey, 0.7), lambda grey: covered(grey, 1.0), np.zeros_like])
def test_a_covered_view_is_not_seen(reference, now, picture):
    assert compare_views(reference, picture(now)).seen < LIMITS.least_seen


def test_another_place_is_not_seen(reference):
    rng = np.random.default_rng(2)
    elsewhere = cv2.resize(rng.integers(0, 256, (36, 64), np.uint8), SIZE_WH, interpolation=cv2.INTER_CUBIC)
    assert compare_views(reference, elsewhere).seen < LIMITS.least_seen


def ramp(grey: np.ndarray) -> np.ndarray:
    return np.clip(grey * np.linspace(0.5, 1.5, grey.shape[1]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "light",
    [
        lambda grey: np.clip(grey * 0.4, 0, 255).astype(np.uint8),
        lambda grey: np.clip(grey * 1.4, 0, 255).astype(np.uint8),
        lambda grey: np.clip(grey * 0.8 + 40, 0, 255).astype(np.uint8),
        lambda grey: (255 * (grey / 255) ** 0.6).astype(np.uint8),
        ramp,
        lambda grey: np.clip(grey + np.random.default_rng(3).normal(0, 4, grey.shape), 0, 255).astype(np.uint8),
        lambda grey: covered(grey, 0.2),
    ],
)
def test_light_noise_and_a_tool_in_the_way_do_not_alarm(reference, now, light):
    match = compare_views(reference, light(now))
    assert match.seen >= LIMITS.least_seen
    assert match.moved <= LIMITS.most_moved


def test_hands_that_move_do_not_alarm(reference, later):
    for frame in later:  # single ones, which the station does not even go by
        match = compare_views(reference, grey_of(frame))
        assert match.seen >= LIMITS.least_seen
        assert match.moved <= LIMITS.most_moved


def test_pictures_of_many_places_or_of_a_bare_wall_make_no_reference():
    rng = np.random.default_rng(4)
    assert view_of([cv2.resize(rng.integers(0, 256, (36, 64), np.uint8), SIZE_WH) for _ in range(6)]) is None
    assert view_of([np.clip(rng.normal(90, 1, SIZE_WH[::-1]), 0, 255).astype(np.uint8) for _ in range(6)]) is None
    assert view_of([]) is None


def test_the_reference_is_made_of_most_pictures_sizes_and_goes_into_the_bundle(training, tmp_path):
    for index, frame in enumerate(training):
        cv2.imwrite(str(tmp_path / f"{index:02d}.jpg"), cv2.resize(frame, (1280, 720))[..., ::-1])
    cv2.imwrite(str(tmp_path / "odd.jpg"), training[0][:200, :200])
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    view = read_training_view(sorted(tmp_path.glob("*.jpg")))
    assert view is not None
    assert view.size_wh == (1280, 720)
    folder = write_bundle(tmp_path / "bundle", view)
    manifest = read_manifest(folder)
    assert manifest.view is not None
    assert manifest.view.blocks_xy_px == view.view.blocks_xy_px
    (folder / manifest.view.file).unlink()
    with pytest.raises(Exception, match=r"view.png: expected a file of the bundle, found nothing"):
        read_manifest(folder)


class Station:
    """A view watch with a bundle, fed with media time."""

    def __init__(self, bundle, settings=LIMITS, in_thread=False):
        self.states: list[str] = []
        self.at_s = 0.0
        self._watch = ViewWatch(settings, self.states.append, in_thread)
        self._watch.expect("new", bundle)
        self._watch.change("new")

    def see(self, frames, seconds=PICTURES * APART_S):
        for index in range(round(seconds / APART_S)):
            result = result_at(self.at_s)
            self._watch.see(result._replace(frame=frame_at(self.at_s, 0, frames[index % len(frames)])))
            self.at_s += APART_S

    def close(self):
        self._watch.close()


@pytest.fixture(scope="module")
def bundle(training, tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    for index, frame in enumerate(training):
        cv2.imwrite(str(folder / f"{index:02d}.png"), frame[..., ::-1])
    view = read_training_view(sorted(folder.glob("*.png")))
    return open_bundle(write_bundle(folder / "bundle", view), RecogniseSettings())


def test_a_camera_that_was_nudged_is_told_at_the_start_in_its_own_pixels(bundle, later, caplog):
    station = Station(bundle)
    large = [cv2.resize(shifted(frame, 8, -5), (1280, 720)) for frame in later]
    station.see(large)
    assert station.states == ["moved"]
    assert "the camera was moved since training: the picture by +16 px across and -10 px down" in caplog.text


def test_a_covered_camera_is_told_and_when_it_is_free_again(bundle, later, caplog):
    station = Station(bundle, ViewCheckSettings(every_s=APART_S))
    station.see(later)
    dark = [np.zeros_like(frame) for frame in later]
    station.see(dark, 2 * PICTURES * APART_S)
    station.see(later, 2 * PICTURES * APART_S)
    assert station.states == ["ok", "covered", "ok"]
    assert "0% of the view is as in training: it is covered, dark or another place" in caplog.text


def test_who_leans_into_the_picture_for_a_moment_is_no_cover(bundle, later):
    station = Station(bundle, ViewCheckSettings(every_s=APART_S))
    station.see(later)
    station.see([np.zeros_like(frame) for frame in later])
    station.see(later, 2 * PICTURES * APART_S)
    assert station.states == ["ok"]


def test_no_frame_of_a_camera_waits_until_its_view_is_compared(bundle, later, monkeypatch):
    station, free, compare = Station(bundle, in_thread=True), threading.Event(), view_check.compare_views
    monkeypatch.setattr(view_check, "compare_views", lambda *given: free.wait(60) and compare(*given))
    station.see(later)
    station.see(later, APART_S)
    assert station.states == []
    free.set()
    station.close()
    assert station.states == ["ok"]


def test_what_a_thread_found_of_the_view_is_told_with_a_later_frame(bundle, later):
    station = Station(bundle, ViewCheckSettings(every_s=1000.0), in_thread=True)
    station.see([np.zeros_like(frame) for frame in later])
    compared = station._watch._compared
    assert compared is not None
    compared.result()
    station.see(later, APART_S)
    assert station.states == ["covered"]
    station.close()


@given(st.lists(st.integers(0, 255), min_size=5, max_size=5))
def test_the_median_of_five_is_numpys(values):
    assert (
        median_of_five([np.full((2, 3), value, np.uint8) for value in values]).tolist()
        == [[int(np.median(values))] * 3] * 2
    )


def test_a_picture_of_another_shape_is_told(bundle, later, caplog):
    station = Station(bundle)
    station.see([cv2.resize(frame, (640, 480)) for frame in later])
    assert station.states == ["moved"]
    assert "the picture is 640 x 480 px, in training 640 x 360" in caplog.text


def test_a_bundle_of_an_earlier_version_says_that_nothing_is_checked(bundle, later, tmp_path, caplog):
    import json
    import shutil

    caplog.set_level("INFO")
    folder = tmp_path / "old"
    shutil.copytree(bundle.folder, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["view"]
    write_json(folder / MANIFEST, manifest | {"schema_version": 3})
    station = Station(open_bundle(folder, RecogniseSettings()))
    station.see(later)
    assert station.states == []
    assert "has no reference view: whether the camera moved is not checked" in caplog.text


def test_a_recording_too_short_to_check_says_so(bundle, later, caplog):
    caplog.set_level("INFO")
    station = Station(bundle)
    station.see(later, 1.0)
    station.close()
    assert "too short to check the view: less than 2 s" in caplog.text


def test_the_settings_are_checked():
    assert small_wh((2560, 1440)) == (640, 360)
    for wrong in ({"every_s": -1.0}, {"most_moved": 0.0}, {"least_seen": 1.5}):
        with pytest.raises(ConfigError, match="every_s must be at least 0, most_moved above 0"):
            from_mapping(RuntimeSettings, {"view_check": wrong}, "station.toml")
