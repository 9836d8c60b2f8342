"""What becomes of events and results: event files, the outbox, figures, the live view, the annotated video."""

import errno
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.errors import ConfigError, FullDiskError, InputError
from lineact.runtime.errors import BusyError
from lineact.runtime.outputs import json_lines
from lineact.runtime.outputs.annotated import AnnotatedVideo
from lineact.runtime.outputs.json_lines import CURRENT, EventFile, closed_files, events_after, last_event
from lineact.runtime.outputs.metrics import MetricsOutput
from lineact.runtime.outputs.mqtt import MqttOutput, refuse, topic_of
from lineact.runtime.outputs.outbox import Outbox
from lineact.runtime.outputs.overlay import Overlay
from lineact.runtime.outputs.view import LiveView
from lineact.runtime.products import Products, product_of
from lineact.runtime.settings import EventFileSettings, MetricsSettings, MqttSettings, PrivacySettings, ViewSettings
from lineact.runtime.sources.counts import SourceCounts
from tests.station import ORIGIN, close_in_time, event, frame_at, hand, result_at
from tests.station_services import wait_for

LABELS = ("pick", "place", "NG")


def lines_of(folder: Path) -> list[dict]:
    """All events of a folder, in the order in which they were written."""
    files = [*sorted(folder.glob("events-*.jsonl")), folder / CURRENT]
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def test_events_are_appended_across_starts(tmp_path):
    written = [event(number) for number in range(4)]
    for two in (written[:2], written[2:]):
        output = EventFile(tmp_path / "new" / "events", EventFileSettings())
        for one in two:
            output.write(one)
        output.close()
    assert lines_of(tmp_path / "new" / "events") == [one.as_json() for one in written]


def test_full_files_are_closed_and_the_oldest_removed(tmp_path):
    size_mb = 2.5 * len(json.dumps(event().as_json())) / 1e6  # two events
    output = EventFile(tmp_path, EventFileSettings(rotate_mb=size_mb, keep_files=2))
    written = [event(number) for number in range(9)]
    for one in written:
        output.write(one)
    output.close()
    assert len(list(tmp_path.glob("events-*.jsonl"))) == 2
    assert lines_of(tmp_path) == [one.as_json() for one in written[4:]]


@pytest.mark.parametrize("clock", [[1.9e9, 1e9, 1e9, 1.1e9, 2e9, 0.0], [1e9] * 6, [6e9, 5e9, 4e9, 3e9, 2e9, 1e9]])
def test_closed_files_stay_in_order_and_none_is_overwritten_whatever_the_clock_does(tmp_path, monkeypatch, clock):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(clock.pop(0), tz)

    monkeypatch.setattr(json_lines, "datetime", Clock)
    (tmp_path / "events-of_another_line.jsonl").write_text("{}\n")
    (tmp_path / "events-20269999T000000.000000Z.jsonl").write_text("{}\n")
    output = EventFile(tmp_path, EventFileSettings(rotate_mb=1e-6, keep_files=4))  # an event a file
    written = [event(number) for number in range(7)]
    for one in written:
        output.write(one)
    output.close()
    files = [*closed_files(tmp_path), tmp_path / CURRENT]
    assert [json.loads(path.read_text()) for path in files] == [one.as_json() for one in written[-5:]]
    assert last_event(tmp_path) == written[-1].as_json()
    assert len(list(tmp_path.iterdir())) == 5 + 2  # what is nobody's stays


@given(cut=st.integers(1, 400))
def test_a_torn_last_line_is_removed_and_nothing_else(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("torn")
    output = EventFile(folder, EventFileSettings())
    written = [event(number) for number in range(3)]
    for one in written:
        output.write(one)
    output.close()
    content = (folder / CURRENT).read_bytes()
    (folder / CURRENT).write_bytes(content[:-cut])
    whole = content[:-cut].count(b"\n")
    output = EventFile(folder, EventFileSettings())
    output.write(event(9))
    output.close()
    assert [one["start_s"] for one in lines_of(folder)] == [float(number) for number in range(whole)] + [9.0]


def test_a_torn_line_longer_than_a_block_is_found(tmp_path):
    (tmp_path / CURRENT).write_bytes(b'{"a": 1}\n' + b"x" * 10_000)
    EventFile(tmp_path, EventFileSettings()).close()
    assert (tmp_path / CURRENT).read_bytes() == b'{"a": 1}\n'


def test_the_last_event_is_also_found_in_a_closed_file(tmp_path):
    assert last_event(tmp_path) is None
    first = event()
    output = EventFile(tmp_path, EventFileSettings())
    output.write(first)
    output.close()
    (tmp_path / CURRENT).rename(tmp_path / "events-20260101T000000.000000Z.jsonl")
    (tmp_path / CURRENT).write_bytes(b'{"torn')
    assert last_event(tmp_path) == first.as_json()


@pytest.mark.parametrize("line", [b"\0\0\0", b"[]", b"{}", b'"text"', b"\xff", b'{"event_id": 1, "end_utc": "now"}'])
def test_a_line_that_is_no_event_does_not_keep_a_station_from_starting(tmp_path, caplog, line):
    output = EventFile(tmp_path, EventFileSettings())
    output.write(event(1))
    output.close()
    expected = last_event(tmp_path)
    with (tmp_path / CURRENT).open("ab") as stream:
        stream.write(line + b"\n")
    assert expected is not None
    assert last_event(tmp_path) == expected
    assert "expected an event in each line" in caplog.text


def test_the_outbox_keeps_order_and_forgets_only_what_is_removed(tmp_path):
    outbox = Outbox(tmp_path / "waiting.sqlite")
    assert outbox.last_added() is None
    for number in range(5):
        outbox.add(f"id{number}", str(number).encode())
    first = outbox.after(0, 2)
    assert [payload for _, payload in first] == [b"0", b"1"]
    outbox.remove(first[0][0])
    outbox.close()
    again = Outbox(tmp_path / "waiting.sqlite")
    assert [payload for _, payload in again.after(0, 9)] == [b"1", b"2", b"3", b"4"]
    assert (len(again), again.last_added()) == (4, "id4")
    again.remove(again.after(0, 9)[-1][0])
    again.add("id5", b"5")  # a number is not given twice, or an acknowledgement could remove another's message
    assert [payload for _, payload in again.after(first[1][0], 9)] == [b"2", b"3", b"5"]
    again.close()


def test_an_outbox_that_is_none_is_refused(tmp_path):
    (tmp_path / "waiting.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match=r"waiting.sqlite: expected the events that wait"):
        Outbox(tmp_path / "waiting.sqlite")


KILLED = """
import sys
from pathlib import Path
from lineact.runtime.outputs.json_lines import EventFile
from lineact.runtime.outputs.outbox import Outbox
from lineact.runtime.settings import EventFileSettings
from tests.station import event
folder = Path(sys.argv[1])
file, outbox = EventFile(folder, EventFileSettings()), Outbox(folder / "waiting.sqlite")
number = 0
while True:
    one = event(number)
    file.write(one)
    outbox.add(one.event_id, one.event_id.encode())
    print(one.event_id, flush=True)
    number += 1
"""


def test_kill_9_loses_no_event_that_was_reported(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    told += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.wait()
    EventFile(tmp_path, EventFileSettings()).close()
    on_disk = [one["event_id"] for one in lines_of(tmp_path)]
    outbox = Outbox(tmp_path / "waiting.sqlite")
    waiting = [payload.decode() for _, payload in outbox.after(0, 10**6)]
    assert on_disk[: len(told)] == told
    assert waiting[: len(told)] == told
    # at most the one event being written is on disk and not in the outbox
    assert len(on_disk) - len(waiting) in (0, 1)
    outbox.close()


@pytest.mark.parametrize(
    ("payload", "product"),
    [(b"P-17", "P-17"), (b" P-17\n", "P-17"), (b'{"product": "7", "order": 3}', "7"), (b"", ""), ("Ü1".encode(), "Ü1")],
)
def test_products_are_text_or_in_an_object(payload, product):
    assert product_of(payload) == product


@pytest.mark.parametrize("payload", [b"\xff\xfe", b'{"product": 7}', b'{"order": 3}', b"{", b"x" * 201])
def test_other_messages_are_no_products(payload):
    with pytest.raises(ValueError, match=r"."):
        product_of(payload)


def test_a_product_holds_from_when_it_was_told():
    products = Products()
    products.tell("A", 10.0)
    products.tell("B", 20.0)
    products.tell("", 30.0)
    assert [products.at(at_s) for at_s in (9.9, 10.0, 19.9, 25.0, 31.0)] == ["", "A", "A", "B", ""]


def test_topics_have_no_levels_but_the_pattern_s():
    assert topic_of("plant/{line}/{camera}", ORIGIN._replace(camera="top/left #1+")) == "plant/press_a/top_left_1_"
    with pytest.raises(ConfigError, match=r"mqtt.topic: expected no fields but \{line\} and \{camera\}"):
        topic_of("{station}", ORIGIN)


@pytest.mark.parametrize("pattern", ["", "plant/+/events", "plant/#", "a\0b", "{line.nothing}"])
def test_a_topic_that_no_broker_takes_is_refused_at_the_start(pattern):
    with pytest.raises(ConfigError, match=r"mqtt.topic: expected"):
        topic_of(pattern, ORIGIN)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (MqttSettings("broker", port=0), "mqtt.port: expected a port from 1 to 65535, found 0"),
        (MqttSettings("broker", port=70000), "mqtt.port"),
        (MqttSettings("broker", product_topic="plant/#/product"), "mqtt.product_topic: expected a topic"),
        (MqttSettings("broker", product_topic="plant/a+"), "mqtt.product_topic: expected a topic"),
    ],
)
def test_settings_that_would_end_the_sending_unseen_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        refuse(settings)


@pytest.mark.parametrize("topic", ["product", "plant/+/product", "plant/#", "#", "+", "/a//b"])
def test_topics_that_brokers_take_are_taken(topic):
    refuse(MqttSettings("broker", product_topic=topic))


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_port_that_is_none_is_named(port):
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be opened .*choose another port"):
        LiveView(ViewSettings(port=port), ORIGIN, LABELS, SourceCounts())
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be opened .*choose another port"):
        MetricsOutput(MetricsSettings(port=port), ORIGIN, SourceCounts(), lambda: 0)


def asked(url: str) -> str:
    return httpx.get(url, timeout=60).raise_for_status().text


def test_prometheus_is_told_what_happened():
    counts = SourceCounts(handed_on=3, dropped=2, reconnects=1, behind_s=0.25)
    output = MetricsOutput(MetricsSettings(), ORIGIN, counts, lambda: 5)
    for pts_s in (0.0, 0.1):
        output.see(result_at(pts_s, hand("pick"), hand("NG", hand_id=2)))
    output.see(result_at(0.2)._replace(looked=False, done_s=0.2 + 0.3))
    output.write(event(action="pick"))
    told = asked(f"http://127.0.0.1:{output.port}/metrics").splitlines()
    output.close()
    for line in (
        "lineact_frames_total 3.0",
        "lineact_detector_calls_total 2.0",
        "lineact_classified_crops_total 4.0",
        'lineact_hands_total{action="NG"} 2.0',
        'lineact_events_total{action="pick"} 1.0',
        'lineact_latency_seconds_bucket{le="0.03"} 2.0',
        'lineact_latency_seconds_bucket{le="0.5"} 3.0',
        "lineact_frames_per_second 0.3",
        "lineact_ng_ratio 0.5",
        "lineact_source_dropped_total 2.0",
        "lineact_source_reconnects_total 1.0",
        "lineact_source_behind_seconds 0.25",
        "lineact_mqtt_waiting 5.0",
        'lineact_model_info{bundle="0123456789ab",camera="top",line="press_a"} 1.0',
    ):
        assert line in told


def view_of(counts: SourceCounts | None = None) -> LiveView:
    return LiveView(ViewSettings(fps=50), ORIGIN, LABELS, counts or SourceCounts())


def test_the_view_tells_the_newest_frame():
    view = view_of(SourceCounts(handed_on=7, dropped=1))
    assert json.loads(asked(view.url + "state.json"))["hands"] == []
    view.see(result_at(1.5, hand("pick", 0.8), number=3))
    view.write(event())
    said = json.loads(asked(view.url + "state.json"))
    view.close()
    assert (said["line"], said["camera"], said["bundle"]) == tuple(ORIGIN)
    assert (said["media_s"], said["frames"], said["dropped"]) == (1.5, 7, 1)
    assert said["latency_ms"] == {"p50": 20.0, "p95": 20.0, "p99": 20.0}
    (shown,) = said["hands"]
    assert shown["top"] == [["pick", 0.8], ["NG", 0.2]]
    assert said["events"][0]["action"] == "pick"


def test_the_view_sends_pictures():
    import cv2

    view = view_of()
    connection = http.client.HTTPConnection("127.0.0.1", int(view.url.rsplit(":", 1)[1].rstrip("/")), timeout=60)
    connection.request("GET", "/frames.mjpg")
    reply = connection.getresponse()
    assert reply.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=lineact-frame"
    for number in (1, 2):
        picture = np.full((90, 160, 3), (200, 30, 30), np.uint8)
        view.see(result_at(0.1)._replace(frame=frame_at(0.1, number, picture)))
        assert reply.readline() == b"--lineact-frame\r\n"
        headings = dict(reply.readline().decode().strip().split(": ") for _ in range(2))
        reply.readline()
        jpeg = reply.read(int(headings["Content-Length"]) + 2)[:-2]
        shown_bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert shown_bgr is not None
        assert shown_bgr.shape == (90, 160, 3)
        assert np.allclose(shown_bgr[20, 80], (30, 30, 200), atol=12)
    connection.close()
    view.close()


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/", "127.0.0.1", 200),
        ("/view.js", "localhost", 200),
        ("/", "evil.example", 421),
        ("/../station.py", "localhost", 404),
    ],
)
def test_the_view_answers_its_own_pages_to_this_machine_alone(path, host, status):
    view = view_of()
    connection = http.client.HTTPConnection("127.0.0.1", int(view.url.rsplit(":", 1)[1].rstrip("/")), timeout=60)
    connection.request("GET", path, headers={"Host": host})
    reply = connection.getresponse()
    view.close()
    assert reply.status == status
    if status == 200:
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert reply.read()


@pytest.mark.parametrize(
    "make",
    [
        lambda port: LiveView(ViewSettings(port=port), ORIGIN, LABELS, SourceCounts()),
        lambda port: MetricsOutput(MetricsSettings(port=port), ORIGIN, SourceCounts(), lambda: 0),
    ],
)
def test_a_port_in_use_is_named(make):
    view = view_of()
    port = int(view.url.rsplit(":", 1)[1].rstrip("/"))
    with pytest.raises(ConfigError, match=rf"127.0.0.1:{port} cannot be opened .*choose another port"):
        make(port)
    view.close()


def test_boxes_are_drawn_where_the_hands_are():
    picture = np.zeros((360, 640, 3), np.uint8)
    seen = result_at(0.0, hand("pick")._replace(box_xyxy_px=(100.0, 120.0, 300.0, 280.0)))
    drawn = Overlay(320, LABELS).draw(seen._replace(frame=frame_at(0.0, 0, picture)))
    assert drawn.shape == (180, 320, 3)
    assert drawn[140, 100].any()  # the lower edge
    assert not drawn[100, 100].any()  # inside
    assert not drawn[100, 200].any()  # outside


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_annotated_video_keeps_frames_and_times(tmp_path, suffix):
    path = tmp_path / "new" / f"annotated{suffix}"
    output = AnnotatedVideo(path, LABELS, lossless=True)
    times_s = [3.0, 3.1, 3.25, 4.0]
    for number, pts_s in enumerate(times_s):
        height = 180 if number < 2 else 120  # the camera's picture changes its size meanwhile
        picture = np.full((height, 320, 3), 60 * number, np.uint8)
        output.see(result_at(pts_s)._replace(frame=frame_at(pts_s, number, picture)))
    assert not path.exists()
    output.close()
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.1, 0.25, 1.0], abs=2e-3)
    assert {(frame.width, frame.height) for frame in frames} == {(320, 180)}
    assert [path.name for path in path.parent.iterdir()] == [path.name]


def test_what_must_not_be_recognised_is_blurred_in_the_annotated_video(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (180, 320, 3), dtype=np.uint8)
    privacy = PrivacySettings(blur_regions=((0.0, 0.0, 0.5, 1.0),))
    output = AnnotatedVideo(tmp_path / "a.mkv", LABELS, lossless=True, privacy=privacy)
    output.see(result_at(0.0)._replace(frame=frame_at(0.0, 0, noise)))
    output.close()
    with av.open(str(tmp_path / "a.mkv"), "r") as container:
        grey = next(container.decode(video=0)).to_ndarray(format="gray").astype(float)[:140]
    assert grey[:, :150].std() < 0.5 * grey[:, 170:].std()


def test_an_annotated_video_of_nothing_is_none(tmp_path):
    AnnotatedVideo(tmp_path / "a.mkv", LABELS, lossless=True).close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=r"expected a file ending in .mkv or .mp4, found '.gif'"):
        AnnotatedVideo(tmp_path / "a.gif", LABELS, lossless=True)


def test_an_encoder_that_fails_at_the_very_end_is_told(tmp_path, monkeypatch):
    encode_all = AnnotatedVideo._encode_all

    def failing(self) -> None:
        encode_all(self)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(AnnotatedVideo, "_encode_all", failing)
    output = AnnotatedVideo(tmp_path / "a.mkv", LABELS, lossless=True)
    output.see(result_at(0.0))
    with pytest.raises(FullDiskError):
        close_in_time(output)


NOBODY = MqttSettings(host="127.0.0.1", port=1)


def waiting_in(path: Path) -> list[str]:
    outbox = Outbox(path)
    found = [json.loads(payload)["event_id"] for _, payload in outbox.after(0, 10**6)]
    outbox.close()
    return found


def test_events_that_the_outbox_lacks_are_found_at_the_next_start(tmp_path):
    """A kill between the event file and the outbox, or an outbox that failed for long."""
    size_mb = 2.5 * len(json.dumps(event().as_json())) / 1e6  # two events a file
    output = EventFile(tmp_path, EventFileSettings(rotate_mb=size_mb))
    written = [event(number) for number in range(7)]
    for one in written:
        output.write(one)
    output.close()
    ids = [one.event_id for one in written]
    for known in range(7):
        assert [one["event_id"] for one in events_after(tmp_path, ids[known])] == ids[known + 1 :]
    for nobody in (None, "0" * 32):
        assert [one["event_id"] for one in events_after(tmp_path, nobody)] == ids[-1:]
    outbox = Outbox(tmp_path / "waiting.sqlite")
    outbox.add(ids[2], json.dumps(written[2].as_json()).encode())
    for _ in range(2):  # and only once
        mqtt = MqttOutput(NOBODY, ORIGIN, outbox, Products(), events_after(tmp_path, outbox.last_added()))
        assert mqtt.waiting == 5
        mqtt.close()
        outbox = Outbox(tmp_path / "waiting.sqlite")
    outbox.close()
    assert waiting_in(tmp_path / "waiting.sqlite") == ids[2:]


def test_an_outbox_that_another_process_holds_is_told_once_and_gets_all_in_their_order_later(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("lineact.runtime.outputs.outbox.BUSY_S", 0.05)
    monkeypatch.setattr("lineact.runtime.outputs.mqtt.RETRY_S", 0.05)
    path = tmp_path / "waiting.sqlite"
    output = MqttOutput(NOBODY, ORIGIN, Outbox(path), Products(), [])
    written = [event(number) for number in range(6)]
    output.write(written[0])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for one in written[1:4]:
        output.write(one)
    wait_for(lambda: "another process writes there" in caplog.text)
    assert output.waiting == 4
    other.execute("ROLLBACK")
    other.close()
    wait_for(lambda: not output._late)
    for one in written[4:]:
        output.write(one)
    close_in_time(output)
    assert caplog.text.count("another process writes there") == 1
    assert waiting_in(path) == [one.event_id for one in written]


def test_an_outbox_that_breaks_costs_no_event(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("lineact.runtime.outputs.mqtt.RETRY_S", 0.05)
    folder, path = tmp_path / "events", tmp_path / "events" / "waiting.sqlite"
    file = EventFile(folder, EventFileSettings())
    output = MqttOutput(NOBODY, ORIGIN, Outbox(path), Products(), [])
    written = [event(number) for number in range(4)]
    for number, one in enumerate(written):
        if number == 2:  # as of a worn-out card
            output._outbox._database.execute("DROP TABLE waiting")
        file.write(one)
        output.write(one)
        assert output.waiting == number + 1
    close_in_time(output)
    file.close()
    assert caplog.text.count("move it away") == 1
    assert "4 events still wait for the broker" in caplog.text
    outbox = Outbox(path)
    assert [one["event_id"] for one in events_after(folder, outbox.last_added())] == [
        one.event_id for one in written[2:]
    ]
    outbox.close()


def test_an_outbox_that_fails_for_ever_ends_the_station_before_its_memory_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr("lineact.runtime.outputs.mqtt.MOST_LATE", 3)
    monkeypatch.setattr("lineact.runtime.outputs.mqtt.RETRY_S", 0.05)
    output = MqttOutput(NOBODY, ORIGIN, Outbox(tmp_path / "waiting.sqlite"), Products(), [])
    output._outbox._database.execute("DROP TABLE waiting")
    for number in range(3):
        output.write(event(number))
    with pytest.raises(InputError, match="move it away"):
        output.write(event(3))
    close_in_time(output)


def test_an_outbox_in_use_or_out_of_reach_is_told_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr("lineact.runtime.outputs.outbox.BUSY_S", 0.05)
    path = tmp_path / "waiting.sqlite"
    Outbox(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BusyError, match=r"waiting.sqlite: another process writes there \(database is locked\)"):
        Outbox(path)
    other.close()
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(InputError, match=r"folder.sqlite: cannot be read and written \(unable to open database file\)"):
        Outbox(tmp_path / "folder.sqlite")
