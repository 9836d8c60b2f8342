"""The formats of other labelling tools: what is written is read back, and wrong files are told where they are wrong."""

import json
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lineact.decisions import HandBox, text_of_boxes
from lineact.errors import InputError
from lineact.exchange import UNDECIDED, Heard, Picture
from lineact.exchange.coco import from_coco, read_coco, to_coco
from lineact.exchange.cvat import from_cvat, labels_json, to_cvat
from lineact.exchange.folders import WRITERS
from lineact.exchange.label_studio import (
    BOXES,
    CHOICE,
    from_label_studio,
    labelling_interface,
    predictions_of,
    task_of,
)
from lineact.exchange.names import Asked, asked_by, stem_of
from lineact.exchange.pictures import PictureSet
from lineact.exchange.yolo import boxes_of, label_text, read_yolo
from lineact.png import encode_png
from tests.generated_videos import scene

LABELS = ("screw", "wipe & <dry>", 'a "b"', "prüfen", "NG", UNDECIDED)
SIZE_WH = (320, 180)


@st.composite
def pictures(draw):
    """A picture with up to four boxes, its corners at hundredths of a pixel."""
    width, height = draw(st.tuples(st.integers(16, 4096), st.integers(16, 4096)))
    boxes = []
    for _ in range(draw(st.integers(0, 4))):
        left, right = sorted(draw(st.lists(st.integers(0, width * 100), min_size=2, max_size=2, unique=True)))
        top, bottom = sorted(draw(st.lists(st.integers(0, height * 100), min_size=2, max_size=2, unique=True)))
        box = (left / 100, top / 100, right / 100, bottom / 100)
        boxes.append(HandBox(box, draw(st.sampled_from(LABELS))))
    return Picture(f"{draw(st.text(string.ascii_lowercase, min_size=1))}.jpg", (width, height), tuple(boxes))


def same(read: Picture, written: Picture) -> bool:
    """Whether nothing differs but the last digits of the boxes."""
    if len(read.boxes) != len(written.boxes):
        return False
    near = all(
        a == pytest.approx(b, abs=1e-4) and x.action == y.action
        for x, y in zip(read.boxes, written.boxes, strict=True)
        for a, b in zip(x.box_xyxy_px, y.box_xyxy_px, strict=True)
    )
    return near and (read.name, read.size_wh_px, read.label) == (written.name, written.size_wh_px, written.label)


def annotated(picture: Picture, **changes) -> dict:
    """A task as Label Studio exports it, its prediction accepted by a person."""
    task = task_of(picture, b"picture")
    result = [region for prediction in task["predictions"] for region in prediction["result"]]
    annotation = {"id": 7, "result": result, "completed_by": 3, "lead_time": 4.5, "was_cancelled": False}
    annotation |= {"created_at": "2026-03-01T10:00:00.000000Z", "updated_at": "2026-03-01T12:00:00.250000+02:00"}
    return {"id": 1, "data": task["data"], "annotations": [annotation | changes]}


@given(st.lists(pictures(), max_size=3))
def test_coco_comes_back(written):
    content = json.loads(json.dumps(to_coco(written, LABELS)))
    read = [said.picture for said in from_coco(content, "file").said]
    assert len(read) == len(written)
    assert all(map(same, read, written))


@given(pictures())
def test_coco_measures_from_the_top_left_corner(picture):
    content = to_coco([picture], LABELS)
    assert [one["category_id"] for one in content["annotations"]] == [
        LABELS.index(box.action) + 1 for box in picture.boxes
    ]
    for annotation, box in zip(content["annotations"], picture.boxes, strict=True):
        x, y, width, height = annotation["bbox"]
        assert (x, y) == box.box_xyxy_px[:2]
        assert annotation["area"] == pytest.approx(width * height)


@given(pictures())
def test_yolo_comes_back(picture):
    text = label_text(picture, LABELS)
    assert same(
        Picture(picture.name, picture.size_wh_px, boxes_of(text, picture.size_wh_px, dict(enumerate(LABELS)))), picture
    )
    numbers = [float(word) for line in text.splitlines() for word in line.split()[1:]]
    assert all(0 <= number <= 1 for number in numbers)


def test_yolo_counts_centre_and_size_as_shares():
    picture = Picture("a.jpg", (200, 100), (HandBox((20, 10, 60, 60), "NG"),))
    assert label_text(picture, ["screw", "NG"]) == "1 0.200000000 0.350000000 0.200000000 0.500000000\n"


@given(st.lists(pictures(), min_size=1, max_size=3), st.sampled_from(["", "NG"]))
def test_cvat_comes_back(written, label):
    written = [Picture(one.name, one.size_wh_px, one.boxes, label) for one in written]
    read = [said.picture for said in from_cvat(to_cvat(written, LABELS), "file").said]
    assert len(read) == len(written)
    assert all(map(same, read, written))


@given(pictures())
def test_label_studio_comes_back(picture):
    (said,) = from_label_studio(json.loads(json.dumps([annotated(picture)])), "file").said
    assert same(said.picture, picture)
    assert (said.reviewer, said.said_at, said.seconds) == ("label studio user 3", "2026-03-01T10:00:00.250+00:00", 4.5)
    for prediction in predictions_of(picture):
        for region in prediction["result"]:
            assert (region["original_width"], region["original_height"]) == picture.size_wh_px
            assert 0 <= region["value"]["x"] + region["value"]["width"] <= 100.0001


@pytest.mark.parametrize(
    ("by", "changed_by", "reviewer"),
    [
        ({"id": 4, "email": "ada@plant"}, None, "ada@plant"),
        ({"id": 4, "email": "ada@plant"}, 4, "ada@plant"),
        ({"id": 4, "email": "ada@plant"}, 5, "label studio user 5"),
        ({"id": 4}, None, "label studio user 4"),
        (2, None, "label studio user 2"),
        (2, 3, "label studio user 3"),
        (None, None, ""),
    ],
)
def test_label_studio_tells_who(by, changed_by, reviewer):
    picture = Picture("a.png", (10, 10), label="NG")
    (said,) = from_label_studio([annotated(picture, completed_by=by, updated_by=changed_by)], "file").said
    assert (said.picture.label, said.reviewer) == ("NG", reviewer)


def test_label_studio_annotations_come_in_the_order_of_their_times():
    picture = Picture("a.png", (10, 10), label="NG")
    task = annotated(picture)
    task["annotations"].append(annotated(picture, completed_by=9, updated_at="2026-03-01T09:00:00Z")["annotations"][0])
    said = from_label_studio([task], "file").said
    assert [one.reviewer for one in said] == ["label studio user 9", "label studio user 3"]


def test_label_studio_tasks_without_an_annotation_wait():
    picture = Picture("a.png", (10, 10))
    untouched = {"id": 8, "data": task_of(picture, b"")["data"], "annotations": []}
    heard = from_label_studio([annotated(picture, was_cancelled=True), untouched], "file")
    assert heard == Heard((), ("task 1 (a.png): skipped", "task 8 (a.png): no annotation"))


@pytest.mark.parametrize("kind", [BOXES, CHOICE])
def test_the_labelling_interface_escapes_labels(kind):
    import xml.etree.ElementTree as ET

    view = ET.fromstring(labelling_interface(LABELS, kind))  # noqa: S314 - our own
    assert tuple(one.get("value") for one in view.iter("Label" if kind == BOXES else "Choice")) == LABELS
    assert [image.get("value") for image in view.iter("Image")] == ["$image"]


# names


box_ids = st.builds(
    lambda sha, micro, box, twins: f"{sha}@{micro / 1e6:.6f}#" + "-".join(map(str, box)) + "'" * twins,
    st.text("0123456789abcdef", min_size=12, max_size=12),
    st.integers(-10, 10**10),
    st.lists(st.integers(-5000, 5000), min_size=4, max_size=4),
    st.integers(0, 3),
)
bases = st.text("0123456789abcdef", min_size=16, max_size=16)


@given(
    st.one_of(
        st.builds(Asked, box_ids, st.sampled_from(["crop", "audit"]), bases),
        st.builds(Asked, box_ids.map(lambda one: f"frame:{one.partition('#')[0]}"), st.just("box"), bases),
        st.builds(Asked, st.integers(0, 999).map("group:{}".format), st.just("group"), bases),
    )
)
def test_a_picture_s_name_tells_its_item(asked):
    stem = stem_of(asked)
    assert asked_by(stem) == asked
    assert set(stem) <= set(string.ascii_letters + string.digits + "_-.")  # every file system and tool takes it


@given(st.text())
def test_other_names_tell_nothing(stem):
    assert asked_by(stem) is None


# what tools themselves read


def picture_set(name="frames", labels=("screw", "NG")) -> tuple[PictureSet, list[Picture]]:
    boxes = (
        (HandBox((10.0, 20.0, 60.5, 70.25), "screw"), HandBox((100, 20, 160, 70), "NG")),
        (),
        (HandBox((1, 2, 30, 40), "NG"),),
    )
    drawn = [
        Picture(f"p{number}.jpg", SIZE_WH, one, subset=subset)
        for number, (one, subset) in enumerate(zip(boxes, ("train", "train", "val"), strict=True))
    ]
    content = encode_png(scene())
    return PictureSet(name, labels, 3, lambda: iter([(one, content) for one in drawn])), drawn


def test_pycocotools_reads_the_coco_folder(tmp_path):
    from pycocotools.coco import COCO

    one, drawn = picture_set()
    WRITERS["coco"]([one], tmp_path)
    coco = COCO(str(tmp_path / "annotations" / "instances_train.json"))
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    assert names == {1: "screw", 2: "NG"}
    for image, picture in zip(coco.loadImgs(coco.getImgIds()), drawn[:2], strict=True):
        assert (tmp_path / "images" / "train" / image["file_name"]).is_file()
        found = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert [names[annotation["category_id"]] for annotation in found] == [box.action for box in picture.boxes]


def test_ultralytics_reads_the_yolo_folder(tmp_path):
    from ultralytics.data.utils import check_det_dataset, img2label_paths

    one, drawn = picture_set()
    WRITERS["yolo"]([one], tmp_path)
    data = check_det_dataset(str(tmp_path / "data.yaml"), autodownload=False)
    assert data["names"] == {0: "screw", 1: "NG"}
    images = sorted(Path(data["train"]).glob("*.jpg"))
    read = [
        boxes_of(Path(path).read_text(), SIZE_WH, data["names"]) for path in img2label_paths(list(map(str, images)))
    ]
    assert [text_of_boxes(boxes) for boxes in read] == [text_of_boxes(picture.boxes) for picture in drawn[:2]]


def test_cvat_takes_labels_of_one_kind():
    assert json.loads(labels_json(["NG"], "tag")) == [{"name": "NG", "type": "tag", "attributes": []}]


# wrong files


def coco_with(**changes) -> dict:
    content = to_coco([Picture("a.jpg", (10, 10), (HandBox((1, 1, 5, 5), "NG"),))], ["NG"])
    for name, value in changes.items():
        part, _, key = name.partition("_")
        content[part][0][key] = value
    return content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], "expected an object with lists images, annotations, categories"),
        ({"images": {}}, "expected an object with lists"),
        (
            coco_with(annotations_bbox=[1, 2, 3]),
            r"annotations\[0\]: expected bbox \[x, y, width, height\], found \[1, 2, 3\]",
        ),
        (coco_with(annotations_bbox=[1, 2, 0, 3]), "width and height above 0"),
        (coco_with(annotations_bbox=[1, 2, float("nan"), 3]), "expected bbox"),
        (coco_with(annotations_category_id=9), "expected category_id of one listed, found 9"),
        (coco_with(annotations_image_id=4), "expected image_id of one listed, found 4"),
        (coco_with(annotations_iscrowd=1), "found a crowd"),
        (coco_with(images_width="10"), r"images\[0\]: expected width and height in whole pixels"),
        (coco_with(images_file_name=3), "expected a file_name, found 3"),
        (coco_with(categories_name=None), r"categories\[0\]: expected a name"),
        ({"images": [], "annotations": [{}], "categories": []}, "expected the key 'id', found none"),
        ({"images": [1], "annotations": [], "categories": []}, r"images\[0\]"),
    ],
)
def test_a_wrong_coco_file_is_told(content, told):
    with pytest.raises(InputError, match=rf"^labels.json: .*{told}.*Export it again"):
        from_coco(content, "labels.json")


def test_doubled_ids_are_told():
    content = coco_with()
    for name in ("images", "annotations", "categories"):
        content[name] *= 2
    with pytest.raises(InputError, match=r"categories\[1\].*again.*images\[1\].*again.*annotations\[1\].*again"):
        from_coco(content, "labels.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json_is_told(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.json: expected JSON"):
        read_coco(path)


IMAGE = '<annotations><image name="a.jpg" width="10" height="10">{}</image></annotations>'
BOX = '<box label="NG" xtl="{}" ytl="1" xbr="5" ybr="5" {}/>'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "expected XML"),
        ("<annotations>", "expected XML"),
        ("<html/>", "found <html>"),
        ("<annotations/>", "expected <image> elements"),
        ("<annotations><track/></annotations>", "a video's tracks"),
        (IMAGE.format("<polygon/>"), r"image 1 \(a.jpg\): expected box or tag, found polygon"),
        (IMAGE.format('<tag label="a"/><tag label="b"/>'), "expected one tag, found a, b"),
        (IMAGE.format("<tag/>"), "expected 'label' of <tag>, found none"),
        (IMAGE.format(BOX.format("6", "")), "expected xtl < xbr"),
        (IMAGE.format(BOX.format("nan", "")), "expected a number in 'xtl' of <box>, found 'nan'"),
        (IMAGE.format(BOX.format("1", 'rotation="30"')), "turned by 30 degrees"),
        (IMAGE.replace('width="10"', ""), "expected 'width' of <image>, found none"),
        ('<?xml version="1.0" encoding="none"?><annotations/>', "expected XML"),
    ],
)
def test_a_wrong_cvat_file_is_told(content, told):
    with pytest.raises(InputError, match=rf"^a.xml: .*{told}.*Export it again"):
        from_cvat(content.format("").encode() if "{}" in content else content.encode(), "a.xml")


@pytest.mark.parametrize(
    "document_type",
    [
        '<!DOCTYPE annotations [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>',
        '<!DOCTYPE annotations [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE annotations SYSTEM "http://127.0.0.1:1/a.dtd">',
        "<!DOCTYPE annotations>",
    ],
)
def test_entities_are_refused_before_they_are_read(document_type):
    content = f'{document_type}<annotations><image name="&a;" width="1" height="1"/></annotations>'
    with pytest.raises(InputError, match=r"without a document type, found <!DOCTYPE annotations>"):
        from_cvat(content.encode(), "a.xml")


def test_cvat_tells_who_and_when():
    meta = (
        "<meta><task><updated>2026-03-01 10:00:00.123456+00:00</updated>"
        "<owner><username>boss</username></owner><assignee><username>ada</username></assignee></task></meta>"
    )
    content = IMAGE.format("").replace("<annotations>", f"<annotations>{meta}").encode()
    (said,) = from_cvat(content, "a.xml").said
    assert (said.reviewer, said.said_at) == ("ada", "2026-03-01T10:00:00+00:00")


def region(**changes) -> dict:
    """A task one of whose regions is changed; `value_x` changes its value's x."""
    task = annotated(Picture("a.jpg", (10, 10), (HandBox((1, 1, 5, 5), "NG"),)))
    (found,) = task["annotations"][0]["result"]
    for name, value in changes.items():
        if name.startswith("value_"):
            found["value"][name.removeprefix("value_")] = value
        else:
            found[name] = value
    return task


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "expected a list of tasks, found dict"),
        ([], "expected a list of tasks"),
        ([3], "task 1: "),
        ([{"id": 5, "image": "a.jpg", "boxes": []}], "task 1: expected the key 'data', found none"),
        (
            [{"id": 5, "data": {"image": "/data/upload/a.jpg"}, "annotations": []}],
            "expected the key 'picture', found none",
        ),
        ([region(type="polygonlabels")], "annotation 1: expected rectanglelabels or choices, found 'polygonlabels'"),
        ([region(original_width=20)], r"expected a picture of \(10, 10\) pixels, found one of \(20, 10\)"),
        ([region(value_rotation=12)], "turned by 12 degrees"),
        ([region(value_width=0)], "width and height above 0"),
        ([region(value_x=None)], r"annotation 1"),
        ([region(value_rectanglelabels=["NG", "screw"])], "expected one label of a box, found NG, screw"),
        ([annotated(Picture("a.png", (9, 9), label="NG"), lead_time=-1)], "expected lead_time in seconds"),
        (
            [annotated(Picture("a.png", (9, 9), label="NG"), lead_time=2e10)],
            "from 0 to 1e.09, found 2",
        ),
        ([annotated(Picture("a.png", (9, 9), label="NG"), updated_at="yesterday")], "yesterday"),
    ],
)
def test_a_wrong_label_studio_file_is_told(content, told):
    with pytest.raises(InputError, match=rf"^a.json: .*{told}.*Export the project again"):
        from_label_studio(content, "a.json")


@pytest.fixture
def yolo_folder(tmp_path):
    """A data set of two classes and one label file."""
    (tmp_path / "data.yaml").write_text("names: [screw, NG]\n")
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("data.yaml", "names: 3", r"data.yaml: expected `names`.*found 3"),
        ("data.yaml", "names: {a: b}", "expected `names`"),
        ("data.yaml", "[", "found no YAML"),
        (
            "labels/train/a.txt",
            "2 0.5 0.5 0.2 0.2",
            r"labels/train/a.txt: line 1: expected a class of data.yaml, found 2",
        ),
        ("labels/train/a.txt", "\n1 0.5 0.5 0.2", "line 2: expected class and 4 shares"),
        ("labels/train/a.txt", "1 0.5 0.5 0 0.2", "width and height above 0"),
        ("labels/train/a.txt", "hand 0.5 0.5 0.2 0.2", "expected numbers"),
        ("labels/train/a.txt", "1 nan 0.5 0.2 0.2", "4 shares"),
        ("labels/train/b.txt", "", "labels/train/b.txt: expected a picture of this line"),
    ],
)
def test_a_wrong_yolo_folder_is_told(yolo_folder, name, content, told):
    (yolo_folder / name).write_text(content)
    with pytest.raises(InputError, match=rf"{told}.*Export it again"):
        read_yolo(yolo_folder, lambda stem: SIZE_WH if stem == "a" else None)


def test_yolo_pictures_without_a_label_file_wait_and_an_empty_one_has_no_hand(yolo_folder):
    for name in ("a.jpg", "b.jpg"):
        path = yolo_folder / "images" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (yolo_folder / "labels" / "train" / "a.txt").write_text("")
    heard = read_yolo(yolo_folder, lambda stem: SIZE_WH if stem in "ab" else None)
    assert heard.waiting == ("images/train/b.jpg: no label file",)
    assert [(said.picture.stem, said.picture.boxes) for said in heard.said] == [("a", ())]


def test_a_folder_without_labels_is_told(tmp_path):
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"names": {0: "NG"}}))
    with pytest.raises(InputError, match="expected label files under labels/, found none"):
        read_yolo(tmp_path, lambda _: None)
    with pytest.raises(InputError, match=r"nowhere.*found no file to read"):
        read_yolo(tmp_path / "nowhere", lambda _: None)
