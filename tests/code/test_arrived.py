"""Which of a station's videos a look by itself takes."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.drift.arrived import REACH, SETTLED, arrived_since
from lineact.errors import InputError

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def write(folder: Path, name: str, *, hours_ago: float) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"video")
    written_s = (NOW - timedelta(hours=hours_ago)).timestamp()
    os.utime(path, (written_s, written_s))
    return path


def names_of(folder: Path, since: datetime | None = None, now: datetime = NOW) -> list[str]:
    return [one.path.name for one in arrived_since(folder, since, now)]


def test_what_came_since_is_taken_the_oldest_first(tmp_path):
    for name, hours_ago in (("z.mkv", 3), ("day/a.mp4", 2), ("b.mkv", 1), ("b.txt", 1)):
        write(tmp_path, name, hours_ago=hours_ago)
    assert names_of(tmp_path) == ["z.mkv", "a.mp4", "b.mkv"]
    last = arrived_since(tmp_path, None, NOW)[0].at
    assert last == NOW - timedelta(hours=3)
    assert names_of(tmp_path, last) == ["a.mp4", "b.mkv"]
    assert names_of(tmp_path, NOW) == []


def test_a_file_that_may_still_grow_or_is_of_the_future_is_left_for_later(tmp_path):
    write(tmp_path, "done.mkv", hours_ago=0.1)
    write(tmp_path, "growing.mkv", hours_ago=0.001)
    write(tmp_path, "clock_was_set.mkv", hours_ago=-5)
    assert names_of(tmp_path) == ["done.mkv"]
    assert names_of(tmp_path, now=NOW + SETTLED) == ["done.mkv", "growing.mkv"]


def test_of_many_days_the_newest_is_taken_whenever_that_was(tmp_path):
    for hours_ago in (300, 125, 124, 101, 100):
        write(tmp_path, f"{hours_ago}.mkv", hours_ago=hours_ago)
    assert names_of(tmp_path) == ["101.mkv", "100.mkv"]  # 124 is a whole day before the last one
    assert names_of(tmp_path, now=NOW - timedelta(hours=100)) == ["124.mkv", "101.mkv"]  # the last was just written


def test_an_empty_folder_is_no_error_and_a_missing_one_is(tmp_path):
    assert names_of(tmp_path) == []
    with pytest.raises(InputError, match="gone: expected the folder of what the station keeps, found nothing there"):
        names_of(tmp_path / "gone")


def test_a_file_that_the_station_removes_meanwhile_is_none(tmp_path, monkeypatch):
    kept = write(tmp_path, "kept.mkv", hours_ago=1)
    monkeypatch.setattr("lineact.drift.arrived.find_videos", lambda _: [tmp_path / "removed.mkv", kept])
    assert names_of(tmp_path) == ["kept.mkv"]


@given(st.lists(st.integers(0, 48 * 60), min_size=1, max_size=12), st.lists(st.integers(0, 600), max_size=4))
def test_looks_that_follow_each_other_see_each_file_once(minutes, steps):
    """As long as no day passes between two of them."""
    with TemporaryDirectory() as folder:
        for number, minute in enumerate(minutes):
            write(Path(folder), f"{number}.mkv", hours_ago=-minute / 60)
        now, since, seen = NOW, NOW - REACH, []
        for step in [*steps, *[600] * 6]:
            now += timedelta(minutes=step)
            found = arrived_since(Path(folder), since, now)
            seen += [one.path.name for one in found]
            since = found[-1].at if found else since
    assert sorted(seen) == sorted(f"{number}.mkv" for number in range(len(minutes)))
