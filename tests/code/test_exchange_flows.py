"""`flows.export_labels` and `flows.import_labels` on a line that waits for its review, and on a finished one."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from flows.export_labels import export_labels
from flows.import_labels import import_labels
from lineact.dataset.labels import LabelledCrop
from lineact.dataset.parts import LabelledFrame, Parts
from lineact.dataset.pictures import write_pictures
from lineact.decisions import Decision, boxes_of_text, read_decisions, write_decisions
from lineact.errors import ConfigError, InputError
from lineact.exchange import UNDECIDED, Picture
from lineact.exchange.cvat import read_cvat, to_cvat
from lineact.exchange.names import Asked, stem_of
from lineact.exchange.pictures import montage
from lineact.files import write_json
from lineact.png import decode_png, encode_png
from lineact.review.journal import Journal
from lineact.schema import BOXES, EMBEDDED, HOLDOUT_BOXES, LABELLED_CROPS, VIDEOS, read_table, table_of, write_table
from tests.labelled_line import ACTIONS, dataset_params
from tests.reviewed_line import LINE, configure, decisions_file, journal_file, write_project

TOLD: dict[str, Any] = {"reviewer": "ada", "numbered_from": 0}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A project that waits for review, and its queue by item."""
    folder = tmp_path_factory.mktemp("exchange")
    return folder, {row["item_id"]: row for row in write_project(folder)}


@pytest.fixture
def queue(original, tmp_path, monkeypatch):
    """The queue of a project of this test's own, which is the working folder."""
    shutil.copytree(original[0], tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return original[1]


def decided() -> dict[str, Decision]:
    return read_decisions(decisions_file(Path()), ACTIONS).by_item


def of_task(queue: dict[str, dict], *tasks: str) -> set[str]:
    return {item for item, row in queue.items() if row["task"] in tasks}


def annotate(path: Path, label: str, **changes) -> None:
    """Does in a Label Studio file what a person would: every box and every picture gets this label."""
    tasks = json.loads(path.read_text())
    for task in tasks:
        result = [region for prediction in task["predictions"] for region in prediction["result"]]
        for region in result:
            region["value"]["rectanglelabels"] = [label]
        if path.stem != "frames":
            result = [{"type": "choices", "value": {"choices": [label]}}]
        annotation = {"result": result, "completed_by": {"email": "ada@plant"}, "lead_time": 2.5}
        task["annotations"] = [annotation | {"updated_at": "2026-03-01T10:00:00Z"} | changes]
    path.write_text(json.dumps(tasks))


def test_the_queue_goes_to_label_studio_and_comes_back(queue):
    said = export_labels(LINE, "label_studio", "queue", Path("out"))
    counts = [len(of_task(queue, *tasks)) for tasks in (("box",), ("crop", "audit"), ("group",))]
    assert said == "{} frames, {} crops, {} groups in out".format(*counts)
    for name in ("frames", "crops", "groups"):
        annotate(Path("out", f"{name}.json"), "wipe")
        import_labels(LINE, "label_studio", Path("out", f"{name}.json"), "", 0)
    decisions = decided()
    assert set(decisions) == set(queue)
    for item, decision in decisions.items():
        row = queue[item]
        assert (decision.task, decision.suggested) == (row["task"], row["suggested"])
        assert decision.shown == row["basis"]
        assert (decision.reviewer, decision.seconds) == ("ada@plant", 2.5)
        assert decision.decided_at == "2026-03-01T10:00:00.000+00:00"
        if row["task"] == "box":
            places = [box.box_xyxy_px for box in boxes_of_text(row["suggested"])]
            assert [box.box_xyxy_px for box in boxes_of_text(decision.decided)] == places
        else:
            assert decision.decided == "wipe"
    with pytest.raises(InputError, match=f"found nothing; {len(queue)} items are decided already"):
        export_labels(LINE, "label_studio", "queue", Path("more"))


def test_the_same_file_twice_adds_nothing_and_a_changed_one_its_changes(queue):
    export_labels(LINE, "label_studio", "queue", Path("out"))
    path = Path("out", "crops.json")
    annotate(path, "wipe")
    assert import_labels(LINE, "label_studio", path, "", 0)[1].added == len(of_task(queue, "crop", "audit"))
    before = decisions_file(Path()).read_bytes()
    _, merged = import_labels(LINE, "label_studio", path, "", 0)
    assert (merged.added, merged.known) == (0, len(of_task(queue, "crop", "audit")))
    assert decisions_file(Path()).read_bytes() == before
    annotate(path, "screw", updated_at="2026-03-02T10:00:00Z")
    import_labels(LINE, "label_studio", path, "", 0)
    assert {decision.decided for decision in decided().values()} == {"screw"}
    assert len(read_decisions(decisions_file(Path()), ACTIONS).superseded) == len(of_task(queue, "crop", "audit"))


def word(queue: dict[str, dict], item: str, reviewer: str, decided_at: str) -> Decision:
    return Decision(item, "crop", "", "screw", reviewer, decided_at, 1.0, queue[item]["basis"])


def test_a_reviewer_s_later_decision_holds_and_the_older_word_is_kept(queue):
    export_labels(LINE, "label_studio", "queue", Path("out"))
    path = Path("out", "crops.json")
    annotate(path, "wipe")
    item = next(iter(of_task(queue, "crop")))
    row = word(queue, item, "ada@plant", "2026-03-01T10:00:01+00:00")
    write_decisions(decisions_file(Path()), [row])
    _, merged = import_labels(LINE, "label_studio", path, "", 0)
    assert (merged.outdated, merged.disputed) == ((item,), ())
    assert decided()[item] == row
    (before,) = read_decisions(decisions_file(Path()), ACTIONS).superseded
    assert (before.item_id, before.decided) == (item, "wipe")


def test_another_reviewer_s_other_word_waits_to_be_settled(queue):
    export_labels(LINE, "label_studio", "queue", Path("out"))
    path = Path("out", "crops.json")
    annotate(path, "wipe")
    item = next(iter(of_task(queue, "crop")))
    write_decisions(decisions_file(Path()), [word(queue, item, "bob", "2026-03-01T10:00:01+00:00")])
    _, merged = import_labels(LINE, "label_studio", path, "", 0)
    assert (merged.outdated, merged.disputed) == ((), (item,))
    assert item not in decided()
    said = export_labels(LINE, "label_studio", "queue", Path("again"))
    assert not Path("again/crops.json").exists()
    assert said.endswith(f"{len(of_task(queue, 'crop', 'audit'))} items are decided already")


def test_answers_in_the_page_s_journal_are_not_asked_again_and_not_lost(queue):
    item = next(iter(of_task(queue, "crop")))
    journal = Journal(journal_file(Path()))
    journal.add(lambda: [word(queue, item, "bob", "2026-03-01T10:00:00.000+00:00")])
    export_labels(LINE, "cvat", "queue", Path("out"))
    pictures = [said.picture.stem for said in read_cvat(Path("out/crops/annotations.xml")).said]
    assert stem_of(Asked(item, "crop", queue[item]["basis"])) not in pictures
    assert len(pictures) == len(of_task(queue, "crop", "audit")) - 1
    write_json(Path("labels.json"), frame_coco(queue))
    import_labels(LINE, "coco", Path("labels.json"), **TOLD)
    assert {one.reviewer for one in decided().values()} == {"ada", "bob"}
    journal.write_pending(lambda pending: pytest.fail(f"written already: {pending}") if pending else None)
    journal.close()


def test_cvat_takes_the_queue_and_its_names_tell_the_items(queue):
    export_labels(LINE, "cvat", "queue", Path("out"))
    for name in ("frames", "crops", "groups"):
        path = Path("out", name, "annotations.xml")
        pictures = [said.picture for said in read_cvat(path).said]
        assert {picture.name for picture in pictures} == {one.name for one in Path("out", name, "images").iterdir()}
        path.write_text(path.read_text().replace(f'label="{UNDECIDED}"', 'label="screw"'))
        pictures = [said.picture for said in read_cvat(path).said]
        if name != "frames":
            path.write_bytes(to_cvat([Picture(one.name, one.size_wh_px, label="screw") for one in pictures], ACTIONS))
        import_labels(LINE, "cvat", path, **TOLD)
    assert set(decided()) == set(queue)
    assert {decision.reviewer for decision in decided().values()} == {"ada"}


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_frames_go_through_coco_and_yolo(queue, form):
    said = export_labels(LINE, form, "queue", Path("out"))
    assert f"crops, {len(of_task(queue, 'group'))} groups, which {form} cannot hold" in said
    path = {"coco": Path("out/annotations/instances_default.json"), "yolo": Path("out")}[form]
    result, merged = import_labels(LINE, form, path, **TOLD)
    empty = {item for item in of_task(queue, "box") if queue[item]["suggested"] == "empty"}
    assert len(result.waiting) == len(of_task(queue, "box")) - len(empty)  # their boxes have no action yet
    assert set(decided()) == empty
    labels = Path("out/data.yaml") if form == "yolo" else path
    labels.write_text(labels.read_text().replace(UNDECIDED, "screw"))
    if form == "yolo":
        labels.write_text(yaml.safe_dump({"names": ["screw", "wipe", "NG", "screw"]}))
    _, merged = import_labels(LINE, form, path, **TOLD)
    assert (merged.added, merged.known) == (len(result.waiting), len(empty))
    for item, decision in decided().items():
        if item not in empty:
            got = [(box.box_xyxy_px, box.action) for box in boxes_of_text(decision.decided)]
            assert got == [(box.box_xyxy_px, "screw") for box in boxes_of_text(queue[item]["suggested"])]


def test_suggestions_are_named_as_soon_as_their_group_is(queue):
    groups = [queue[item] for item in of_task(queue, "group")]
    names = [
        Decision(row["item_id"], "group", "", "wipe", "ada", "2026-03-01T10:00:00", 1.0, row["basis"]) for row in groups
    ]
    write_decisions(decisions_file(Path()), names)
    export_labels(LINE, "label_studio", "queue", Path("out"))
    assert not Path("out/groups.json").exists()
    by_name = {task["data"]["picture"]: task["predictions"] for task in json.loads(Path("out/crops.json").read_text())}
    for item in of_task(queue, "crop", "audit"):
        row = queue[item]
        predictions = by_name[f"{stem_of(Asked(item, row['task'], row['basis']))}.png"]
        suggested = [one["result"][0]["value"]["choices"] for one in predictions]
        assert suggested == ([["wipe"]] if row["task"] == "crop" and row["suggested"] else [])  # an audit has no hint


# what a file gets wrong


def frame_coco(queue: dict[str, dict], **changes) -> dict:
    """A COCO file of one frame of the queue with one box."""
    item = min(of_task(queue, "box"))
    name = f"{stem_of(Asked(item, 'box', queue[item]['basis']))}.jpg"
    image = {"id": 1, "file_name": f"train\\{name}", "width": 320, "height": 180}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20]}
    content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "wipe"}]}
    for name, value in changes.items():
        part, _, key = name.partition("_")
        content[part][0][key] = value
    return content


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"images_file_name": "other.jpg"},
            r"images\[0\] \(other.jpg\): expected a picture of this line, found 'other.jpg'",
        ),
        ({"images_width": 640}, r"expected a picture of 320 x 180 pixels, found \(640, 180\)"),
        ({"categories_name": "hand"}, "expected one of screw, wipe, NG, found 'hand'"),
        ({"categories_name": "mixed"}, "found 'mixed'"),
        ({"annotations_bbox": [310, 10, 20, 20]}, "expected a box inside the frame of 320 x 180 pixels"),
        ({"annotations_bbox": [10, 10, 0.001, 20]}, "x1 < x2"),
        ({"annotations_bbox": [-0.4, 10, 0.2, 20]}, "x1 < x2"),
    ],
)
def test_what_does_not_fit_the_line_is_told_and_nothing_is_imported(queue, changes, told):
    write_json(Path("labels.json"), frame_coco(queue, **changes))
    with pytest.raises(InputError, match=rf"^labels.json: .*{told}.*nothing was imported"):
        import_labels(LINE, "coco", Path("labels.json"), **TOLD)
    assert not decisions_file(Path()).exists()


def test_doubled_pictures_and_boxes_are_told(queue):
    content = frame_coco(queue)
    content["annotations"].append(content["annotations"][0] | {"id": 2})
    write_json(Path("labels.json"), content)
    with pytest.raises(InputError, match="expected each box once, found the same one twice"):
        import_labels(LINE, "coco", Path("labels.json"), **TOLD)
    content = frame_coco(queue)
    content["images"].append(content["images"][0] | {"id": 2})
    write_json(Path("labels.json"), content)
    with pytest.raises(InputError, match=r"images\[1\].*expected each picture once, found it at images\[0\]"):
        import_labels(LINE, "coco", Path("labels.json"), **TOLD)


def test_boxes_that_touch_the_edge_are_cut_at_it(queue):
    write_json(Path("labels.json"), frame_coco(queue, annotations_bbox=[-0.4, 10, 320.7, 20]))
    import_labels(LINE, "coco", Path("labels.json"), **TOLD)
    (decision,) = decided().values()
    assert decision.decided == '[[0.0, 10.0, 320.0, 30.0, "wipe"]]'


def test_a_data_set_of_numbered_frames_starts_a_line(queue):
    videos = read_table(Path("data", LINE, "ingest", "videos.parquet"), VIDEOS).to_pylist()
    sha256 = next(video["video_sha256"] for video in videos if video["name"] == "rec_1.mp4")
    for first, name in (
        (0, "rec_1_000004.jpg"),
        (1, "rec_1_frame_5.png"),
        (1, "rec_1-000005.jpg"),
        (0, "1f2e3d4c-rec_1_4.jpg"),
    ):
        write_json(Path("labels.json"), frame_coco(queue, images_file_name=name))
        import_labels(LINE, "coco", Path("labels.json"), "ada", first)
    (decision,) = decided().values()
    item = f"frame:{sha256[:12]}@0.400000"
    assert decision.item_id == item
    assert decision.basis == (queue[item]["basis"] if item in queue else "")
    write_json(Path("labels.json"), frame_coco(queue, images_file_name="rec_1_999999.jpg"))
    with pytest.raises(InputError, match="expected a picture of this line"):
        import_labels(LINE, "coco", Path("labels.json"), **TOLD)


def test_an_older_queue_s_groups_wait_and_its_crops_count(queue):
    crop = next(iter(of_task(queue, "crop")))
    sha256 = crop.partition("@")[0]
    gone = f"{sha256}@0.100000#1-2-30-40"
    foreign = "0" * 12 + gone[12:]
    stems = [stem_of(Asked(*one, "0" * 16)) for one in (("group:0", "group"), (gone, "crop"))]
    Path("a.xml").write_bytes(to_cvat([Picture(f"{stem}.png", (32, 32), label="NG") for stem in stems], ["NG"]))
    result, _ = import_labels(LINE, "cvat", Path("a.xml"), **TOLD)
    assert result.unknown == (gone,)
    assert set(decided()) == {gone}
    assert [one.endswith("the group shows other crops today") for one in result.waiting] == [True]
    Path("a.xml").write_bytes(
        to_cvat([Picture(f"{stem_of(Asked(foreign, 'crop', '0' * 16))}.png", (32, 32), label="NG")], ["NG"])
    )
    with pytest.raises(InputError, match="expected a picture of this line, found 'crop_000000000000"):
        import_labels(LINE, "cvat", Path("a.xml"), **TOLD)


def test_a_broken_row_of_the_decisions_stays(queue):
    path = decisions_file(Path())
    write_decisions(path, [Decision("x", "crop", "", "nonsense", "ada", "2026-03-01", 1.0, "")])
    write_json(Path("labels.json"), frame_coco(queue))
    _, merged = import_labels(LINE, "coco", Path("labels.json"), **TOLD)
    assert merged.added == 1
    assert [bad.row for bad in merged.decisions.bad] == [2]
    assert path.read_text().splitlines()[-1].startswith("x,crop,,nonsense")


def test_the_file_s_time_is_the_decisions_where_it_tells_none(queue):
    write_json(Path("labels.json"), frame_coco(queue))
    os.utime("labels.json", (1_770_000_000, 1_770_000_000))
    import_labels(LINE, "coco", Path("labels.json"), "", 0)
    (decision,) = decided().values()
    assert (decision.decided_at, decision.reviewer) == ("2026-02-02T02:40:00+00:00", "coco")
    os.utime("labels.json", (1_780_000_000, 1_780_000_000))  # copied: the same word of the same person
    assert import_labels(LINE, "coco", Path("labels.json"), "", 0)[1].added == 0


@pytest.mark.usefixtures("queue")
def test_wrong_arguments_are_told():
    with pytest.raises(ConfigError, match="format=voc: expected one of label_studio, cvat, coco, yolo"):
        export_labels(LINE, "voc", "queue", Path("out"))
    with pytest.raises(ConfigError, match="what=all: expected one of queue, frames, crops"):
        export_labels(LINE, "coco", "all", Path("out"))
    with pytest.raises(ConfigError, match="COCO holds boxes on frames"):
        export_labels(LINE, "coco", "crops", Path("out"))
    with pytest.raises(ConfigError, match="format=voc"):
        import_labels(LINE, "voc", Path("out"), **TOLD)
    with pytest.raises(InputError, match="nothing: expected what coco exported, found nothing there"):
        import_labels(LINE, "coco", Path("nothing"), **TOLD)
    Path("out").mkdir()
    Path("out", "mine.txt").touch()
    with pytest.raises(InputError, match="out: expected a new or empty folder, found something in it"):
        export_labels(LINE, "coco", "queue", Path("out"))
    assert Path("out", "mine.txt").exists()


def test_a_simulated_line_takes_no_decisions(queue):
    configure(Path(), simulate_review={})
    write_json(Path("labels.json"), frame_coco(queue))
    with pytest.raises(ConfigError, match="is simulated"):
        import_labels(LINE, "coco", Path("labels.json"), **TOLD)


@pytest.mark.usefixtures("queue")
def test_an_action_of_the_reserved_name_is_refused():
    configure(Path(), dataset={"actions": [UNDECIDED], "min_iou": 0.5})
    with pytest.raises(ConfigError, match=f"action '{UNDECIDED}': expected another name"):
        export_labels(LINE, "coco", "queue", Path("out"))


def test_a_group_is_one_picture_of_its_crops():
    crops = [np.full((32, 32, 3), value, np.uint8) for value in (0, 50, 100, 150, 200)]
    sheet = decode_png(montage([encode_png(crop) for crop in crops]))
    assert sheet.shape == (68, 104, 3)
    assert [sheet[16, 16 + 36 * column, 0] for column in range(3)] == [0, 50, 100]
    assert sheet[60, 90, 0] == 255
    assert montage([encode_png(crops[1])]) == encode_png(crops[1])


# a finished line


@pytest.fixture
def finished(queue):  # noqa: ARG001 - in its project
    """Two frames that train, one of which has a hand without an action, and a held-out one without a hand."""
    boxes = read_table(Path("data", LINE, "detect", "boxes.parquet"), BOXES).to_pylist()
    crops = [
        LabelledCrop(
            (row["video_sha256"], row["pts_s"]),
            row["box_id"],
            (row["x1"], row["y1"], row["x2"], row["y2"]),
            action,
            "match",
            drawn=False,
        )
        for row, action in zip(boxes[:2], ("screw", "wipe"), strict=True)
    ]
    frames = [LabelledFrame(crop.frame, (crop.box_xyxy_px,), "detector", as_seen=False) for crop in crops]
    half = LabelledFrame(
        (boxes[2]["video_sha256"], boxes[2]["pts_s"]), ((1.0, 2.0, 30.0, 40.0),), "detector", as_seen=False
    )
    parts = Parts({"train": crops[:1], "val": crops[1:]}, {"train": [frames[0], half], "val": frames[1:]}, 0, 0, 0)
    folder = Path("data", LINE, "dataset")
    stored = read_table(Path("data", LINE, "embed", "crops.parquet"), EMBEDDED)
    rows = write_pictures(Path("data", LINE, "raw"), stored, parts, dataset_params(), folder / "detection")
    write_table(table_of(rows, LABELLED_CROPS), folder / "crops.parquet", LABELLED_CROPS)
    empty = {"video_sha256": boxes[0]["video_sha256"], "pts_s": 1.9, "decided_by": "ada"}
    write_table(table_of([empty], HOLDOUT_BOXES), folder / "holdout.parquet", HOLDOUT_BOXES)
    return crops


def test_a_finished_line_is_a_coco_data_set_that_starts_another(finished):
    said = export_labels(LINE, "coco", "frames", Path("out"))
    assert said == "3 frames in out; not 1 frames on which a hand has no action"
    assert sorted(path.name for path in Path("out/annotations").iterdir()) == [
        "instances_test.json",
        "instances_train.json",
        "instances_val.json",
    ]
    for subset in ("train", "val", "test"):
        import_labels(LINE, "coco", Path(f"out/annotations/instances_{subset}.json"), **TOLD)
    by_action = {
        boxes_of_text(one.decided)[0].action: boxes_of_text(one.decided)[0]
        for one in decided().values()
        if one.decided != "empty"
    }
    assert set(by_action) == {"screw", "wipe"}
    assert by_action["screw"].box_xyxy_px == finished[0].box_xyxy_px
    assert [one.decided for one in decided().values()].count("empty") == 1


@pytest.mark.usefixtures("finished")
def test_a_finished_line_is_a_yolo_data_set():
    export_labels(LINE, "yolo", "frames", Path("out"))
    content = yaml.safe_load(Path("out/data.yaml").read_text())
    assert content == {
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "names": {0: "screw", 1: "wipe", 2: "NG"},
    }
    assert {path.parent.name: path.read_text()[:1] for path in Path("out/labels").rglob("*.txt")} == {
        "train": "0",
        "val": "1",
        "test": "",
    }
    export_labels(LINE, "yolo", "crops", Path("crops"))
    assert sorted(path.parent.as_posix() for path in Path("crops").rglob("*.png")) == [
        "crops/train/screw",
        "crops/val/wipe",
    ]


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)"])
def test_a_reviewer_s_name_is_no_formula(name):
    export_labels(LINE, "label_studio", "queue", Path("out"))
    path = Path("out", "crops.json")
    annotate(path, "wipe", completed_by={"email": name})
    with pytest.raises(InputError, match="which a spreadsheet takes for a formula"):
        import_labels(LINE, "label_studio", path, "", 0)
    assert not decisions_file(Path()).exists()
