"""The shift report: from a station's events and from localised segments to one page with clips."""

import errno
import html
import io
import json
import os
import re
import shutil
import time
from datetime import UTC, datetime
from html.parser import HTMLParser

import av
import numpy as np
import pytest

from lineact.bundle.work import WorkSettings, WorkStep
from lineact.errors import InputError
from lineact.runtime.events import Event
from lineact.runtime.outputs import kept_video
from lineact.runtime.outputs.json_lines import EventFile
from lineact.runtime.outputs.kept_video import KeptVideo
from lineact.runtime.settings import EventFileSettings, KeptVideoSettings, PrivacySettings
from lineact.runtime.shift import clips
from lineact.runtime.shift.__main__ import main, report
from lineact.runtime.shift.clips import Clip, Video, clip_of, videos_of
from lineact.runtime.shift.figures import figures_of
from lineact.runtime.shift.reading import Act, Recording, read_recordings, with_work
from lineact.runtime.work.events import Reported
from lineact.runtime.work.replay import replay
from lineact.temporal.activitynet import write_predictions
from lineact.temporal.segments import segments_of
from tests.station import ORIGIN, close_in_time, frame_at, numbered_video, result_at
from tests.station_services import wait_for

BEGIN_UTC_S = 1_700_000_000.0
WORK = WorkSettings(tuple(WorkStep(action, 1.0, 4.0) for action in "ABC"), takt_s=10.0, idle_s=5.0)
SETTINGS = """
[work]
takt_s = 10.0
idle_s = 5.0
[[work.steps]]
action = "A"
min_s = 1.0
max_s = 4.0
[[work.steps]]
action = "B"
[[work.steps]]
action = "C"
"""


def shift_of(actions: str) -> list[Event]:
    """Steps of 2 s, every 3 s; a blank is nothing for 6 s more; n is NG."""
    events, at_s = [], 1.0
    for action in actions:
        if action == " ":
            at_s += 6
            continue
        name = "NG" if action == "n" else action
        events.append(
            Event(*ORIGIN[:2], name, at_s, at_s + 2, BEGIN_UTC_S + at_s, 0.9, 1, ORIGIN.bundle, "P<1>")
        )  # fmt: skip
        at_s += 3
    return events


@pytest.fixture
def events(tmp_path):
    """A station's folder: a missing step, a wrong order, idle time; the last line is torn."""
    done = shift_of("ABCACABC ACBABCn")
    said: list[Reported] = [*done, *replay(done, WORK, ORIGIN)]
    file = EventFile(tmp_path / "events", EventFileSettings(rotate_mb=0.002))
    for one in said:
        file.write(one)
    file.close()
    with (tmp_path / "events" / "events.jsonl").open("ab") as stream:
        stream.write(b'{"version": 2, "torn')
    assert len(list((tmp_path / "events").glob("*.jsonl"))) > 2
    return tmp_path / "events"


class Page(HTMLParser):
    """What a page shows, as rows of its tables, and what it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: dict[str, list[dict]] = {}
        self._open: list[str] = []
        self.feed(text)
        assert self._open == [], "tags that are not closed"

    def handle_starttag(self, tag, attributes):
        self.tags.setdefault(tag, []).append(dict(attributes))
        if tag not in ("meta",):
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.setdefault(tag, []).append(dict(attributes))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def written(tmp_path, *more: str) -> tuple[str, Page]:
    out = tmp_path / "shift.html"
    assert main(["--events", str(tmp_path / "events"), "--out", str(out), *more]) == 0
    return out.read_text(), Page(out.read_text())


@pytest.mark.usefixtures("events")
def test_a_station_s_events_become_a_page(tmp_path):
    text, page = written(tmp_path)
    found = [(row[2], row[3], row[5]) for row in page.rows if len(row) == 7 and row[0] != "no."]
    assert found == [
        ("missing step", "B is missing", "P<1>"),
        ("idle", "no step for 7 s", ""),
        ("wrong order", "B came after C; expected before", "P<1>"),
    ]
    counts = {row[0]: row[1] for row in page.rows if len(row) == 5 and row[0] != "action"}
    assert counts == {"A": "5", "C": "5", "B": "4", "NG": "1"}
    assert "P<1>" not in text  # what comes from outside is escaped
    assert "script" not in page.tags
    assert not re.findall(r"https?://", text)
    assert not re.findall(r"\b(worker|hand)\b", re.sub(r"<style>.*?</style>", "", text))  # nobody is scored
    links = {one["href"] for one in page.tags["a"]}
    assert links == {f"#d{number}" for number in (1, 2, 3)}
    assert {one["id"] for one in page.tags["tr"] if "id" in one} == {link[1:] for link in links}


@pytest.mark.usefixtures("events")
def test_the_standard_of_the_settings_goes_before_what_was_told(tmp_path):
    (tmp_path / "settings.toml").write_text(SETTINGS.replace("max_s = 4.0", "max_s = 1.5"))
    _, page = written(tmp_path, "--settings", str(tmp_path / "settings.toml"))
    kinds = [row[2] for row in page.rows if len(row) == 7]
    assert kinds.count("step too long") == 5
    assert kinds.count("missing step") == 1


def test_a_part_of_the_time_can_be_asked_for(events, tmp_path):
    begin = datetime.fromtimestamp(BEGIN_UTC_S + 15, UTC).isoformat()
    end = datetime.fromtimestamp(BEGIN_UTC_S + 27, UTC).isoformat()
    _, page = written(tmp_path, "--from", begin, "--to", end)
    assert {row[0]: row[1] for row in page.rows if len(row) == 5}.keys() == {"action", "A", "B", "C"}
    assert main(["--events", str(events), "--from", "2030-01-01", "--out", str(tmp_path / "none.html")]) == 3
    assert not (tmp_path / "none.html").exists()


@pytest.mark.parametrize("name", ["segments.json", "segments.csv", ""])
def test_localised_segments_become_a_page(tmp_path, name):
    folder = tmp_path / "events"
    folder.mkdir()
    rows = [("rec_1.mp4", one.start_s, one.end_s, one.action, 0.9) for one in shift_of("ABCACABC")]
    write_predictions(folder / "segments.json", segments_of(rows))
    lines = ["video,start_s,end_s,action,score"]
    lines += [",".join(map(str, row)) for row in rows]
    (folder / "segments.csv").write_text("\n".join([*lines, ""]))
    (tmp_path / "settings.toml").write_text(SETTINGS)
    numbered_video(tmp_path / "rec_1.mp4", 300, fps=10.0)
    out = tmp_path / "page.html"
    asked = ["--events", str(folder / name), "--settings", str(tmp_path / "settings.toml")]
    assert main([*asked, "--video", str(tmp_path / "rec_1.mp4"), "--out", str(out)]) == 0
    page = Page(out.read_text())
    assert [row[1:4] for row in page.rows if len(row) == 6 and row[0] != "no."] == [
        ["0:10.0", "missing step", "B is missing"]
    ]
    assert len(page.tags["video"]) == 1


def greys_of(clip: Clip) -> list[float]:
    """Mean brightness of its frames."""
    with av.open(io.BytesIO(clip.mp4), "r") as container:
        return [float(frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]


def test_clips_show_the_time_of_their_deviation_and_can_be_left_out(events, tmp_path):
    """Each frame is brighter than the one before, so a clip tells which seconds it shows."""
    video = numbered_video(tmp_path / "top.mp4", 500, fps=10.0)
    (recording,) = with_work(read_recordings(events), WORK)
    videos = videos_of(video)
    missing = next(one for one in recording.findings if one.kind == "missing_step")
    assert (missing.media_s, missing.end_s - missing.start_s) == (10.0, 5.0)
    clip = clip_of(missing, recording, videos)
    assert clip is not None
    greys = greys_of(clip)
    shown_s = [(grey - 20) / (235 - 20) * 49.9 for grey in (greys[0], greys[-1])]
    assert shown_s == pytest.approx([8.5, 16.4], abs=0.4)
    _, page = written(tmp_path, "--video", str(video), "--clips", "2")
    assert len(page.tags["video"]) == 2
    assert "1 further deviations have no clip here" in (tmp_path / "shift.html").read_text()
    _, page = written(tmp_path, "--video", str(video), "--clips", "0")
    assert "video" not in page.tags


def test_a_station_keeps_a_bounded_video_from_which_clips_are_cut(events, tmp_path):
    folder = tmp_path / "events" / "video"
    kept = KeptVideo(folder, KeptVideoSettings(hours=1.0, fps=10.0, long_side_px=64), PrivacySettings())
    for index in range(450):
        grey = np.full((36, 64, 3), index // 2, np.uint8)
        frame = frame_at(index / 10, index, grey)._replace(utc_s=BEGIN_UTC_S + index / 10)
        while kept._waiting.full():
            pass
        kept.see(result_at(0.0)._replace(frame=frame))
    kept.close()
    (recording,) = with_work(read_recordings(events), WORK)
    recording.name = "camera"  # a live one: its video is found by the time of day
    (video,) = videos_of(folder)
    assert video.start_utc_s == pytest.approx(BEGIN_UTC_S)
    wrong = next(one for one in recording.findings if one.kind == "wrong_order")
    clip = clip_of(wrong, recording, [video])
    assert clip is not None
    assert greys_of(clip)[0] * 2 / 10 == pytest.approx(wrong.start_s - BEGIN_UTC_S - 1.5, abs=0.6)
    later = wrong._replace(start_s=wrong.start_s + 3600)
    assert clip_of(later, recording, [video]) is None


def test_a_kept_file_that_goes_meanwhile_costs_its_clip_alone(events, tmp_path, caplog, monkeypatch):
    folder = tmp_path / "videos"
    folder.mkdir()
    gone, stays = (numbered_video(folder / name) for name in ("a.mp4", "b.mp4"))
    monkeypatch.setattr(clips, "find_videos", lambda _: [gone, stays])
    (recording, *_) = with_work(read_recordings(events), WORK)
    finding = recording.findings[0]
    assert clip_of(finding, recording, [Video(tmp_path / f"{recording.name}.mp4", 0.0, 0.0, 9.0)]) is None
    gone.unlink()
    assert [video.path for video in videos_of(folder)] == [stays]
    assert caplog.text.count("a.mp4") == 1


def test_a_single_act_without_length_becomes_a_page():
    recording = Recording("rec_00.mp4", "", is_utc=False, acts=[Act("A", 1.0, 1.0, 1.0, 0, "")])
    assert "rec_00.mp4" in report([recording], None, [], 0)


def test_the_kept_video_stays_within_its_bounds(tmp_path):
    kept = KeptVideo(
        tmp_path, KeptVideoSettings(hours=0.05, fps=1.0, long_side_px=64), PrivacySettings()
    )  # three files
    for index in range(6):
        frame = frame_at(100.0 * index, index)._replace(utc_s=BEGIN_UTC_S + 100 * index)
        while kept._waiting.full():
            pass
        kept.see(result_at(0.0)._replace(frame=frame))
    kept.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert len(videos_of(tmp_path)) == 3


def kept_hours_ago(folder, *hours_ago):
    """Files of video, written so long ago, one of them by a clock that ran ahead."""
    folder.mkdir(exist_ok=True)
    for hours in hours_ago:
        path = folder / f"20260101T{10_000 + hours:06d}.000000Z.mkv"
        path.write_bytes(b"video")
        os.utime(path, (time.time() - 3600 * hours,) * 2)


@pytest.mark.parametrize(("hours", "stay"), [(2.0, 3), (0.0, 4)])
def test_kept_video_goes_when_its_time_is_over_also_where_no_frame_comes(tmp_path, monkeypatch, hours, stay):
    monkeypatch.setattr(kept_video, "LOOK_EVERY_S", 0.02)
    kept_hours_ago(tmp_path, 30, 3, 1, 0, -9000)  # nothing is to be kept: after a day
    kept = KeptVideo(tmp_path, KeptVideoSettings(hours=hours), PrivacySettings())
    wait_for(lambda: len(list(tmp_path.iterdir())) == stay)
    kept_hours_ago(tmp_path, 25)
    wait_for(lambda: len(list(tmp_path.iterdir())) == stay)
    if not hours:
        kept.see(result_at(0.0))
    close_in_time(kept)
    assert len(list(tmp_path.iterdir())) == stay
    assert all(path.stat().st_mtime <= time.time() for path in tmp_path.iterdir())


def test_video_of_the_same_time_again_replaces_none(tmp_path):
    for _ in range(2):
        kept = KeptVideo(tmp_path, KeptVideoSettings(hours=1.0), PrivacySettings())
        kept.see(result_at(0.0))
        kept.close()
    assert len(videos_of(tmp_path)) == 2


@pytest.mark.parametrize("free_bytes", [1 << 60, None])
def test_where_no_video_can_be_kept_the_station_goes_on(tmp_path, monkeypatch, caplog, free_bytes):
    if free_bytes:
        monkeypatch.setattr(kept_video, "LEAST_FREE_BYTES", free_bytes)
    kept = KeptVideo(tmp_path / "video", KeptVideoSettings(hours=1.0), PrivacySettings())
    if not free_bytes:
        shutil.rmtree(tmp_path / "video")
    for index in range(40):
        kept.see(result_at(float(index), number=index))
    kept.close()
    assert caplog.text.count("no video is kept any more") == 1


def test_a_disk_that_gets_full_with_the_last_kept_frame_does_not_hold_up_the_end(tmp_path, monkeypatch, caplog):
    def failing(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(KeptVideo, "_remove_old", failing)
    kept = KeptVideo(tmp_path / "video", KeptVideoSettings(hours=1.0), PrivacySettings())
    kept.see(result_at(0.0))
    close_in_time(kept)
    assert caplog.text.count("no video is kept any more") == 1


def test_what_must_not_be_recognised_is_blurred_in_the_kept_video(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (36, 64, 3), dtype=np.uint8)
    kept = KeptVideo(tmp_path, KeptVideoSettings(hours=1.0), PrivacySettings(blur_regions=((0.0, 0.0, 0.5, 1.0),)))
    kept.see(result_at(0.0)._replace(frame=frame_at(0.0, 0, noise)))
    kept.close()
    (path,) = tmp_path.iterdir()
    with av.open(str(path), "r") as container:
        grey = next(container.decode(video=0)).to_ndarray(format="gray").astype(float)
    assert grey[:, :28].std() < 0.5 * grey[:, 36:].std()


def test_a_clock_that_is_set_begins_another_kept_file(tmp_path):
    kept = KeptVideo(tmp_path, KeptVideoSettings(hours=1.0, fps=1.0, long_side_px=64), PrivacySettings())
    for index, utc_s in enumerate((0.0, 1.0, 3600.0, 3601.0, 100.0, 101.0)):
        frame = frame_at(float(index), index)._replace(utc_s=BEGIN_UTC_S + utc_s)
        while kept._waiting.full():
            pass
        kept.see(result_at(0.0)._replace(frame=frame))
    kept.close()
    assert [video.start_utc_s - BEGIN_UTC_S for video in videos_of(tmp_path)] == pytest.approx([0.0, 100.0, 3600.0])


def test_figures():
    done = (("A", 0.0, 2.0), ("NG", 1.0, 4.0), ("A", 10.0, 14.0))
    recording = Recording("top", "press_a", False, [Act(*one, one[1], 1, "") for one in done])
    figures = figures_of(recording, 5.0)
    assert (figures.seconds, figures.work_s, figures.irrelevant_s) == (14.0, 6.0, 2.0)
    assert figures.idle == ((2.0, 10.0),)
    assert figures.counts[0][:4] == ("A", 2, 3.0, pytest.approx(3.8))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("events.jsonl", "no json\n", "line 1: expected JSON"),
        ("events.jsonl", '{"version": 3}\n', "line 1: expected version 2 or older; update lineact"),
        ("events.jsonl", '{"version": 2, "line": "a"}\n', "line 1: expected an event, found one that is not whole"),
        ("segments.json", '{"results": {"a": [{"label": "A"}]}}', "segments.json: expected segments"),
        ("segments.json", '{"results": {"a": [{"label": "A", "segment": [3, 2]}]}}', "expected 0 <= start < end"),
        ("segments.csv", "a,b\n", "segments.csv: expected the columns video, start_s, end_s, action, score"),
        ("segments.csv", "video,start_s,end_s,action,score\na,b,c,d,e\n", "line 2: expected numbers"),
        ("other.txt", "", "expected events.jsonl or segments.json, found neither"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, text, words, capsys):
    (tmp_path / name).write_text(text)
    assert main(["--events", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 3
    assert words in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_standard_that_nobody_gave_is_told(tmp_path, events, capsys):
    (tmp_path / "settings.toml").write_text("[source]\nrepeat = true\n")
    assert main(["--events", str(events), "--settings", str(tmp_path / "settings.toml"), "--out", "x.html"]) == 2
    assert "expected the standard work, found none" in capsys.readouterr().err


def test_events_of_before_work_are_read(tmp_path):
    said = shift_of("AB")[0].as_json() | {"version": 1}
    said.pop("kind")
    (tmp_path / "events.jsonl").write_text(json.dumps(said) + "\n")
    (recording,) = read_recordings(tmp_path)
    assert [act.action for act in recording.acts] == ["A"]
    with pytest.raises(InputError, match="nowhere: expected events or segments"):
        read_recordings(tmp_path / "nowhere")


def test_html_in_names_is_text(tmp_path):
    (tmp_path / "events").mkdir()
    said = shift_of("A")[0].as_json() | {"action": "<b>&", "camera": "<i>", "line": '"><script>'}
    (tmp_path / "events" / "events.jsonl").write_text(json.dumps(said) + "\n")
    text, page = written(tmp_path)
    assert html.escape("<b>&") in text
    assert "script" not in page.tags
    assert "i" not in page.tags
