"""The review page's server: what it shows, what it saves, and what it refuses."""

import json
import stat
from base64 import b64decode
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from unittest.mock import MagicMock
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from flows.gate import pass_gate
from flows.review import _tell, main
from flows.review_access import HEADERS, OWN_HEADER, Access, access_of
from flows.review_app import PAGE, review_app
from flows.review_export import export_line
from flows.review_line import read_reviewed
from lineact.decisions import NG, boxes_of_text, read_decisions, write_decisions
from lineact.errors import AwaitingReview, ConfigError, InputError
from lineact.groups import shown_basis
from lineact.png import decode_png
from lineact.queue import CALIBRATES
from lineact.review.journal import Journal
from lineact.schema import EMBEDDED, read_table
from lineact.video import read_frames, videos_by_sha256
from tests.generated_videos import SIZE_WH
from tests.labelled_line import ACTIONS, dataset_params
from tests.reviewed_line import (
    LINE,
    answers_of,
    configure,
    decisions_file,
    forget_decisions,
    journal_file,
    queue_made_anew,
    write_project,
)

LOCAL = Access("127.0.0.1", 80, "")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """Folder of the project with recordings, crops and a queue, and the queue's rows."""
    folder = tmp_path_factory.mktemp("project")
    return folder, write_project(folder)


@pytest.fixture
def project(generated, monkeypatch):
    """The project with no decisions, of a line of real recordings."""
    folder, rows = generated
    monkeypatch.chdir(folder)
    configure(folder)
    forget_decisions(folder)
    return folder, rows


class Client(TestClient):
    """A page.

    Attributes:
        version: of the queue that it shows.
    """

    version = ""


def client_of(reviewer="ann", access=LOCAL):
    reviewed = read_reviewed(LINE, reviewer)
    client = Client(review_app(reviewed, access), base_url="http://127.0.0.1", headers={OWN_HEADER: "1"})
    client.version = reviewed.version
    return client


def answer(client, item_id, decided, seconds=1.5, seen=0, settles=False):
    body = {"item_id": item_id, "decided": decided, "seen": seen, "seconds": seconds, "settles": settles}
    return post(client, [body])


def post(client, answers, **rest):
    return client.post("/api/decisions", json={"answers": answers, "version": client.version}, **rest)


def first(rows, task):
    return next(row for row in rows if row["task"] == task)


def items_of(client, name, **rest):
    return client.get("/api/items", params={"name": name, "count": 200, **rest}).json()["items"]


def all_items(client):
    sets = client.get("/api/progress").json()["sets"]
    return {item["item_id"]: item for one in sets for item in items_of(client, one["name"])}


def written(folder):
    """decisions.csv, written from the journal."""
    export_line(LINE)
    return read_decisions(decisions_file(folder), ACTIONS)


def test_shows_every_item_once_and_nothing_decided(project):
    _, rows = project
    client = client_of()
    line = client.get("/api/line").json()
    items = all_items(client)
    assert sorted(items) == sorted(row["item_id"] for row in rows)
    assert sum(one["total"] for one in line["sets"]) == line["total"] == len(rows)
    assert not any(item["decided"] or item["mine"] or item["words"] for item in items.values())
    assert line["labels"]["group"] == [*ACTIONS, "NG", "mixed"]
    assert line["labels"]["box"] == [*ACTIONS, "NG"]


@pytest.mark.usefixtures("project")
def test_page_runs_without_inline_script_or_style_or_other_hosts():
    client = client_of()
    page = client.get("/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    for path in PAGE.iterdir():
        assert client.get(f"/page/{path.name}").status_code == 200
        text = path.read_text()
        assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https:" not in text
        assert "innerHTML" not in text
        assert "insertAdjacentHTML" not in text
        assert " style=" not in text
        assert " onclick=" not in text


def test_answer_is_in_the_journal_before_the_reply_and_in_the_file_when_it_is_written(project):
    folder, rows = project
    client, row = client_of(), first(rows, "group")
    reply = answer(client, row["item_id"], ACTIONS[0])
    assert [item["decided"] for item in reply.json()["items"]] == [ACTIONS[0]]
    assert reply.json()["progress"]["pending"] == 1
    assert [kept.decided for kept in Journal(journal_file(folder)).rows_after(0)[0]] == [ACTIONS[0]]
    assert not decisions_file(folder).exists()
    assert client.post("/api/finish").json()["added"] == 1
    (decision,) = read_decisions(decisions_file(folder), ACTIONS).rows
    assert (decision.item_id, decision.task, decision.decided) == (row["item_id"], "group", ACTIONS[0])
    assert (decision.shown, decision.members) == (row["basis"], row["box_ids"])  # the crops that the name was given on
    assert decision.suggested == row["suggested"]
    assert (decision.reviewer, decision.seconds) == ("ann", 1.5)
    assert client.get("/api/progress").json()["pending"] == 0


def test_answers_of_a_page_are_saved_together_or_not_at_all(project):
    folder, rows = project
    client = client_of()
    crops = [row["item_id"] for row in rows if row["task"] == "crop"][:3]
    body = [{"item_id": item, "decided": "wipe", "seconds": 0.5, "seen": 0} for item in crops]
    assert post(client, [*body, body[0] | {"decided": "paint"}]).status_code == 422
    assert client.get("/api/progress").json()["decided"] == 0
    assert post(client, body).status_code == 200
    assert {row.item_id: row.decided for row in written(folder).rows} == dict.fromkeys(crops, "wipe")


def test_second_answer_takes_the_place_of_the_first_which_stays_in_the_file(project):
    folder, rows = project
    client, row = client_of(), first(rows, "crop")
    answer(client, row["item_id"], ACTIONS[0])
    answer(client, first(rows, "group")["item_id"], "mixed")
    answer(client, row["item_id"], NG, seen=1)
    decisions = written(folder)
    assert decisions.by_item[row["item_id"]].decided == NG
    assert [old.decided for old in decisions.superseded] == [ACTIONS[0]]
    assert len(decisions.rows) == 2


def test_named_group_is_suggested_for_its_crops_and_boxes_but_not_for_the_audit(project):
    _, rows = project
    client = client_of()
    for row in rows:
        if row["task"] == "group":
            assert answer(client, row["item_id"], "wipe").status_code == 200
    shown = all_items(client)
    for row in rows:
        suggested = shown[row["item_id"]]["suggested"]
        if row["task"] == "crop":
            assert suggested == ("wipe" if row["suggested"] else "")
        elif row["task"] == "audit":
            assert suggested == shown[row["item_id"]]["group"] == ""
        elif row["task"] == "box":
            expected = [(box.box_xyxy_px, "wipe" if box.action else "") for box in boxes_of_text(row["suggested"])]
            assert [(box.box_xyxy_px, box.action) for box in boxes_of_text(suggested)] == expected
    named = [row["item_id"] for row in rows if row["task"] == "crop" and row["suggested"]]
    assert sorted(item["item_id"] for item in items_of(client, "crop/wipe")) == sorted(named)
    assert any(row["task"] == "box" and "group:" in row["suggested"] for row in rows)
    assert any(row["task"] == "audit" for row in rows)


def test_frame_is_the_queued_one_in_any_order(project):
    folder, rows = project
    client = client_of()
    asked = [row for row in rows if row["task"] == "box"]
    videos = videos_by_sha256(folder / "data" / LINE / "raw")
    for row in sorted(asked, key=lambda row: -row["pts_s"])[:4]:
        shown = decode_png(client.get(f"/api/frame?item_id={quote(row['item_id'])}").content)
        (frame,) = read_frames(videos[row["video_sha256"]], [row["pts_s"]])
        assert (shown == frame.image_rgb).all()


@pytest.mark.parametrize("task", ["crop", "audit", "box"])
def test_neighbouring_frames_are_a_loop(project, task):
    from PIL import Image

    _, rows = project
    reply = client_of().get("/api/loop", params={"item_id": first(rows, task)["item_id"]})
    assert reply.headers["content-type"] == "image/webp"
    picture = Image.open(BytesIO(reply.content))
    assert picture.size == SIZE_WH
    assert getattr(picture, "n_frames", 1) > 5
    assert picture.info["loop"] == 0


def test_boxes_and_empty_frames_are_saved(project):
    folder, rows = project
    client = client_of()
    one, other = [row["item_id"] for row in rows if row["task"] == "box"][:2]
    boxes = [[1, 2, 30.5, 40, "wipe"], [50, 60, *SIZE_WH, NG]]
    assert answer(client, one, json.dumps(boxes)).status_code == 200
    assert answer(client, other, "empty").status_code == 200
    saved = written(folder).by_item
    assert json.loads(saved[one].decided) == boxes
    assert saved[other].decided == "empty"


def test_answer_does_not_take_the_place_of_one_that_its_window_did_not_show(project):
    folder, rows = project
    client, row = client_of(), first(rows, "crop")
    answer(client, row["item_id"], ACTIONS[0])
    for decided in (ACTIONS[1], "withdrawn"):
        reply = answer(client, row["item_id"], decided)
        assert reply.status_code == 409
        assert f"another window meanwhile ({ACTIONS[0]})" in reply.json()["detail"]
        assert [item["mine"] for item in reply.json()["items"]] == [ACTIONS[0]]
    answer(client, row["item_id"], "withdrawn", seen=1)
    assert answer(client, row["item_id"], NG, seen=1).status_code == 409
    assert not written(folder).rows


def test_an_answer_that_was_saved_although_its_reply_was_lost_adds_no_row(project):
    folder, rows = project
    client, row = client_of(), first(rows, "crop")
    for _ in range(2):
        assert answer(client, row["item_id"], "wipe").json()["items"][0]["decided"] == "wipe"
    for _ in range(2):
        assert answer(client, row["item_id"], "withdrawn", seen=1).status_code == 200
    assert [old.decided for old in written(folder).superseded] == ["wipe", "withdrawn"]


@pytest.mark.parametrize("another", [False, True], ids=["removed", "replaced"])
def test_nothing_is_told_as_saved_after_the_journal_was_removed(project, another):
    folder, rows = project
    client, item = client_of(), first(rows, "crop")["item_id"]
    journal = journal_file(folder)
    for path in journal.parent.glob(f"{journal.name}*"):
        path.unlink()
    if another:
        Journal(journal).close()
    reply = answer(client, item, "wipe")
    assert reply.status_code >= 400
    assert "start the review page again" in reply.json()["detail"]
    assert answer(client_of(), item, "wipe").is_success  # a new start is well


@pytest.mark.parametrize("decided", ["screw", "withdrawn"])
def test_an_answer_counts_although_the_file_has_rows_of_a_clock_that_is_ahead(project, decided):
    folder, rows = project
    item = first(rows, "crop")["item_id"]
    answer(client_of(), item, "wipe")
    row = written(folder).rows[0]
    write_decisions(decisions_file(folder), [replace(row, decided_at="2999-01-01T00:00:00+00:00")])
    now = answer(client_of(), item, decided, seen=1).json()["items"][0]
    assert now["decided"] == ("" if decided == "withdrawn" else decided)
    assert [one.decided for one in written(folder).rows] == ([] if decided == "withdrawn" else [decided])


def test_a_disagreement_is_settled_although_the_other_clock_is_ahead(project):
    folder, rows = project
    item = first(rows, "crop")["item_id"]
    answer(client_of("bob"), item, "wipe")
    row = written(folder).rows[0]
    write_decisions(decisions_file(folder), [replace(row, decided_at="2999-01-01T00:00:00+00:00")])
    seen = answer(client_of(), item, "screw").json()["items"][0]["seen"]
    assert answer(client_of(), item, "screw", seen=seen, settles=True).json()["items"][0]["decided"] == "screw"
    assert not written(folder).disputed


@pytest.mark.parametrize("task", ["group", "crop", "audit", "box"])
def test_what_is_taken_back_waits_again_and_stays_in_the_file(project, task):
    folder, rows = project
    client, row = client_of(), first(rows, task)
    decided = "empty" if task == "box" else "wipe"
    answer(client, row["item_id"], decided)
    assert answer(client, row["item_id"], "withdrawn", seen=1).status_code == 200
    decisions = written(folder)
    assert not decisions.rows
    assert [old.decided for old in decisions.superseded] == [decided, "withdrawn"]
    assert client.get("/api/progress").json()["decided"] == 0
    assert answer(client, row["item_id"], decided, seen=2).status_code == 200
    (again,) = written(folder).rows
    assert again.decided == decided


@pytest.mark.parametrize(("task", "said"), [("crop", ("screw", "wipe")), ("group", ("screw", "mixed"))])
def test_different_answers_of_two_reviewers_wait_until_somebody_settles_them(project, task, said):
    folder, rows = project
    ann, bob, row = client_of("ann"), client_of("bob"), first(rows, task)
    item = row["item_id"]
    assert answer(ann, item, said[0]).status_code == 200
    assert answer(bob, item, said[1]).status_code == 200  # neither overwrites the other
    for client in (ann, bob):
        (disputed,) = items_of(client, "disagreements")
        assert disputed["words"] == [["ann", said[0]], ["bob", said[1]]]
        assert client.get("/api/progress").json()["decided"] == 0
    assert [[word.decided for word in words] for words in written(folder).disputed] == [list(said)]
    assert answer(bob, item, NG, seen=1, settles=True).status_code == 409  # did not see both
    assert answer(bob, item, NG, seen=2, settles=True).status_code == 200
    assert not items_of(ann, "disagreements")
    (stands,) = written(folder).rows
    assert (stands.decided, stands.suggested, stands.reviewer) == (NG, "disagreement", "bob")
    assert answer(bob, item, "withdrawn", seen=2).status_code == 200  # he takes back the settlement, not his word
    assert items_of(ann, "disagreements")[0]["words"] == [["ann", said[0]], ["bob", said[1]]]


def test_reviewers_who_agree_in_the_end_leave_no_disagreement(project):
    folder, rows = project
    ann, bob, item = client_of("ann"), client_of("bob"), first(rows, "crop")["item_id"]
    answer(ann, item, "wipe")
    answer(bob, item, "screw")
    answer(bob, item, "wipe", seen=1)
    assert not items_of(ann, "disagreements")
    assert [row.decided for row in written(folder).rows] == ["wipe"]


def test_two_servers_write_all_that_both_were_told(project):
    folder, rows = project
    ann, bob = client_of("ann"), client_of("bob")
    crops = [row["item_id"] for row in rows if row["task"] == "crop"]
    for place, item in enumerate(crops):
        assert answer((ann, bob)[place % 2], item, "wipe").status_code == 200
        if place % 3 == 0:
            assert (bob, ann)[place % 2].post("/api/finish").status_code == 200
    assert {row.item_id: row.reviewer for row in written(folder).rows} == {
        item: ("ann", "bob")[place % 2] for place, item in enumerate(crops)
    }


@pytest.mark.usefixtures("project")
def test_browser_asks_again_for_every_file():
    client = client_of()
    for path in ("/", "/page/main.js", "/api/line"):
        assert client.get(path).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("task", "decided"),
    [
        ("group", "paint"),
        ("group", ""),
        ("crop", "mixed"),
        ("audit", "empty"),
        ("box", "wipe"),
        ("box", "[]"),
        ("box", '[[1, 2, 30, 40, ""]]'),
        ("box", '[[1, 2, 30, 40, "paint"]]'),
        ("box", '[[30, 2, 1, 40, "wipe"]]'),
        ("box", '[[1, 2, 330, 40, "wipe"]]'),
        ("box", '[[-9, 2, 30, 40, "wipe"]]'),
        ("box", '[[1, 2, NaN, 40, "wipe"]]'),
        ("box", f'[[1, 2, 1{"0" * 400}, 40, "wipe"]]'),
        ("box", "[" * 15_000),
    ],
)
def test_wrong_answers_are_refused_and_not_written(project, task, decided):
    folder, rows = project
    assert answer(client_of(), first(rows, task)["item_id"], decided).status_code == 422
    assert Journal(journal_file(folder)).rows_after(0)[0] == []


def test_unknown_items_are_refused(project):
    folder, rows = project
    client = client_of()
    group = first(rows, "group")["item_id"]
    assert answer(client, "group:999", "wipe").status_code == 404
    for path, name, value in [
        ("crop", "box_id", "../params.yaml"),
        ("frame", "item_id", "../../params.yaml"),
        ("frame", "item_id", group),
        ("loop", "item_id", group),
        ("items", "name", "crop/../../x"),
    ]:
        assert client.get(f"/api/{path}", params={name: value}).status_code == 404
    assert client.get("/page/../../params.yaml").status_code == 404
    assert client.get("/page/%2e%2e/%2e%2e/params.yaml").status_code == 404
    assert client.get("/api/items", params={"name": "group", "count": 100_000}).status_code == 422
    assert answer(client, group, "wipe", seconds=-1).status_code == 422
    assert answer(client, group, "wipe", seconds=1e308).status_code == 422  # a mean of such numbers is no number
    assert post(client, []).status_code == 422
    assert client.post("/api/decisions", json={"item_id": "group:0"}).status_code == 422
    assert Journal(journal_file(folder)).rows_after(0)[0] == []


@pytest.mark.usefixtures("project")
def test_a_page_behind_the_end_is_the_last_one():
    client = client_of()
    for place in (-5, 10**9):
        reply = client.get("/api/items", params={"name": "box", "place": place, "count": 4}).json()
        assert len(reply["items"]) > 0
        assert reply["place"] == (0 if place < 0 else (reply["total"] - 1) // 4 * 4)


def test_crop_is_the_stored_picture(project):
    _, rows = project
    client = client_of()
    for box_id in first(rows, "group")["box_ids"]:
        reply = client.get("/api/crop", params={"box_id": box_id})
        assert reply.status_code == 200
        assert decode_png(reply.content).shape == (32, 32, 3)


def test_a_page_brings_the_pictures_of_its_crops(project):
    folder, rows = project
    client = client_of()
    stored = read_table(folder / "data" / LINE / "embed" / "crops.parquet", EMBEDDED)
    pictures = dict(zip(stored["box_id"].to_pylist(), stored["crop_png"].to_pylist(), strict=True))
    for name, shown in (("group", first(rows, "group")["box_ids"]), ("audit", [first(rows, "audit")["item_id"]])):
        reply = client.get("/api/items", params={"name": name, "count": 1, "pictures": True}).json()
        assert {box_id: b64decode(text) for box_id, text in reply["crops"].items()} == {
            box_id: pictures[box_id] for box_id in shown
        }
    assert client.get("/api/items", params={"name": "box", "pictures": True}).json()["crops"] == {}


def rewrite(folder, change):
    """Edits decisions.csv by hand."""
    export_line(LINE)
    path = decisions_file(folder)
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize("task", ["crop", "audit", "box"])
def test_crops_and_frames_stay_decided_when_something_else_was_shown(project, task):
    """As the pipeline takes them: a crop's box is there still, a frame's decision tells all its hands."""
    folder, rows = project
    row, decided = first(rows, task), "empty" if task == "box" else "wipe"
    answer(client_of(), row["item_id"], decided)
    rewrite(folder, lambda text: text.replace(shown_basis(row), "0" * 16))
    item = all_items(client_of())[row["item_id"]]
    assert (item["decided"], item["outdated"]) == (decided, "")


def test_crop_found_again_a_little_elsewhere_stays_decided_and_can_be_taken_back(project):
    folder, rows = project
    row = first(rows, "crop")
    client = client_of()
    answer(client, row["item_id"], "wipe")
    head, x1 = row["item_id"].split("#")[0], int(row["item_id"].split("#")[1].split("-")[0])
    rewrite(folder, lambda text: text.replace(f"{head}#{x1}-", f"{head}#{x1 - 3}-"))
    item = all_items(client)[row["item_id"]]
    assert (item["decided"], item["seen_mine"]) == ("wipe", 1)
    assert answer(client, row["item_id"], "withdrawn", seen=1).status_code == 200
    assert all_items(client)[row["item_id"]]["decided"] == ""
    assert answer(client, row["item_id"], "screw", seen=0).status_code == 200
    assert all_items(client_of("bob"))[row["item_id"]]["decided"] == "screw"


def test_crop_found_again_far_away_waits(project):
    folder, rows = project
    row = first(rows, "crop")
    answer(client_of(), row["item_id"], "wipe")
    head, x1 = row["item_id"].split("#")[0], int(row["item_id"].split("#")[1].split("-")[0])
    rewrite(folder, lambda text: text.replace(f"{head}#{x1}-", f"{head}#{x1 - 300}-"))
    assert all_items(client_of())[row["item_id"]]["decided"] == ""


def test_another_reviewers_word_on_a_crop_found_again_is_not_lost(project):
    folder, rows = project
    row = first(rows, "crop")
    answer(client_of("ann"), row["item_id"], "wipe")
    head, x1 = row["item_id"].split("#")[0], int(row["item_id"].split("#")[1].split("-")[0])
    rewrite(folder, lambda text: text.replace(f"{head}#{x1}-", f"{head}#{x1 - 3}-"))
    assert answer(client_of("bob"), row["item_id"], "screw").status_code == 200
    assert items_of(client_of(), "disagreements")[0]["words"] == [["ann", "wipe"], ["bob", "screw"]]


def test_name_of_a_group_that_shows_other_pictures_waits_again(project):
    folder, rows = project
    row = first(rows, "group")
    answer(client_of(), row["item_id"], "wipe")
    rewrite(folder, lambda text: text.replace(shown_basis(row), "0" * 16))
    item = all_items(client_of())[row["item_id"]]
    assert (item["decided"], item["outdated"]) == ("", "wipe")


@pytest.mark.parametrize("decided", ["screw", "withdrawn"])
def test_what_was_seen_of_a_group_with_other_pictures_answers_nothing_of_today(project, decided):
    """A page of an earlier queue takes back its answer to the group that had this number then."""
    folder, rows = project
    row = first(rows, "group")
    answer(client_of(), row["item_id"], "wipe")
    rewrite(folder, lambda text: text.replace(shown_basis(row), "0" * 16))
    item = all_items(client_of())[row["item_id"]]
    assert (item["seen"], item["seen_mine"]) == (0, 0)
    reply = answer(client_of(), row["item_id"], decided, seen=1)
    assert reply.status_code == (200 if decided == "withdrawn" else 409)  # there is nothing to withdraw
    assert [one.basis for one in read_decisions(decisions_file(folder), ACTIONS).rows] == ["0" * 16]
    assert all_items(client_of())[row["item_id"]]["decided"] == ""
    assert answer(client_of(), row["item_id"], "screw").json()["items"][0]["decided"] == "screw"


def test_simulated_line_is_shown_only(project):
    folder, rows = project
    configure(folder, simulate_review={"error_rate": 0.0})
    client = client_of()
    assert client.get("/api/line").json()["simulated"] is True
    for reply in (answer(client, first(rows, "group")["item_id"], "wipe"), client.post("/api/finish")):
        assert (reply.status_code, reply.json()["detail"]) == (403, "simulated reviewer: looking only")
    assert not decisions_file(folder).exists()
    assert not journal_file(folder).exists()


@pytest.mark.usefixtures("project")
def test_line_without_queue_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr("flows.review_line.refuse_without_recordings", lambda _: ["queue"])
    with pytest.raises(InputError, match=r"python -m flows\.label_line line=other"):
        read_reviewed("other", "ann")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"python -m flows\.label_line line={LINE}"):
        read_reviewed(LINE, "ann")


def test_a_queue_made_anew_meanwhile_is_told_and_nothing_is_saved(project):
    folder, rows = project
    client = client_of()
    with queue_made_anew(folder):
        reply = answer(client, first(rows, "group")["item_id"], "wipe")
        assert (reply.status_code, reply.json()["stale"]) == (409, True)
        assert "made anew while this page was open; stop the command and start it again" in reply.json()["detail"]
        assert "made anew" in client.get("/api/items", params={"name": "group"}).json()["detail"]
    assert not written_or_pending(folder)


def test_the_same_queue_in_another_file_is_the_same(project):
    folder, rows = project
    client, path = client_of(), folder / "data" / LINE / "queue" / "queue.parquet"
    same = path.read_bytes()
    path.unlink()
    path.write_bytes(same)
    assert answer(client, first(rows, "group")["item_id"], "wipe").status_code == 200


def test_a_page_of_an_earlier_queue_is_told_to_reload_and_nothing_is_saved(project):
    folder, rows = project
    client = client_of()
    client.version = "12-34"  # the command was started again on another queue meanwhile
    reply = answer(client, first(rows, "group")["item_id"], "wipe")
    assert (reply.status_code, reply.json()["stale"]) == (409, True)
    assert "this page shows an earlier queue: reload it (F5)" in reply.json()["detail"]
    assert not written_or_pending(folder)
    item = first(rows, "group")["item_id"]
    body = {"item_id": item, "decided": "wipe", "seen": 0, "seconds": 1.0}
    assert client.post("/api/decisions", json={"answers": [body]}).status_code == 422  # a page must tell it


def written_or_pending(folder):
    return Journal(journal_file(folder)).rows_after(0)[0]


def test_a_queue_of_other_crops_names_the_command(project):
    folder, _ = project
    crops = folder / "data" / LINE / "embed" / "crops.parquet"
    kept = crops.rename(crops.with_suffix(".kept"))
    try:
        with pytest.raises(InputError, match=r"flows\.label_line"):
            read_reviewed(LINE, "ann")
    finally:
        kept.rename(crops)


def test_unusable_row_is_named_left_out_and_kept_while_answers_go_on(project):
    folder, rows = project
    answer(client_of(), first(rows, "group")["item_id"], "wipe")
    rewrite(folder, lambda text: text.replace(",wipe,", ",paint,"))
    client = client_of()
    (bad,) = client.get("/api/line").json()["bad"]
    assert (bad["row"], bad["column"]) == (2, "decided")
    assert "paint" in bad["found"]
    assert answer(client, first(rows, "crop")["item_id"], "wipe").status_code == 200
    assert client.post("/api/finish").status_code == 200
    decisions = read_decisions(decisions_file(folder), ACTIONS)
    assert [row.task for row in decisions.rows] == ["crop"]
    assert len(decisions.bad) == 1
    rewrite(folder, lambda text: text.replace("paint", "wipe"))  # mended by hand
    assert len(written(folder).rows) == 2


def test_file_without_its_header_is_told_and_the_answer_is_kept(project):
    folder, rows = project
    client, path = client_of(), decisions_file(folder)
    answer(client, first(rows, "group")["item_id"], "wipe")
    path.write_text("not,the,header\n")
    assert client.post("/api/finish").status_code == 500
    assert path.read_text() == "not,the,header\n"
    path.unlink()
    assert len(written(folder).rows) == 1


@pytest.mark.usefixtures("project")
def test_unusable_ports_are_refused(monkeypatch):
    for port in ("0", "65536", "http", "-1"):
        monkeypatch.setattr("sys.argv", ["review", f"line={LINE}", f"port={port}"])
        with pytest.raises(ConfigError, match="65535"):
            main()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_this_machine_alone_needs_no_token(host):
    assert access_of(host, "8765", "").token == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])  # noqa: S104
def test_any_other_address_demands_one(host):
    assert len(access_of(host, "8765", "").token) >= 24
    assert access_of(host, "8765", "").token != access_of(host, "8765", "").token


@pytest.mark.parametrize("host", ["localhost.example", "", "all"])
def test_a_host_that_is_no_address_is_refused(host):
    with pytest.raises(ConfigError, match="expected an address"):
        access_of(host, "8765", "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_token_file_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "token"
    path.write_text("0123456789abcdef_-XY\n")
    path.chmod(mode)
    with pytest.raises(InputError, match="chmod 600"):
        access_of("0.0.0.0", "8765", str(path))  # noqa: S104
    path.chmod(stat.S_IRUSR)
    assert access_of("0.0.0.0", "8765", str(path)).token == "0123456789abcdef_-XY"  # noqa: S104, S105


@pytest.mark.parametrize("text", ["", "short", "0123456789 abcdef", "0123456789abcdefé"])
def test_a_token_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InputError, match="at least 16"):
        access_of("127.0.0.1", "8765", str(path))
    with pytest.raises(InputError, match="found none"):
        access_of("127.0.0.1", "8765", str(path / "missing"))


@pytest.mark.usefixtures("project")
def test_without_the_token_nothing_is_told():
    client = client_of(access=Access("0.0.0.0", 8765, "0123456789abcdef"))  # noqa: S104
    for path in ("/", "/api/line", "/page/main.js", "/api/crop?box_id=x"):
        assert client.get(path).status_code == 401
    assert client.get("/?token=0123456789abcdeX").status_code == 401
    assert client.get("/api/line?token=0123456789abcdef").status_code == 401
    entered = client.get("/?token=0123456789abcdef", follow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert dict(client.cookies) == {"lineact_review_8765": "0123456789abcdef"}  # other ports' pages have their own
    assert client.get("/api/line").status_code == 200


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("listens_on", "asked", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8765", 200),
        ("127.0.0.1", "localhost:8765", 200),
        ("127.0.0.1", "elsewhere.example", 400),
        ("127.0.0.1", "[::1]:8765", 400),
        ("::1", "[::1]:8765", 200),
        ("0:0:0:0:0:0:0:1", "[::1]:8765", 200),
        ("::1", "elsewhere.example", 400),
        ("::1", "[::1", 400),
        ("127.0.0.1", "", 400),
    ],
)
def test_the_hosts_own_names_are_answered_and_every_reply_is_stamped(listens_on, asked, status):
    client = client_of(access=access_of(listens_on, "8765", ""))
    reply = client.get("/", headers={"host": asked})
    assert reply.status_code == status
    assert {name: reply.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.usefixtures("project")
def test_the_token_of_a_file_is_not_printed_but_where_it_is(tmp_path, capsys):
    path = tmp_path / "token"
    path.write_text("0123456789abcdefgh")
    path.chmod(0o600)
    reviewed = read_reviewed(LINE, "ann")
    _tell(reviewed, access_of("::1", "8765", str(path)))
    said = capsys.readouterr().out
    assert "http://[::1]:8765/, opened with ?token=" in said
    assert str(path) in said
    assert "0123456789abcdefgh" not in said
    drawn = access_of("0.0.0.0", "8765", "")  # noqa: S104
    _tell(reviewed, drawn)
    assert f"http://0.0.0.0:8765/?token={drawn.token} " in capsys.readouterr().out


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_foreign_page_cannot_answer(project, headers):
    folder, rows = project
    client = client_of()
    client.headers |= headers
    for reply in (answer(client, first(rows, "group")["item_id"], "wipe"), client.post("/api/finish")):
        assert reply.status_code == 403
    assert not written_or_pending(folder)


def test_an_answer_without_the_pages_own_header_or_too_large_a_one_is_refused(project):
    folder, rows = project
    client = client_of()
    huge = json.dumps([[1, 2, 3, 4, "x" * 2**20]])
    assert answer(client, first(rows, "box")["item_id"], huge).status_code == 413
    del client.headers[OWN_HEADER]
    assert answer(client, first(rows, "group")["item_id"], "wipe").status_code == 403
    assert not written_or_pending(folder)


def test_the_pages_own_origin_is_taken(project):
    _, rows = project
    client = client_of()
    client.headers |= {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
    assert answer(client, first(rows, "group")["item_id"], "wipe").status_code == 200


def test_time_left_goes_by_the_reviewers_own_pace(project):
    _, rows = project
    client = client_of()
    assert client.get("/api/progress").json()["seconds_left"] is None
    crops = [row["item_id"] for row in rows if row["task"] == "crop"]
    for item in crops[:4]:
        answer(client, item, "wipe", seconds=3.0)
    progress = client.get("/api/progress").json()
    assert progress["seconds_left"] == pytest.approx(3.0 * (len(crops) - 4))
    assert progress["unknown"] == len(rows) - len(crops)
    assert client_of("bob").get("/api/progress").json()["seconds_left"] is None


def test_quality_is_told_of_what_is_answered_so_far_in_the_file_or_not(project):
    folder, rows = project
    client = client_of()
    for row in rows:
        if row["task"] == "group":
            answer(client, row["item_id"], "wipe")
    before = client.get("/api/quality").json()
    pooled = before["bounds"][0]
    assert (pooled["label"], pooled["looked"]) == ("all together", 0)
    assert [one["label"] for one in before["bounds"][1:]] == [*ACTIONS, NG]
    for item in items_of(client, "audit"):
        assert answer(client, item["item_id"], "wipe").status_code == 200
    now = client.get("/api/quality").json()
    assert now["bounds"][0]["looked"] > 0
    assert f"{now['bounds'][0]['looked']} looked at" in now["words"]
    assert not decisions_file(folder).exists()


def test_the_gate_names_answers_that_are_in_the_journal_alone(project):
    _, rows = project
    client = client_of()
    client.post("/api/finish")
    answer(client, first(rows, "group")["item_id"], "wipe")
    with pytest.raises(AwaitingReview, match=rf"; 1 answers are in .* `make review-export LINE={LINE}`"):
        pass_gate(LINE)
    client.post("/api/finish")
    with pytest.raises(AwaitingReview, match=r"then the same command again$"):
        pass_gate(LINE)


def test_finishing_tells_what_the_gate_waits_for_and_starts_training_when_it_opens(project, monkeypatch):
    _, rows = project
    client = client_of()
    answer(client, first(rows, "group")["item_id"], "wipe")
    assert "awaiting review" in client.post("/api/finish").json()["next"]
    monkeypatch.setattr("flows.gate.Certifier.pass_gate", lambda _: None)
    monkeypatch.setattr("flows.review_quality.start_training", lambda line: f"training of {line} is started")
    assert client.post("/api/finish").json()["next"] == f"training of {LINE} is started"


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), ValueError("column 'x' has nulls")])
def test_what_fails_after_writing_is_not_told_as_not_written(project, monkeypatch, error):
    folder, rows = project
    client = client_of()
    answer(client, first(rows, "group")["item_id"], "wipe")
    monkeypatch.setattr("flows.gate.Certifier.pass_gate", MagicMock(side_effect=error))
    reply = client.post("/api/finish")
    assert (reply.status_code, reply.json()["added"]) == (200, 1)
    assert f"the gate cannot be judged ({error})" in reply.json()["next"]
    assert len(read_decisions(decisions_file(folder), ACTIONS).rows) == 1


def test_the_certificate_of_another_queue_is_not_told(project):
    folder, _ = project
    client = client_of()
    with queue_made_anew(folder):
        reply = client.get("/api/quality")
    assert (reply.status_code, "the queue was made anew" in reply.json()["detail"]) == (409, True)


@pytest.mark.parametrize("field", ["item_id", "decided"])
def test_text_that_no_encoding_holds_is_refused(project, field):
    folder, rows = project
    body = {"item_id": first(rows, "group")["item_id"], "decided": "wipe", "seconds": 1.0, "seen": 0}
    content = json.dumps({"answers": [body | {field: "\ud800"}], "version": "1"})
    reply = client_of().post("/api/decisions", content=content, headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert f"body.answers.0.{field}: " in reply.json()["detail"]
    assert not written_or_pending(folder)


def test_screens_are_kept_out_of_git():
    assert "/screenshots/" in (Path(__file__).resolve().parents[2] / ".gitignore").read_text().split()


def waiting_audits(client):
    """Item ids of the random crops that the page asks, in its order."""
    return [item["item_id"] for item in items_of(client, "audit") if item["asked"] and not item["decided"]]


@pytest.fixture
def named(project):
    """A client of a line on which all is decided but the random crops; what there is to say; and the queue's rows."""
    _, rows = project
    client, said = client_of(), answers_of(rows)
    for row in rows:
        if row["task"] != "audit":
            assert answer(client, row["item_id"], said[row["item_id"]]).status_code == 200
    return client, said, rows


def gate_opens(client):
    client.post("/api/finish")
    try:
        pass_gate(LINE)
    except AwaitingReview:
        return False
    return True


def test_random_crops_are_asked_until_the_gate_opens_and_no_longer(named):
    client, said, rows = named
    audits = [row["item_id"] for row in rows if row["task"] == "audit"]
    asked = waiting_audits(client)
    assert 0 < len(asked) < len(audits)
    assert asked == [item for item in audits if item in set(asked)]  # in the queue's random order
    calibrating = [row["item_id"] for row in rows if row["reason"] == CALIBRATES]
    needed = client.get("/api/quality").json()["bounds"][0]["needed"]
    assert (asked[: len(calibrating)], len(asked)) == (calibrating, len(calibrating) + needed)
    for place, item in enumerate(asked):
        assert not gate_opens(client)
        progress = answer(client, item, said[item]).json()["progress"]
        assert progress["waiting"]["audit"] == progress["total"] - progress["decided"] == len(asked) - place - 1
        assert bool(progress["certified"]) == (item == asked[-1])
    assert gate_opens(client)
    assert "36 accepted crops: 0.0%, at most 8.3%" in progress["certified"]
    assert progress["unasked"] == len(audits) - len(asked)
    again = client_of()
    assert not waiting_audits(again)
    assert again.get("/api/progress").json()["unknown"] == 0


def test_a_wrong_label_makes_more_random_crops_asked(named):
    client, said, rows = named
    calibrating = {row["item_id"] for row in rows if row["reason"] == CALIBRATES}
    before = [item for item in waiting_audits(client) if item not in calibrating]
    wrong = next(label for label in ACTIONS if label != said[before[0]])
    answer(client, before[0], wrong)
    now = [item for item in waiting_audits(client) if item not in calibrating]
    assert len(now) > len(before)
    assert now[: len(before) - 1] == before[1:]


def test_more_random_crops_than_are_asked_may_be_answered(named):
    client, said, _ = named
    for item in waiting_audits(client):
        answer(client, item, said[item])
    before = client.get("/api/progress").json()
    beyond = next(item["item_id"] for item in items_of(client, "audit") if not item["asked"])
    now = answer(client, beyond, said[beyond]).json()
    assert (now["items"][0]["decided"], now["items"][0]["asked"]) == (said[beyond], True)
    progress = now["progress"]
    assert (progress["decided"], progress["unasked"]) == (before["decided"] + 1, before["unasked"] - 1)
    assert progress["certified"]


def test_a_name_taken_back_when_the_bound_was_met_opens_the_question_until_it_is_given_again(named):
    client, said, rows = named
    for item in waiting_audits(client):
        answer(client, item, said[item])
    group = first(rows, "group")["item_id"]
    answer(client, group, "withdrawn", seen=1)
    assert waiting_audits(client)
    assert not client.get("/api/progress").json()["certified"]
    assert not gate_opens(client)
    progress = answer(client, group, said[group], seen=2).json()["progress"]
    assert progress["waiting"]["audit"] > 0  # as it was when they were looked at last
    assert not waiting_audits(client)
    assert client.get("/api/progress").json()["certified"]
    assert gate_opens(client)


def test_where_the_policy_wants_no_certificate_no_random_crop_is_asked(project):
    folder, rows = project
    configure(folder, dataset=json.loads(json.dumps(asdict(dataset_params(policy="none")))))
    client = client_of()
    audits = [row["item_id"] for row in rows if row["task"] == "audit"]
    progress = client.get("/api/progress").json()
    assert (progress["total"], progress["unasked"]) == (len(rows) - len(audits), len(audits))
    assert not waiting_audits(client)
    assert [one["waiting"] for one in progress["sets"] if one["task"] == "audit"] == [0]
    assert answer(client, audits[0], "wipe").json()["progress"]["decided"] == 1


def test_an_answer_is_saved_although_nothing_can_be_certified(named, monkeypatch):
    client, said, _ = named
    (item, *_) = waiting_audits(client)
    monkeypatch.setattr("flows.gate.certify", raising_input_error)
    assert answer(client, item, said[item]).json()["items"][0]["decided"] == said[item]
    assert "no tables" in client.get("/api/quality").json()["detail"]


def raising_input_error(*_):
    raise InputError("no tables")
