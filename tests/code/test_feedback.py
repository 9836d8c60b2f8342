"""The ring of kept crops: bounded in bytes and time, whole after a kill, blurred or not there at all."""

import dataclasses
import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from lineact.bundle.manifest import read_manifest
from lineact.errors import ConfigError, InputError
from lineact.feedback import SUFFIX, Kept, KeptCrop, content_of, crop_of
from lineact.privacy import Blur
from lineact.runtime.outputs.feedback import NAME_FORMAT, FeedbackRing
from lineact.runtime.settings import FeedbackSettings, PrivacySettings, RuntimeSettings
from lineact.runtime.station import Station, watch
from lineact.settings import from_mapping
from tests.released_pair import smooth_noise
from tests.station import ORIGIN, close_in_time, frame_at, hand, result_at
from tests.station_services import wait_for

KEPT = Kept("press_a", "top", 1_000_000.5, "pick", 0.41, "0123456789ab", 1.5)
UNSURE = hand("pick", 0.41)
PICTURE = smooth_noise(np.random.default_rng(0), (64, 96))


@pytest.fixture(scope="module")
def spec(released):
    return read_manifest(released / "export/bundle").classifier


def seen(at_s, *hands):
    return result_at(at_s, *hands)._replace(frame=frame_at(at_s, 0, PICTURE))


def kept_in(folder):
    return [crop_of(path.read_bytes(), str(path)) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def ring_of(folder, spec, settings=FeedbackSettings(), privacy=PrivacySettings()):  # noqa: B008 - both are frozen
    return FeedbackRing(folder, settings, privacy, ORIGIN, spec)


def test_a_crop_comes_back_as_it_was_and_what_is_none_is_named():
    crop = KeptCrop(KEPT, PICTURE[:48, :48])
    again = crop_of(content_of(crop), "a.crop")
    assert again.kept == KEPT
    np.testing.assert_array_equal(again.crop_rgb, crop.crop_rgb)
    whole = content_of(crop)
    for content in (b"", b"{}", whole[:40], whole.partition(b"\n")[0] + b"\n", b"[]\n" + whole, whole[:-2000]):
        with pytest.raises(InputError, match=r"a.crop: expected a .*crop"):
            crop_of(content, "a.crop")


def test_unsure_and_irrelevant_crops_are_kept_now_and_then_and_name_nobody(tmp_path, spec):
    ring = ring_of(tmp_path, spec)
    sure, ng = hand("place", 0.9, 2), hand("NG", 0.99, 3)
    for index in range(60):
        ring.see(seen(index / 10, UNSURE, sure, ng))
    ring.close()
    kept = kept_in(tmp_path)
    assert sorted(one.kept.action for one in kept) == ["NG", "NG", "pick", "pick"]  # 6 s, one in 5 s
    assert {one.crop_rgb.shape for one in kept} == {(spec.crop_side_px, spec.crop_side_px, 3)}
    assert {(one.kept.line, one.kept.camera, one.kept.bundle) for one in kept} == {tuple(ORIGIN)}
    assert not {"hand", "worker"} & set(vars(kept[0].kept))


def test_the_oldest_go_where_the_bytes_are_full_also_after_a_restart(tmp_path, spec):
    settings = FeedbackSettings(apart_s=0.0, most_mb=0.05)
    sizes = []
    for _ in range(2):
        ring = ring_of(tmp_path, spec, settings)
        for index in range(20):
            ring.see(seen(index, UNSURE))
        ring.close()
        files = sorted(tmp_path.glob(f"*{SUFFIX}"))
        sizes.append(sum(path.stat().st_size for path in files))
    assert all(0 < size <= 50_000 for size in sizes)
    newest = files[-1].name
    ring_of(tmp_path, spec, FeedbackSettings(most_mb=files[-1].stat().st_size / 1e6)).close()
    assert [path.name for path in tmp_path.glob(f"*{SUFFIX}")] == [newest]


def test_what_was_kept_long_enough_goes_at_the_start(tmp_path, spec):
    kept_days_ago(tmp_path, 0, 2, 8, 30)
    ring_of(tmp_path, spec, FeedbackSettings(keep_days=7)).close()
    assert len(list(tmp_path.iterdir())) == 2


def kept_days_ago(folder, *days_ago):
    """Crops of these days, oldest last."""
    for days in days_ago:
        at = datetime.now(UTC) - timedelta(days=days)
        path = folder / f"{at.strftime(NAME_FORMAT)}{SUFFIX}"
        path.write_bytes(b"x")
        os.utime(path, (at.timestamp(), at.timestamp()))


def test_what_was_kept_long_enough_goes_while_the_station_runs_and_keeps_nothing(tmp_path, spec, monkeypatch):
    monkeypatch.setattr("lineact.runtime.outputs.feedback.LOOK_EVERY_S", 0.02)
    kept_days_ago(tmp_path, 0, 2)
    settings = FeedbackSettings(keep_days=7)
    ring = FeedbackRing(tmp_path, settings, PrivacySettings(store_crops=False), ORIGIN, spec)
    kept_days_ago(tmp_path, 8, 9)
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    ring.see(seen(0.0, UNSURE))
    close_in_time(ring)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_clock_that_was_set_back_keeps_no_crop_for_ever_and_replaces_none(tmp_path, spec, monkeypatch):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 1, tzinfo=tz)

    monkeypatch.setattr("lineact.runtime.outputs.feedback.datetime", Stopped)
    kept_days_ago(tmp_path, -5000)  # of a time to come
    (future,) = tmp_path.iterdir()
    ring = ring_of(tmp_path, spec, FeedbackSettings(apart_s=0.0, keep_days=7))
    assert time.time() - 60 < future.stat().st_mtime <= time.time()
    for index in range(3):
        ring.see(seen(index, UNSURE))
    ring.close()
    assert len(list(tmp_path.glob(f"20260101*{SUFFIX}"))) == 3
    eight_days_ago_s = time.time() - 8 * 86400
    os.utime(future, (eight_days_ago_s, eight_days_ago_s))  # as if so long had passed since then
    ring_of(tmp_path, spec, FeedbackSettings(keep_days=7)).close()
    assert not future.exists()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_station_that_cannot_blur_faces_says_so_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    station = Station("nowhere", tmp_path / "bundles", "nowhere.mp4", "top", tmp_path / "out", None)
    settings = RuntimeSettings(privacy=PrivacySettings(store_crops=False, blur_faces=True))
    with pytest.raises(ConfigError, match=r"expected scikit-image, .* found none; .* name privacy.blur_reg"):
        watch(station, settings, lambda _: None)
    assert not (tmp_path / "out").exists()


def test_what_a_kill_left_half_written_is_not_a_crop_and_goes(tmp_path, spec):
    from lineact import files

    torn = tmp_path / f".tmp-{files._HOST}-999999999-0badcafe.20260101T000000.000000Z{SUFFIX}"
    torn.write_bytes(b"half")
    ring = ring_of(tmp_path, spec)
    ring.see(seen(0.0, UNSURE))
    ring.close()
    assert not torn.exists()
    assert len(kept_in(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_told_once_and_nothing_else_stops(tmp_path, spec, caplog, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("lineact.runtime.outputs.feedback.write_bytes", full)
    ring = ring_of(tmp_path, spec, FeedbackSettings(apart_s=0.0))
    for index in range(5):
        ring.see(seen(index, UNSURE))
    ring.close()
    assert caplog.text.count("crops are not kept: [Errno 28] No space left on device") == 1


def test_a_region_is_blurred_where_it_lies_in_the_crop_and_nowhere_else():
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (100, 200, 3), np.uint8)
    square = (50, 20, 110, 80)
    crop = picture[20:80, 50:110]
    blurred = Blur([(0.4, 0.0, 0.5, 0.5)], False).apply(crop, square, (200, 100))  # 80 to 100 across, 0 to 50 down
    changed = (blurred != crop).any(axis=2)
    assert changed[:30, 30:50].mean() > 0.9
    assert not changed[30:].any()
    assert not changed[:, :30].any()
    assert not changed[:, 50:].any()
    assert blurred[:30, 30:50].std() < 0.5 * crop[:30, 30:50].std()
    scaled = cv2.resize(crop, (30, 30), interpolation=cv2.INTER_AREA)
    changed = (Blur([(0.4, 0.0, 0.5, 0.5)], False).apply(scaled, square, (200, 100)) != scaled).any(axis=2)
    assert changed[:15, 15:25].any()
    assert not changed[16:].any()


def test_regions_and_limits_are_checked():
    for wrong in ({"blur_regions": [[0.5, 0, 0.4, 1]]}, {"blur_regions": [[0, 0, 1, 2]]}):
        with pytest.raises(ConfigError, match="expected x1 < x2 and y1 < y2 from 0 to 1"):
            from_mapping(RuntimeSettings, {"privacy": wrong}, "station.toml")
    with pytest.raises(ConfigError, match="below must be from 0 to 1"):
        from_mapping(RuntimeSettings, {"feedback": {"keep_days": 0}}, "station.toml")


def test_a_face_is_blurred_and_most_else_is_not():
    from skimage.data import astronaut

    picture = astronaut()  # 512 x 512; the face lies about (222, 114), 100 px wide
    blurred = Blur([], True).apply(picture, (0, 0, 512, 512), (512, 512))
    face = np.s_[75:150, 185:255]
    steps = [np.abs(np.diff(image[face].astype(int), axis=1)).mean() for image in (blurred, picture)]
    assert steps[0] < 0.5 * steps[1]
    assert (blurred != picture).any(axis=2).mean() < 0.2
    assert Blur([], True).apply(PICTURE, (0, 0, 96, 64), (96, 64)).shape == PICTURE.shape
    speck = PICTURE[:5, :5]
    assert (Blur([], True).apply(speck, (0, 0, 5, 5), (96, 64)) == speck).all()


def test_a_crop_that_cannot_be_kept_is_told_and_the_next_one_is(tmp_path, spec, monkeypatch, caplog):
    def broken(*_):
        raise ValueError("no such pixel")

    ring = ring_of(tmp_path, spec, FeedbackSettings(apart_s=0.0))
    with monkeypatch.context() as patch:
        patch.setattr(ring._blur, "apply", broken)
        for index in range(2):
            ring.see(seen(index, UNSURE))
        wait_for(lambda: ring._waiting.empty() and "no such pixel" in caplog.text)
    ring.see(seen(2, UNSURE))
    close_in_time(ring)
    assert caplog.text.count("crops are not kept") == 1
    assert kept_in(tmp_path)


def test_a_crop_is_kept_as_the_bundle_saw_it_that_ran_then(tmp_path, spec, monkeypatch):
    free = threading.Event()
    ring = ring_of(tmp_path, spec)
    write = ring._write
    monkeypatch.setattr(ring, "_write", lambda unsure: (free.wait(), write(unsure)))
    ring.see(seen(0, UNSURE))
    ring.expect("new", dataclasses.replace(spec, crop_context=2 * spec.crop_context))
    ring.change("new")
    free.set()
    ring.close()
    (kept,) = kept_in(tmp_path)
    assert (kept.kept.bundle, kept.kept.crop_context) == (ORIGIN.bundle, spec.crop_context)
