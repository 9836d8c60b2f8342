"""A long queue: its pages, in the order in which a person should see them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineact.review.generated import AUDITS, GROUPS, crop_row, write_generated_line
from lineact.review.pictures import Crops, Kept
from lineact.review.queue_index import FIRST_ITEMS, QueueIndex
from lineact.schema import EMBEDDED, PICTURES_PER_ROW_GROUP, QUEUE, read_table
from tests.generated_videos import SIZE_WH, scene, write_video

CROPS = 600


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    write_generated_line(folder, CROPS)
    return folder


@pytest.fixture
def index(line):
    queue = read_table(line / "queue" / "queue.parquet", QUEUE).sort_by("priority")
    return QueueIndex(queue, np.full(queue.num_rows, np.nan))


def test_every_generated_crop_has_an_id_of_its_own():
    assert len({crop_row(number)["box_id"] for number in range(100_000)}) == 100_000


def test_each_item_is_in_one_set_and_crops_go_by_the_names_of_their_groups(index):
    names = {f"group:{group}": ("take", "NG", "mixed")[group % 3] for group in range(GROUPS - 1)}
    sets = {one.name: one.rows for one in index.sets(["take", "screw", "NG"], names)}
    assert list(sets) == ["group", "crop/take", "crop/NG", "crop/", "audit"]
    assert sorted(np.concatenate(list(sets.values()))) == list(range(CROPS + GROUPS + AUDITS))
    for name, suggested in (("crop/take", "take"), ("crop/NG", "NG")):
        assert {names.get(item["suggested"]) for item in index.items(sets[name])} == {suggested}


def test_the_most_doubtful_come_first_then_all_stretches_of_time_in_turn(index):
    (crops,) = (one for one in index.sets([], {}) if one.name == "crop/")
    items = index.items(crops.rows)
    priorities = [item["priority"] for item in items]
    assert priorities[:FIRST_ITEMS] == sorted(priorities)[:FIRST_ITEMS]
    stretches = [int(item["pts_s"] // 60) for item in items[FIRST_ITEMS:]]
    later = stretches[: len(set(stretches)) - 1]
    assert len(set(later)) == len(later)  # one of each before the second of any
    for stretch in set(stretches):
        own = [item["priority"] for item in items[FIRST_ITEMS:] if int(item["pts_s"] // 60) == stretch]
        assert own == sorted(own)


def test_crops_are_read_by_their_row_groups_each_once(line, monkeypatch):
    path = line / "embed" / "crops.parquet"
    table = read_table(path, EMBEDDED)
    ids = table["box_id"].to_pylist()
    crops = Crops(path, table["box_id"], pa.array(ids[::7]))
    assert crops._file.metadata.row_group(0).num_rows == PICTURES_PER_ROW_GROUP
    groups: list[int] = []
    read = pq.ParquetFile.read_row_group

    def counted(file, group, **rest):
        groups.append(group)
        return read(file, group, **rest)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    for rows in ((595, 0, 63), (0, 70, 126, 63)):
        found = crops.pngs([ids[row] for row in rows])
        assert found == {ids[row]: table["crop_png"][row].as_py() for row in rows}
    assert groups == [0, 9, 1]  # of 64 crops each; what is kept is not read again
    assert ids[1] not in crops


def test_pictures_are_kept_up_to_their_bytes_the_last_used_longest():
    kept = Kept(100)
    for name in ("a", "b", "c"):
        kept.put(name, bytes(40))
        kept.get("a")
    assert [kept.get(name) is not None for name in ("a", "b", "c")] == [True, False, True]
    kept.put("large", bytes(1000))
    assert kept.get("large") is not None
    assert kept.get("a") is None


def test_a_frame_is_found_without_a_timestamp_table_of_its_neighbours(tmp_path):
    from lineact.review.pictures import frame_at, frames_between
    from lineact.video import read_frames

    pictures = [np.roll(scene(), 9 * number, axis=1) for number in range(40)]
    path = write_video(tmp_path / "rec.mp4", pictures)
    every = list(read_frames(path))
    for frame in (every[0], every[17], every[39]):
        assert (frame_at(path, frame.pts_s).image_rgb == frame.image_rgb).all()
    near = list(frames_between(path, 1.0, 2.0))
    assert [round(frame.pts_s, 3) for frame in near] == [round(1 + step / 10, 3) for step in range(11)]
    assert near[0].image_rgb.shape == (SIZE_WH[1], SIZE_WH[0], 3)
