"""Ingest: times from the container, sifting with reasons, and every kind of bad file."""

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineact import ingest as ingest_module
from lineact.errors import InputError
from lineact.ingest import IngestParams, count_metrics, ingest_videos
from lineact.schema import FRAMES, VIDEOS, read_table
from lineact.sift import Scored, changed_share, mark_still, sift
from lineact.video import find_videos, read_frames, videos_by_sha256
from tasks.ingest import ingest
from tests.generated_videos import passing_hand, scene, with_arm, write_sound, write_video

PARAMS = IngestParams(
    label_fps=5.0,
    changed_by=12.0,
    min_motion=0.002,
    still_after_s=0.5,
    still_every_s=3.0,
    min_sharpness_share=0.25,
    duplicate_share=0.001,
    duplicate_memory=8,
    max_bad_share=0.2,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def moving_pictures(count: int) -> list[np.ndarray]:
    return [with_arm(scene(), (40 + 6 * index, 90)) for index in range(count)]


def scored(pts_s: float, motion: float, *, index: int = 0, sharpness: float = 100.0, level: int = 0) -> Scored:
    # Without the gradient a uniform shift would be taken for a change of light.
    thumb = np.zeros((4, 8), np.uint8)
    thumb[:, :2] = level
    return Scored(index, pts_s, (320, 180), sharpness, motion, thumb)


def test_times_of_a_variable_frame_rate_come_from_the_container(tmp_path):
    times_s = [0.0, 0.04, 0.08, 0.5, 1.7, 1.75, 3.0]
    write_video(tmp_path / "raw" / "vfr.mkv", moving_pictures(7), times_s)
    ingested = ingest_videos(tmp_path / "raw", PARAMS)
    np.testing.assert_allclose(ingested.frames["pts_s"].to_numpy(), times_s, atol=1e-9)
    assert ingested.frames["index"].to_pylist() == list(range(7))
    assert ingested.problems == []
    video = ingested.videos.to_pylist()[0]
    assert video["frame_count"] == 7
    assert video["duration_s"] == pytest.approx(3.0, abs=0.5)
    assert video["fps"] == pytest.approx(7 / video["duration_s"])
    assert video["start_s"] == 0.0
    # At most five a second: 0.04 and 0.08 come too soon after 0.0, 1.75 too soon after 1.7.
    kept = [row["pts_s"] for row in ingested.frames.to_pylist() if row["kept"]]
    assert kept == pytest.approx([0.0, 0.5, 1.7, 3.0])


def test_wanted_times_return_just_those_frames(tmp_path):
    path = write_video(tmp_path / "a.mp4", moving_pictures(20))
    frames = list(read_frames(path, [1.5, 0.3, 0.3]))
    assert [frame.index for frame in frames] == [3, 15]
    assert [frame.pts_s for frame in frames] == pytest.approx([0.3, 1.5])
    np.testing.assert_array_equal(frames[0].image_rgb, list(read_frames(path))[3].image_rgb)


@pytest.mark.parametrize("time_s", [0.35, 99.0])
def test_a_time_without_a_frame_is_an_error(tmp_path, time_s):
    path = write_video(tmp_path / "a.mp4", moving_pictures(10))
    with pytest.raises(InputError, match="expected a frame at"):
        list(read_frames(path, [time_s]))


def test_reasons_of_a_scene_that_moves_in_the_middle(tmp_path):
    pictures, at_work = passing_hand(seconds=12.0)
    write_video(tmp_path / "raw" / "a.mp4", pictures)
    frames = ingest_videos(tmp_path / "raw", replace(PARAMS, still_after_s=1.0)).frames.to_pylist()
    assert [row["kept"] for row in frames] == [row["reason"] == "kept" for row in frames]
    still = [row for row in frames if row["reason"] == "still"]
    assert all(row["pts_s"] < 4.0 or row["pts_s"] > 8.0 for row in still)
    assert len(still) > 60
    # Pictures without a hand are kept before and after the movement, hands in between.
    kept_s = [row["pts_s"] for row in frames if row["kept"]]
    assert any(time_s < 4 for time_s in kept_s)
    assert any(time_s > 8 for time_s in kept_s)
    assert sum(4.8 <= time_s <= 7.2 for time_s in kept_s) >= 3
    # While the hand rests, its pictures repeat the first of them.
    resting = [row for row in frames if row["index"] in at_work and row["reason"] == "duplicate"]
    assert resting
    assert all(frames[row["duplicate_of"]]["kept"] and row["duplicate_of"] < row["index"] for row in resting)


@pytest.mark.parametrize(
    ("rows", "reasons"),
    [
        pytest.param([(0, 0.1, 100, 0), (0.1, 0.1, 100, 50)], ["kept", "sampled_out"], id="rate"),
        pytest.param([(0, 0.1, 100, 0), (0.2, 0.1, 100, 0)], ["kept", "duplicate"], id="repeats"),
        pytest.param([(0, 0.1, 100, 0), (0.2, 0.1, 100, 50)], ["kept", "kept"], id="differs"),
        pytest.param([(0, 0.1, 99, 0), (0.2, 0.1, 9, 50), (0.3, 0.1, 90, 50)], ["kept", "blurred", "kept"], id="blur"),
        pytest.param([(0, 0, 99, 0), (0.4, 0, 99, 0), (1, 0.1, 99, 50)], ["kept", "still", "kept"], id="still"),
        pytest.param([(0, 0, 99, 0), (0.6, 0, 99, 0), (1, 0.1, 99, 50)], ["kept", "duplicate", "kept"], id="soon"),
        pytest.param([(0, 0, 99, 0), (1, 0, 99, 0), (3, 0, 99, 0)], ["kept", "still", "kept"], id="empties"),
    ],
)
def test_sifting_rules(rows, reasons):
    frames = [
        scored(pts_s, motion, index=index, sharpness=sharpness, level=level)
        for index, (pts_s, motion, sharpness, level) in enumerate(rows)
    ]
    assert [row["reason"] for row in sift(frames, PARAMS)] == reasons


def test_stillness_looks_both_ways_and_keeps_the_order():
    moves = {10, 11, 30}
    frames = [scored(index / 10, 0.1 if index in moves else 0.0, index=index) for index in range(50)]
    marked = list(mark_still(iter(frames), PARAMS))
    assert [frame.index for frame, _ in marked] == list(range(50))
    expected = {index for index in range(50) if all(abs(index - move) > 5 for move in moves)}
    assert {frame.index for frame, still in marked if still} == expected


def test_stillness_holds_no_more_than_its_window():
    held = 0
    worst = 0

    def counted():
        nonlocal held
        for index in range(2000):
            held += 1
            yield scored(index / 10, 0.0, index=index)

    for _ in mark_still(counted(), PARAMS):
        worst = max(worst, held)
        held -= 1
    assert worst <= PARAMS.still_after_s * 10 + 2


def test_a_common_shift_of_light_is_no_movement():
    picture = scene()[..., 0]
    assert changed_share(picture, picture + 40, 12.0) == 0.0
    moved = with_arm(scene(), (100, 90))[..., 0]
    assert changed_share(picture, moved, 12.0) == pytest.approx(changed_share(picture, moved + 20, 12.0), abs=0.002)
    assert changed_share(picture, moved, 12.0) > 0.02


def bad_file(kind: str, path: Path) -> None:
    if kind == "text":
        path.write_text("this is no video\n" * 100)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "sound":
        write_sound(path)
    elif kind == "smaller than a patch":
        write_video(path, [np.zeros((12, 320, 3), np.uint8)] * 5)
    elif kind == "truncated_mp4":  # an MP4's index lies at its end: without it nothing decodes
        whole = write_video(path.with_name("whole.mp4"), moving_pictures(30))
        path.write_bytes(whole.read_bytes()[:-2000])
        whole.unlink()


@pytest.mark.parametrize("kind", ["text", "empty", "sound", "truncated_mp4", "smaller than a patch"])
def test_a_bad_file_is_named_and_left_out(tmp_path, kind):
    raw = tmp_path / "raw"
    for index in range(5):
        write_video(raw / f"good_{index}.mp4", [with_arm(scene(index), (30 + 9 * step, 90)) for step in range(5)])
    bad_file(kind, raw / "bad.mp4")
    ingest(PARAMS, raw=raw, out=tmp_path / "out")
    problems = list(csv.DictReader((tmp_path / "out" / "problems.csv").open()))
    assert [(row["name"], row["kind"]) for row in problems] == [("bad.mp4", "unreadable")]
    assert "bad.mp4" in problems[0]["found"]
    names = read_table(tmp_path / "out" / "videos.parquet", VIDEOS)["name"].to_pylist()
    assert names == [f"good_{index}.mp4" for index in range(5)]
    with pytest.raises(InputError, match=r"ingest\.max_bad_share.*found 1 of 6(.|\n)*bad\.mp4"):
        ingest(replace(PARAMS, max_bad_share=0.1), raw=raw, out=tmp_path / "out")


def test_recordings_of_pictures_smaller_than_a_patch_end_the_stage_before_any_is_decoded(tmp_path, monkeypatch):
    write_video(tmp_path / "raw" / "a.mp4", [np.zeros((12, 14, 3), np.uint8)] * 5)
    monkeypatch.setattr("lineact.video._whole_frames", None)
    with pytest.raises(InputError, match=r"a\.mp4: expected frames of at least 16 x 16 pixels, found 14 x 12; replace"):
        ingest(PARAMS, raw=tmp_path / "raw", out=tmp_path / "out")


def test_nothing_left_is_an_error_whatever_the_share(tmp_path):
    (tmp_path / "raw").mkdir()
    bad_file("text", tmp_path / "raw" / "bad.mp4")
    with pytest.raises(InputError, match="found 1 of 1"):
        ingest_videos(tmp_path / "raw", replace(PARAMS, max_bad_share=1.0))


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match="expected at least one video"):
        ingest_videos(tmp_path / "raw", PARAMS)


def test_frames_before_a_break_are_used(tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 255, (180, 320, 3), dtype=np.uint8) for _ in range(40)]
    whole = write_video(tmp_path / "whole.avi", noisy, codec="mpeg4")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    ingested = ingest_videos(tmp_path / "raw", PARAMS)
    assert [problem.kind for problem in ingested.problems] == ["broken_frames", "broken_off"]
    assert 10 <= ingested.frames.num_rows < 40
    # What the table names can be read back, though the file ends badly.
    kept_s = ingested.frames.filter(ingested.frames["kept"])["pts_s"].to_pylist()
    assert len(list(read_frames(tmp_path / "raw" / "cut.avi", kept_s))) == len(kept_s)


@pytest.mark.parametrize("damage", ["header", "content"])
def test_a_broken_frame_costs_itself_alone(tmp_path, damage):
    """A camera's network drops a packet: the frames before and after it are used, whatever is asked of the file."""
    import av

    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 255, (180, 320, 3), dtype=np.uint8) for _ in range(40)]
    path = write_video(tmp_path / "raw" / "a.mp4", noisy, codec="mpeg4")
    with av.open(str(path)) as container:
        place, size = [(packet.pos or 0, packet.size) for packet in container.demux(video=0)][20]
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[place : place + size] = b"\xff" * size
    else:
        content[place + size // 2 : place + size] = bytes(size - size // 2)
    path.write_bytes(content)

    ingested = ingest_videos(tmp_path / "raw", PARAMS)
    assert [problem.kind for problem in ingested.problems] == ["broken_frames"]
    found = re.fullmatch(r"1 frames do not decode, the first near (\d+\.\d) s", ingested.problems[0].found)
    assert found is not None
    assert float(found[1]) == pytest.approx(2.0, abs=1.0)  # 10 frames a second
    assert ingested.frames.num_rows == 39
    assert count_metrics(ingested)["files_broken_frames"] == 1
    times_s = ingested.frames["pts_s"].to_pylist()
    assert [frame.pts_s for frame in read_frames(path, times_s[15:25])] == times_s[15:25]


def test_a_copy_is_used_once_and_named(tmp_path):
    raw = tmp_path / "raw"
    first = write_video(raw / "b.mp4", moving_pictures(5))
    shutil.copy(first, raw / "c.mp4")
    (raw / "notes.txt").write_text("bench 3")
    (raw / ".gitignore").write_text("*.mp4")
    ingested = ingest_videos(raw, PARAMS)
    assert ingested.videos["name"].to_pylist() == ["b.mp4"]
    assert {(problem.name, problem.kind) for problem in ingested.problems} == {
        ("c.mp4", "copy"),
        ("notes.txt", "other_suffix"),
    }
    assert list(videos_by_sha256(raw).values()) == [first]


def test_a_second_run_decodes_nothing_and_writes_the_same_bytes(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    for index in range(2):
        write_video(raw / f"{index}.mp4", [with_arm(scene(index), (30 + 9 * step, 90)) for step in range(5)])
    read: list[str] = []
    original = ingest_module.read_frames

    def counted(path, **options):
        read.append(path.name)
        return original(path, **options)

    monkeypatch.setattr(ingest_module, "read_frames", counted)
    ingest(PARAMS, raw=raw, out=tmp_path / "first")
    assert read == ["0.mp4", "1.mp4"]
    (raw / "1.mp4").rename(raw / "renamed.mp4")
    ingest(PARAMS, raw=raw, out=tmp_path / "second")
    assert read == ["0.mp4", "1.mp4"]
    frames = [(tmp_path / out / "frames.parquet").read_bytes() for out in ("first", "second")]
    assert frames[0] == frames[1]
    videos = read_table(tmp_path / "second" / "videos.parquet", VIDEOS)
    assert videos["name"].to_pylist() == ["0.mp4", "renamed.mp4"]
    assert read_table(tmp_path / "second" / "frames.parquet", FRAMES).num_rows == 10


def test_a_single_file_will_do(tmp_path):
    path = write_video(tmp_path / "a.webm", moving_pictures(5), codec="libvpx")
    assert find_videos(path) == [path]
    assert ingest_videos(path, PARAMS).videos["name"].to_pylist() == ["a.webm"]


@pytest.mark.parametrize(
    ("name", "value"), [("label_fps", 0.0), ("min_motion", 1.5), ("still_after_s", -1.0), ("duplicate_memory", -1)]
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=name):
        replace(PARAMS, **{name: value})


def test_a_container_may_start_at_any_time(tmp_path):
    times_s = [3600.0 + index / 10 for index in range(20)]
    write_video(tmp_path / "raw" / "a.mkv", [scene(index) for index in range(20)], times_s)
    video = ingest_videos(tmp_path / "raw", PARAMS).videos.to_pylist()[0]
    assert video["start_s"] == pytest.approx(3600.0)
    assert video["duration_s"] == pytest.approx(2.0)
