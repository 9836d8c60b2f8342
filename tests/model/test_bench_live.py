"""The bench of the runtime: all ways look at the same frames, and say so; how fast is no test's matter."""

import itertools
import time

import numpy as np
import pytest

from flows.bench_live import HEADINGS, _delays, _memory, _row
from lineact.bench_live import (
    LiveJob,
    _moved,
    as_the_product,
    in_real_time,
    measured,
    plain_way,
    render_clip,
    without_skipping,
)
from lineact.live_run import LiveRun, at_its_rate, event_delays_apart_ms
from lineact.simulation import SimulateParams
from tests.code.test_evaluate import write_video
from tests.embedded_pair import CLIP_FPS, CLIP_S, write_clip

FRAMES = round(CLIP_FPS * CLIP_S)


@pytest.fixture(scope="module")
def job(released, tmp_path_factory):
    """The tiny pair on a small clip."""
    clip = write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")
    models = released / "models"
    return LiveJob(clip, released / "export/bundle", models / "train_detector", (models / "distil", "student"), FRAMES)


def test_frames_come_when_they_are_due_and_begin_again(tmp_path):
    write_video(tmp_path / "short.mp4", frames=3)
    began_s = time.monotonic()
    frames = list(itertools.islice(at_its_rate(tmp_path / "short.mp4"), 7))
    assert [frame.number for frame in frames] == list(range(7))
    assert np.diff([frame.pts_s for frame in frames]) == pytest.approx(0.1)
    assert np.diff([frame.arrived_s for frame in frames]) == pytest.approx(0.1)
    assert frames[-1].arrived_s >= began_s + 0.6
    assert time.monotonic() >= frames[-1].arrived_s


def test_a_delay_is_measured_for_each_frame(released, tmp_path):
    write_video(tmp_path / "short.mp4", frames=5)
    delays_ms = event_delays_apart_ms(released / "export/bundle", tmp_path / "short.mp4", 8)
    assert delays_ms.shape == (8,)
    assert (delays_ms > 0).all()


def test_a_hand_moves_where_its_box_does_or_where_it_comes_and_goes():
    here, beside, near = np.array([10.0, 10, 50, 50]), np.array([12.0, 10, 50, 50]), np.array([11.0, 10, 50, 50])
    assert _moved({"left": here}, {"left": beside})
    assert _moved({"left": here}, {})
    assert _moved({"left": here}, {"right": here})
    assert not _moved({"left": here}, {"left": near})
    assert not _moved({}, {})


def test_the_rows_have_a_figure_under_each_heading():
    plain = LiveRun(100, 2.0, 3.0, 100, 150, 150, 900.0)
    ours = LiveRun(100, 0.25, 1.0, 50, 100, 25, 300.0, np.full(100, 8.0), np.full(10, 2.0), 1.5)
    row = _row("lineact", ours, plain)
    assert len(row) == len(HEADINGS)
    assert row == ["lineact", "400.0", "8.00", "10.0", "50%", "25%", "1.00", "300"]
    assert "p95 8.0" in _delays(ours)
    assert "10 calls with two crops" in _delays(ours)
    assert "calls" not in _delays(plain.__class__(1, 1.0, 1.0, 1, 1, 1, 1.0, np.ones(1)))
    assert "at most 300 MB, +1.5 MB" in _memory(ours)


@pytest.mark.slow
def test_all_ways_look_at_all_frames_and_find_hands(job):
    plain, ours, whole = (measured(way, job) for way in (plain_way, as_the_product, without_skipping))
    assert plain.frames == ours.frames == whole.frames == whole.looked == FRAMES
    assert whole.classified == whole.hands > 0
    assert plain.hands == pytest.approx(whole.hands, rel=0.2)
    assert ours.looked <= FRAMES
    assert measured(as_the_product, job.playing(FRAMES + 20)).frames == FRAMES + 20  # the clip begins again
    assert len(measured(in_real_time, job.playing(30)).delays_ms) == 30


@pytest.mark.slow
def test_a_clip_is_rendered_once_as_a_camera_sends_it(tmp_path):
    import av

    params = SimulateParams(0, "demo", ("screw", "wipe", "label"), 9, 40.0, 10, 640, 360, 23, 2.0)
    share = render_clip(tmp_path / "clip.mp4", params, 2.0)
    assert 0 <= share <= 1
    written = (tmp_path / "clip.mp4").stat().st_mtime_ns
    assert render_clip(tmp_path / "clip.mp4", params, 2.0) == share
    assert (tmp_path / "clip.mp4").stat().st_mtime_ns == written
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (2560, 1440, 25)
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
    assert all(packet.dts == packet.pts for packet in packets)  # none waits for a later one
