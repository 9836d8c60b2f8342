"""Labelled pictures become a line's data set: what names tell, who measures, what is left out, what is refused."""

import csv
import json
import shutil
from contextlib import nullcontext

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.errors import InputError
from lineact.foundation.yolov5 import import_ultralytics
from lineact.import_crops import classes_in, import_crops
from lineact.import_yolo import import_yolo
from lineact.imported.names import Place, places_of
from lineact.imported.reading import decode_picture
from lineact.imported.yolo import inner_name, label_file, read_yolo_set
from lineact.png import decode_png, encode_png
from lineact.schema import LABELLED_CROPS, read_table
from lineact.train_detector import check_detection_set, labelled_boxes
from lineact.training.crops import load_splits
from tests.labelled_pictures import (
    ACTIONS,
    crops_params,
    draw,
    split_params,
    write_class_folders,
    write_picture,
    write_yolo_folder,
    yolo_params,
)


@pytest.fixture
def run(tmp_path):
    """Imports a folder; gives the rows of both tables, and the metrics."""

    def run(body, params, raw):
        body(params, raw, tmp_path / "dataset", tmp_path / "out")
        tables = [tmp_path / "dataset" / name for name in ("crops.parquet", "holdout_crops.parquet")]
        rows = [row for table in tables for row in read_table(table, LABELLED_CROPS).to_pylist()]
        return rows, json.loads((tmp_path / "out" / "metrics.json").read_text())

    return run


def problems_in(folder):
    with (folder / "out" / "problems.csv").open() as stream:
        return {row["name"]: row["found"] for row in csv.DictReader(stream)}


@pytest.mark.parametrize(
    ("names", "told", "places"),
    [
        ([f"IMG_{n}.JPG" for n in range(4039, 4045)], True, {"IMG_4040.JPG": Place("IMG_", 4040)}),
        ([f"2_pic{n:05d}.jpg" for n in range(5)], True, {"2_pic00003.jpg": Place("2_pic", 3)}),
        ([f"a/{n}.png" for n in range(5)] + [f"b/{n}.png" for n in range(5)], True, {"b/4.png": Place("b/", 4)}),
        # hashes, which may end in a digit, and names without a number: one recording, in natural order
        (["a9f3c2.png", "b77e1.png", "c0.png", "d4.png", "e5.png"], False, {"b77e1.png": Place("", 1)}),
        (["x2y.png", "x10y.png", "x1y.png"], False, {"x10y.png": Place("", 2), "x2y.png": Place("", 1)}),
        ([], True, {}),
    ],
)
def test_file_names_tell_recording_and_number(names, told, places):
    found = places_of(names)
    assert found.told is told
    assert places.items() <= found.of.items()
    assert set(found.of) == set(names)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1), unique=True))
def test_every_name_has_one_place(names):
    found = places_of(names)
    assert set(found.of) == set(names)
    if not found.told:
        assert sorted(place.number for place in found.of.values()) == list(range(len(names)))


def test_class_folders_are_split_by_blocks_of_file_numbers(run, tmp_path):
    raw = write_class_folders(tmp_path / "raw")
    (raw / "LICENSE").write_text("no picture")
    (raw / "open" / "notes.txt").write_text("no picture")
    rows, metrics = run(import_crops, crops_params(), raw)
    assert metrics["crops_train"] + metrics["crops_val"] + metrics["crops_holdout"] + metrics["pictures_guard"] == 80
    assert all(metrics[f"crops_{part}_{action}"] for part in ("train", "val", "holdout") for action in ACTIONS)
    numbers = {part: [row["pts_s"] for row in rows if row["split"] == part] for part in ("train", "val", "holdout")}
    for part, others in (("val", numbers["train"]), ("holdout", numbers["train"] + numbers["val"])):
        assert min(abs(one - other) for one in numbers[part] for other in others) >= 2
        assert {number // 10 for number in numbers[part]}.isdisjoint({number // 10 for number in others})
    by_name = {row["box_id"]: row for row in rows}
    row = by_name[next(name for name in by_name if name.startswith("closed/"))]
    assert row["action"] == "closed"
    assert len({row["video_sha256"] for row in rows}) == 1
    number = int(row["pts_s"])
    crop = decode_png(row["crop_png"])
    square = np.pad(draw(number), ((5, 5), (0, 0), (0, 0)), "edge")
    assert np.array_equal(crop, cv2.resize(square, (32, 32), interpolation=cv2.INTER_AREA))


def test_the_classifiers_read_what_is_imported(run, tmp_path):
    _, metrics = run(import_crops, crops_params(), write_class_folders(tmp_path / "raw"))
    train, val = load_splits(tmp_path / "dataset" / "crops.parquet", (*ACTIONS, "NG"), 24, 0.5)
    assert (len(train), len(val)) == (metrics["crops_train"], metrics["crops_val"])


def test_the_same_pictures_give_the_same_bytes(tmp_path):
    raw = write_class_folders(tmp_path / "raw")
    for name in ("one", "two"):
        import_crops(crops_params(), raw, tmp_path / name, tmp_path / f"{name}_out")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["crops.parquet", "holdout_crops.parquet"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_parts_that_the_folders_name_stay(run, tmp_path):
    for number in range(12):
        part = ("train", "valid", "test")[number // 4]
        write_picture(tmp_path / "raw" / part / ACTIONS[number % 2] / f"{'xyz'[number // 4]}{number}.png", number)
    rows, metrics = run(import_crops, crops_params(), tmp_path / "raw")
    assert {row["box_id"].split("/")[0]: row["split"] for row in rows} == {
        "train": "train",
        "valid": "val",
        "test": "holdout",
    }
    assert metrics["pictures_guard"] == 0
    assert classes_in(tmp_path / "raw") == ["closed", "open"]


@pytest.mark.parametrize(("size_wh", "is_usable"), [((16, 16), True), ((15, 40), False), ((1, 1), False)])
def test_a_picture_smaller_than_a_patch_is_named(tmp_path, size_wh, is_usable):
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(np.zeros((size_wh[1], size_wh[0], 3), np.uint8)))
    expected = nullcontext() if is_usable else pytest.raises(ValueError, match="of at least 16 x 16 pixels, found")
    with expected:
        assert decode_picture(path).shape == (size_wh[1], size_wh[0], 3)


def test_a_broken_picture_is_told_with_ultralytics_imported_too(tmp_path):
    """ultralytics puts an opener of its own in the place of Pillow's."""
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture")
    import_ultralytics()
    with pytest.raises(ValueError, match="expected a picture, found something that cannot be decoded"):
        decode_picture(path)


def test_broken_pictures_are_named_counted_and_left_out(run, tmp_path):
    raw = write_class_folders(tmp_path / "raw")
    (raw / "open" / "img_0002.png").write_bytes(b"\x89PNG broken")
    (raw / "open" / "img_0004.png").write_bytes(b"")
    cut = cv2.imencode(".jpg", draw(6))[1].tobytes()[:-20]
    (raw / "open" / "img_0006.png").unlink()
    (raw / "open" / "img_0006.jpg").write_bytes(cut)
    rows, metrics = run(import_crops, crops_params(), raw)
    assert metrics["pictures_bad"] == 3
    assert set(problems_in(tmp_path)) == {"open/img_0002.png", "open/img_0004.png", "open/img_0006.jpg"}
    assert not {row["box_id"] for row in rows} & set(problems_in(tmp_path))
    with pytest.raises(InputError, match=r"3 of 80 pictures cannot be used.*open/img_0002\.png.*max_bad_share"):
        run(import_crops, crops_params(max_bad_share=0.02), raw)


def test_copies_are_left_out_and_contradictions_are_problems(run, tmp_path):
    raw = write_class_folders(tmp_path / "raw")
    shutil.copyfile(raw / "open" / "img_0000.png", raw / "open" / "img_0078.png")
    shutil.copyfile(raw / "open" / "img_0010.png", raw / "closed" / "img_0011.png")
    rows, metrics = run(import_crops, crops_params(), raw)
    assert (metrics["pictures_repeated"], metrics["pictures_bad"]) == (1, 2)
    found = problems_in(tmp_path)
    assert "a copy of another" in found["open/img_0078.png"]
    assert "open/img_0010.png, with other labels" in found["closed/img_0011.png"]
    assert not {row["box_id"] for row in rows} & set(found)


def test_a_copy_that_was_encoded_again_leaks_between_parts(run, tmp_path):
    raw = write_class_folders(tmp_path / "raw")
    rows, _ = run(import_crops, crops_params(), raw)
    of_part = {row["split"]: row["box_id"] for row in rows if row["action"] == "open"}
    copied = raw / of_part["train"]
    copied.unlink()
    image_rgb = decode_png((raw / of_part["holdout"]).read_bytes())
    copied.write_bytes(encode_png(cv2.resize(image_rgb, (80, 60), interpolation=cv2.INTER_CUBIC)))
    with pytest.raises(InputError, match=f"leak: {of_part['train']} and {of_part['holdout']} show the same"):
        run(import_crops, crops_params(), raw)


@pytest.mark.parametrize(
    ("actions", "params", "named"),
    [
        (("open", "closed", "other"), {}, "folder other is none of the actions open, closed"),
        (("open",), {"actions": ("open",)}, "at least two classes, found only open"),
        (("open", "closed"), {"actions": (*ACTIONS, "third")}, "labels of all actions, found none of third"),
        (
            ("open", "closed"),
            {"split": split_params(by="recording")},
            "at least two recordings to split off 25%, found 1",
        ),
        (
            ("open", "closed"),
            {"split": split_params(block=1000)},
            "at least two blocks of 1000 file numbers .* found 1",
        ),
    ],
)
def test_folders_that_cannot_be_used_are_told_why(actions, params, named, run, tmp_path):
    raw = write_class_folders(tmp_path / "raw", actions=actions)
    with pytest.raises(InputError, match=named):
        run(import_crops, crops_params(**params), raw)


def test_an_empty_folder_is_refused(run, tmp_path):
    (tmp_path / "raw" / "open").mkdir(parents=True)
    with pytest.raises(InputError, match="a folder with pictures for each class, found none"):
        run(import_crops, crops_params(), tmp_path / "raw")


def test_a_yolo_folder_gives_crops_and_a_detection_set(run, tmp_path):
    raw = write_yolo_folder(tmp_path / "raw")
    rows, metrics = run(import_yolo, yolo_params(), raw)
    assert {row["box_id"].split("_")[0] for row in rows if row["split"] == "holdout"} == {"images/d"}
    validating = {row["box_id"].split("_")[0] for row in rows if row["split"] == "val"}
    assert len(validating) == 1  # whole recordings validate
    assert metrics["recordings"] == 4
    assert metrics["crops_holdout"] == 7
    assert metrics["pictures_holdout"] == 8  # one without a hand
    row = next(row for row in rows if row["box_id"] == "images/d_001.png")
    assert (row["action"], row["pts_s"]) == ("closed", 1.0)
    assert np.allclose([row["x1"], row["y1"], row["x2"], row["y2"]], [12, 6, 28, 24])
    images = check_detection_set(tmp_path / "dataset" / "detection")
    assert [len(images["train"]), len(images["val"])] == [16, 8]
    boxes = {path.name[:5]: labelled_boxes(path, (40, 30)) for path in images["train"] + images["val"]}
    assert np.allclose(boxes["a_001"], [[12, 6, 28, 24]], atol=1e-3)
    assert len(boxes["a_007"]) == 0
    load_splits(tmp_path / "dataset" / "crops.parquet", (*ACTIONS, "NG"), 24, 0.5)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ("0 0.5 0.5 0.4\n", "a_000.txt: line 1: expected class and 4 shares"),
        ("7 0.5 0.5 0.4 0.6\n", "expected a class of data.yaml, found 7"),
        ("0 1.5 0.5 0.4 0.6\n", "expected boxes on the picture"),
        ("0 0.5 0.5 0 0.6\n", "width and height above 0"),
        ("zero\n", "expected numbers"),
        (None, "expected labels in a_000.txt, found no file"),
    ],
)
def test_broken_labels_are_problems(labels, found, run, tmp_path):
    raw = write_yolo_folder(tmp_path / "raw")
    path = raw / "labels" / "a_000.txt"
    path.unlink() if labels is None else path.write_text(labels)
    _, metrics = run(import_yolo, yolo_params(), raw)
    assert metrics["pictures_bad"] == 1
    assert found in problems_in(tmp_path)["images/a_000.png"]


def test_pictures_that_a_list_names_and_nobody_has_are_problems(run, tmp_path):
    raw = write_yolo_folder(tmp_path / "raw")
    (raw / "images" / "a_000.png").unlink()
    _, metrics = run(import_yolo, yolo_params(), raw)
    assert metrics["pictures_bad"] == 1
    assert "No such file" in problems_in(tmp_path)["images/a_000.png"]


def move_to_test(raw, name):
    for path, edit in ((raw / "train.txt", lambda t: t.replace(f"{name}\n", "")), (raw / "test.txt", lambda t: t)):
        path.write_text(edit(path.read_text()))
    with (raw / "test.txt").open("a") as stream:
        stream.write(f"{name}\n")


def test_lists_that_share_a_recording_leak_and_the_nearest_pair_is_named(run, tmp_path):
    raw = write_yolo_folder(tmp_path / "raw")
    move_to_test(raw, "images/b_003.png")
    with pytest.raises(
        InputError, match=r"holdout leak: images/b_00[24]\.png .* and images/b_003\.png .* 1 file numbers"
    ):
        run(import_yolo, yolo_params(split_params(by="name_block", guard=3)), raw)


def test_lists_that_share_a_picture_are_refused(run, tmp_path):
    raw = write_yolo_folder(tmp_path / "raw")
    shutil.copyfile(raw / "images" / "a_000.png", raw / "images" / "d_005.png")
    with pytest.raises(
        InputError, match=r"train and holdout leak: images/a_000\.png and images/d_005\.png are the same"
    ):
        run(import_yolo, yolo_params(), raw)
    with (raw / "test.txt").open("a") as stream:
        stream.write("images/a_001.png\n")
    with pytest.raises(InputError, match=r"images/a_001\.png is in the lists of train and holdout"):
        run(import_yolo, yolo_params(), raw)


def test_where_nothing_is_listed_whole_recordings_measure_and_validate(run, tmp_path):
    raw = write_yolo_folder(tmp_path / "raw", recordings="abcdef")
    (raw / "data.yaml").write_text("names: {0: open, 1: closed}\n")
    rows, metrics = run(import_yolo, yolo_params(), raw)
    recordings: dict[str, set[str]] = {}
    for row in rows:
        recordings.setdefault(row["box_id"][7], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in recordings.values())
    assert metrics["pictures_guard"] == 0
    assert metrics["crops_holdout"]
    assert metrics["crops_val"]


def test_a_class_that_is_no_action_is_refused(run, tmp_path):
    raw = write_yolo_folder(tmp_path / "raw")
    (raw / "data.yaml").write_text("train: train.txt\nnames: [open, shut]\n")
    with pytest.raises(InputError, match="class shut is none of the actions open, closed"):
        run(import_yolo, yolo_params(), raw)


def test_yolo_folders_of_several_layouts_are_read(tmp_path):
    for part in ("train", "valid", "test"):
        write_picture(tmp_path / "images" / part / "a_1.png", 1)
    text = "path: ../coco8\ntrain: images/train\nval: [images/valid]\ntest: images/test\nnames: [open]\n"
    (tmp_path / "data.yaml").write_text(text)
    found = read_yolo_set(tmp_path)
    assert found.base == tmp_path  # `path` is of its author's machine
    assert dict(found.pictures) == {
        "images/train/a_1.png": "train",
        "images/valid/a_1.png": "val",
        "images/test/a_1.png": "holdout",
    }
    assert {inner_name(name) for name, _ in found.pictures} == {"a_1.png"}
    assert label_file("images/train/a_1.png") == "labels/train/a_1.txt"
    assert label_file("obj/a_1.png") == "obj/a_1.txt"
    assert read_yolo_set(tmp_path, names=["open"]).pictures[0][1] is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("train: nowhere.txt\nnames: [open]\n", "train: expected a folder or a text file, found nothing at"),
        ("train: 3\nnames: [open]\n", "train: expected a folder or a text file, found 3"),
        ("train: list.txt\nnames: [open]\n", "expected pictures below"),
        ("train: train.txt\n", "expected `names`"),
        ("names: [open]\n", "expected pictures, found none"),
        (None, "found no such file; DATA_YAML="),
    ],
)
def test_a_yolo_folder_that_cannot_be_read_is_told_why(text, named, tmp_path):
    (tmp_path / "list.txt").write_text("/elsewhere/a.png\n")
    (tmp_path / "train.txt").write_text("images/a.png\n")
    if text is not None:
        (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=named):
        read_yolo_set(tmp_path)
