"""Where frames come from: files, folders, cameras that are cut, and what their clocks do."""

import errno
import itertools
import os
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.errors import InputError
from lineact.runtime.errors import BusyError, CameraError
from lineact.runtime.frame import Frame
from lineact.runtime.locks import camera_lock, folder_lock
from lineact.runtime.settings import SourceSettings
from lineact.runtime.sources import camera_name, is_live, open_source, without_password
from lineact.runtime.sources.clock import STALLED_S, CameraClock, FileClock
from lineact.runtime.sources.counts import SourceCounts
from lineact.runtime.sources.decoding import decoded_frames
from lineact.runtime.sources.packets import Packet, Stream
from tests.generated_videos import write_sound
from tests.station import camera_of_bytes, numbered_video

QUICK = SourceSettings(timeout_s=2.0, retry_first_s=0.05, retry_most_s=0.1, give_up_s=1.0)


def grey_of(frame) -> int:
    return round(float(frame.rgb().mean()))


def test_a_file_gives_all_its_frames_with_its_own_times(tmp_path):
    path = numbered_video(tmp_path / "rec.mp4", 20)
    source = open_source(str(path), SourceSettings())
    frames = list(source)
    assert source.mode == "lossless"
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.pts_s for frame in frames] == pytest.approx([index / 10 for index in range(20)])
    greys = [grey_of(frame) for frame in frames]
    assert greys == sorted(set(greys))
    assert {(frame.width_px, frame.height_px) for frame in frames} == {(320, 180)}
    assert source.counts.handed_on == 20
    assert source.counts.dropped == source.counts.broken == 0


def test_a_file_s_wall_clock_begins_where_its_recording_did(tmp_path):
    path = numbered_video(tmp_path / "rec.mp4", 20)
    os.utime(path, (2_000_000, 2_000_000))
    frames = list(open_source(str(path), SourceSettings()))
    assert frames[0].utc_s == pytest.approx(2_000_000 - 2.0, abs=0.2)
    assert frames[-1].utc_s - frames[0].utc_s == pytest.approx(1.9)


def test_a_folder_is_one_stream_and_bad_files_are_left_out(tmp_path):
    numbered_video(tmp_path / "a.mp4", 5)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    write_sound(tmp_path / "c.mp4")
    numbered_video(tmp_path / "d.mkv", 5)
    source = open_source(str(tmp_path), SourceSettings())
    times_s = [frame.pts_s for frame in source]
    assert times_s == pytest.approx([index / 10 for index in range(10)], abs=2e-3)
    assert source.counts.bad_files == 2


def test_no_file_that_can_be_read_is_an_error(tmp_path):
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"b.mp4: expected a readable video"):
        list(open_source(str(tmp_path), SourceSettings()))
    with pytest.raises(InputError, match=r"nowhere: expected a folder of videos, found nothing"):
        list(open_source(str(tmp_path / "nowhere"), SourceSettings()))


def test_repeated_files_go_on_rising(tmp_path):
    numbered_video(tmp_path / "rec.mp4", 5)
    source = open_source(str(tmp_path), SourceSettings(repeat=True))
    times_s = [frame.pts_s for frame in itertools.islice(source, 17)]
    assert times_s == pytest.approx([index / 10 for index in range(17)], abs=2e-3)


def test_a_file_cut_in_the_middle_gives_what_is_whole(tmp_path):
    path = numbered_video(tmp_path / "rec.ts", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames = list(open_source(str(path), SourceSettings()))
    assert 5 < len(frames) < 40
    assert [frame.pts_s for frame in frames] == sorted({frame.pts_s for frame in frames})


def test_latest_drops_what_is_late_and_counts_it(tmp_path):
    path = numbered_video(tmp_path / "rec.mp4", 20, fps=50.0)
    source = open_source(str(path), SourceSettings(mode="latest"))
    given_out = []
    for frame in source:
        given_out.append(frame)
        if len(given_out) == 1:
            time.sleep(0.2)  # ten frames long
    assert source.counts.dropped > 0
    assert len(given_out) + source.counts.dropped == 20
    assert given_out[-1].pts_s == pytest.approx(19 / 50)
    greys = [grey_of(frame) for frame in given_out]
    assert greys == sorted(set(greys))


def reordered(path: Path, suffix: str = ".mp4") -> Path:
    """The video encoded anew, so that frames wait in the decoder for later ones; Matroska keeps no decoding times."""
    anew = path.with_name(f"reordered{suffix}")
    with av.open(str(path)) as read, av.open(str(anew), "w") as written:
        stream = written.add_stream("libx264", rate=20, options={"bf": "2", "b_strategy": "0", "g": "30"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number, picture in enumerate(read.decode(video=0)):
            picture.pts, picture.time_base, picture.pict_type = number, Fraction(1, 20), 0
            written.mux(stream.encode(picture))
        written.mux(stream.encode(None))
    with av.open(str(anew)) as read:
        times = [packet.pts for packet in read.demux(video=0) if packet.pts is not None]
    assert times != sorted(times)
    return anew


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("mode", ["latest", "lossless"])
def test_reordered_frames_come_in_their_order_and_none_is_lost(tmp_path, mode, suffix):
    path = reordered(numbered_video(tmp_path / "rec.mp4", 10, fps=20.0), suffix)
    source = open_source(str(path), SourceSettings(mode=mode))
    frames = list(source)
    assert len(frames) + source.counts.dropped == 10
    assert all(before.pts_s < after.pts_s for before, after in itertools.pairwise(frames))
    assert all(frame.arrived_s <= time.monotonic() for frame in frames)
    if mode == "lossless":
        assert [frame.pts_s - frames[0].pts_s for frame in frames] == pytest.approx(
            [n / 20 for n in range(10)], abs=2e-3
        )


@pytest.mark.parametrize("encoded", [lambda path: path, reordered])
def test_latest_plays_a_file_at_its_own_rate(tmp_path, encoded):
    path = encoded(numbered_video(tmp_path / "rec.mp4", 10, fps=20.0))
    began_s = time.monotonic()
    frames = list(open_source(str(path), SourceSettings(mode="latest")))
    assert time.monotonic() - began_s >= 9 / 20
    steps_s = [after.arrived_s - before.arrived_s for before, after in itertools.pairwise(frames)]
    media_s = [after.pts_s - before.pts_s for before, after in itertools.pairwise(frames)]
    assert steps_s == pytest.approx(media_s, abs=1e-3)


def test_stop_ends_the_iteration_and_its_thread(tmp_path):
    path = numbered_video(tmp_path / "rec.mp4", 100, fps=10.0)
    source = open_source(str(path), SourceSettings(mode="latest"))
    frames = iter(source)
    next(frames)
    source.stop()
    assert list(frames) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "source"]


@pytest.mark.parametrize("mode", ["latest", "lossless"])
def test_a_camera_that_is_cut_is_connected_anew_and_then_given_up(tmp_path, mode):
    video = numbered_video(tmp_path / "rec.ts", 12, fps=100.0).read_bytes()
    with camera_of_bytes([video, video]) as address:
        source = open_source(address, SourceSettings(**(vars(QUICK) | {"mode": mode})))
        frames: list[Frame] = []
        with pytest.raises(CameraError, match=r"tcp://127.0.0.1:\d+: expected a picture, found none for 1 s") as error:
            frames.extend(source)  # extend keeps what came before the error
    assert error.value.exit_code == 69
    assert source.counts.reconnects >= 2
    assert len(frames) + source.counts.dropped + source.counts.broken == 24
    times_s = [frame.pts_s for frame in frames]
    assert times_s == sorted(set(times_s))
    if mode == "lossless":
        assert times_s[0] == 0
        assert len(frames) == 24
        assert source.counts.clock_jumps == 0


def test_a_camera_that_falls_silent_is_connected_anew(tmp_path):
    video = numbered_video(tmp_path / "rec.ts", 12, fps=100.0).read_bytes()
    settings = SourceSettings(**(vars(QUICK) | {"timeout_s": 0.5, "mode": "lossless", "give_up_s": 2.0}))
    with camera_of_bytes([video, video], hold_s=1.0) as address:
        source = open_source(address, settings)
        with pytest.raises(CameraError):
            list(source)
    assert source.counts.handed_on == 24


def test_no_camera_is_told_with_the_way_out():
    source = open_source("/dev/video250", QUICK)
    with pytest.raises(CameraError, match=r"/dev/video250: expected a picture.*No such file.*plugged in"):
        list(source)


def test_the_picture_s_size_may_change(tmp_path):
    for name, size_wh in (("a.ts", (320, 180)), ("b.ts", (160, 120))):
        numbered_video(tmp_path / name, 6, size_wh=size_wh)
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    source = open_source(str(both), SourceSettings())
    sizes = [(frame.width_px, frame.height_px) for frame in source]
    assert source.counts.size_changes == 1
    assert sizes[0] == (320, 180)
    assert sizes[-1] == (160, 120)


class _Codec:
    """Gives the pictures that a test wants, in place of a decoder."""

    def __init__(self, *pictures: av.VideoFrame) -> None:
        self._pictures = pictures

    def decode(self, _: object) -> tuple[av.VideoFrame, ...]:
        return self._pictures


def test_pictures_without_a_size_are_counted_and_left_out():
    stream = Stream(_Codec(av.VideoFrame(0, 0, "rgb24"), av.VideoFrame(4, 2, "rgb24")), 0.1, 10.0, None)  # type: ignore[arg-type]
    counts = SourceCounts()
    frames = list(decoded_frames([Packet(stream, None, 5.0)], CameraClock(counts), counts))
    assert [(frame.width_px, frame.height_px) for frame in frames] == [(4, 2)]
    assert counts.broken == 1


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_what_a_decoder_refuses_is_counted_and_the_next_picture_comes(number):
    class Refusing(_Codec):
        refused = False

        def decode(self, data: object) -> tuple[av.VideoFrame, ...]:
            if not self.refused:
                self.refused = True
                raise av.FFmpegError(number, "not implemented")
            return super().decode(data)

    stream, counts = Stream(Refusing(av.VideoFrame(4, 2, "rgb24")), 0.1, 10.0, None), SourceCounts()  # type: ignore[arg-type]
    packets = [Packet(stream, None, 5.0), Packet(stream, None, 6.0)]
    assert len(list(decoded_frames(packets, CameraClock(counts), counts))) == 1
    assert counts.broken == 1


STREAM = Stream(None, 0.1, 10.0, 1000.0)  # type: ignore[arg-type]
stamps = st.lists(
    st.tuples(st.one_of(st.none(), st.floats(-1e6, 1e6)), st.floats(0, 10), st.booleans()), min_size=1, max_size=30
)


@given(stamps)
def test_a_camera_s_media_time_rises_whatever_its_stream_says(told):
    clock, arrived_s, times_s = CameraClock(SourceCounts()), 50.0, []
    for stamp_s, step_s, begins in told:
        if begins:
            clock.begin(STREAM)
        arrived_s += step_s
        times_s.append(clock.at(stamp_s, arrived_s)[0])
    assert times_s[0] == 0
    assert all(before < after for before, after in itertools.pairwise(times_s))
    # it never runs ahead of the arrival by more than jumps are forgiven
    assert times_s[-1] <= arrived_s - 50.0 + 5.0 * len(told)


@given(stamps)
def test_a_file_s_media_time_rises_whatever_it_says(told):
    clock = FileClock()
    clock.begin(STREAM)
    times_s = []
    for stamp_s, _, begins in told:
        if begins:
            clock.begin(STREAM)
        times_s.append(clock.at(stamp_s, 0.0)[0])
    assert all(before < after for before, after in itertools.pairwise(times_s))


def test_a_camera_s_clock_jumps_are_counted_and_cost_no_time():
    counts = SourceCounts()
    clock = CameraClock(counts)
    clock.begin(STREAM)
    told = [(7.0, 100.0), (7.1, 100.1), (3.0, 100.2), (3.1, 100.3), (9000.0, 100.4), (9000.1, 100.5)]
    times_s = [clock.at(*one)[0] for one in told]
    assert times_s == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert counts.clock_jumps == 2


def test_a_burst_after_a_delay_keeps_its_own_times():
    counts = SourceCounts()
    clock = CameraClock(counts)
    told = [(0.0, 0.0), (0.1, 2.0), (0.2, 2.001), (0.3, 2.002)]
    assert [clock.at(*one)[0] for one in told] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert counts.clock_jumps == 0


@given(stamps)
def test_after_a_silence_no_frame_is_of_a_time_that_has_passed(told):
    clock, arrived_s = CameraClock(SourceCounts()), 50.0
    before_s, before_arrived_s = 0.0, arrived_s
    for stamp_s, step_s, begins in told:
        if begins:
            clock.begin(STREAM)
        arrived_s += step_s
        media_s, _ = clock.at(stamp_s, arrived_s)
        if arrived_s - before_arrived_s >= STALLED_S and before_s:
            assert media_s >= before_s + arrived_s - before_arrived_s - 1e-6
        before_s, before_arrived_s = media_s, arrived_s


def test_frames_that_were_held_up_for_long_come_after_the_silence():
    counts = SourceCounts()
    clock = CameraClock(counts)
    told = [(0.0, 0.0), (0.1, 4.0), (0.2, 4.001), (0.3, 4.1)]
    assert [clock.at(*one)[0] for one in told] == pytest.approx([0, 4.0, 4.1, 4.2])
    assert counts.clock_jumps == 0


def test_a_wall_clock_that_is_set_is_told(monkeypatch, caplog):
    counts = SourceCounts()
    clock = CameraClock(counts)
    clock.at(0.0, time.monotonic())
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    _, utc_s = clock.at(0.1, time.monotonic())
    assert utc_s == pytest.approx(1_000_000, abs=60)
    assert counts.clock_jumps == 1
    assert "this machine's clock was set by" in caplog.text


@pytest.mark.parametrize(
    ("address", "live", "shown", "name"),
    [
        ("rtsp://ann:secret@10.0.0.5:554/top", True, "rtsp://ann:***@10.0.0.5:554/top", "10.0.0.5"),
        ("rtsp://10.0.0.5/top", True, "rtsp://10.0.0.5/top", "10.0.0.5"),
        ("/dev/video0", True, "/dev/video0", "video0"),
        ("/dev/v4l/by-id/usb-Cam", True, "/dev/v4l/by-id/usb-Cam", "usb-Cam"),
        ("/recordings/rec_01.mp4", False, "/recordings/rec_01.mp4", "rec_01"),
        ("C:/recordings/a b", False, "C:/recordings/a b", "a b"),
    ],
)
def test_addresses(address, live, shown, name):
    assert (is_live(address), without_password(address), camera_name(address)) == (live, shown, name)


def test_one_process_for_a_folder_and_for_a_camera(tmp_path):
    with folder_lock(tmp_path / "events"):
        with pytest.raises(BusyError, match=rf"another process writes events there \(process {os.getpid()}\)") as error:
            folder_lock(tmp_path / "events").__enter__()
        assert error.value.exit_code == 16
    with folder_lock(tmp_path / "events"), camera_lock("rtsp://a:b@nowhere/1", "rtsp://a:***@nowhere/1"):
        with camera_lock("rtsp://a:b@nowhere/2", "rtsp://a:***@nowhere/2"):
            pass
        with pytest.raises(BusyError, match=r"rtsp://a:\*\*\*@nowhere/1: another process has this camera"):
            camera_lock("rtsp://a:b@nowhere/1", "rtsp://a:***@nowhere/1").__enter__()
        with pytest.raises(BusyError, match="another process has this camera"):
            camera_lock("rtsp://c:d@nowhere/1", "rtsp://c:***@nowhere/1").__enter__()


def test_a_camera_has_one_lock_whatever_it_is_called_and_whoever_made_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    real, link = os.path.realpath, "/dev/v4l/by-id/usb-Cam"
    monkeypatch.setattr(os.path, "realpath", lambda path: "/dev/video7" if path == link else real(path))
    with camera_lock("/dev/video7", "/dev/video7"), pytest.raises(BusyError, match="another process has this camera"):
        camera_lock(link, link).__enter__()
    (made,) = tmp_path.iterdir()
    open_file = os.open

    def of_another_user(path, flags, mode=0o777):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_file(path, flags, mode)

    monkeypatch.setattr(os, "open", of_another_user)
    with camera_lock("/dev/video7", "/dev/video7"), pytest.raises(BusyError, match="another process has this camera"):
        camera_lock("/dev/video7", "/dev/video7").__enter__()
    assert made.read_text() == f"{os.getpid()}\n"


def test_frames_of_arrays_are_their_own_picture():
    from tests.station import frame_at

    picture = np.zeros((2, 4, 3), np.uint8)
    assert frame_at(0.0, 0, picture).rgb() is picture


def test_a_repeated_file_stops_between_two_frames(tmp_path):
    source = open_source(str(numbered_video(tmp_path / "rec.mp4", 3)), SourceSettings(mode="latest", repeat=True))
    frames = iter(source)
    next(frames)
    source.stop()
    assert list(frames) == []
