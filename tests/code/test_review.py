"""The review page: what it shows, what it saves, and what it refuses."""

import json
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from flows.review import main, read_reviewed, review_app
from lineact.decisions import NG, boxes_of_text, read_decisions
from lineact.errors import ConfigError, InputError
from lineact.png import decode_png
from lineact.video import read_frames, videos_by_sha256
from tests.generated_videos import SIZE_WH
from tests.labelled_line import ACTIONS
from tests.reviewed_line import LINE, configure, decisions_file, write_project


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
    decisions_file(folder).unlink(missing_ok=True)
    return folder, rows


def client_of(reviewer="ann"):
    return TestClient(review_app(read_reviewed(LINE, reviewer)), base_url="http://127.0.0.1")


def answer(client, item_id, decided, seconds=1.5, shown=""):
    body = {"item_id": item_id, "decided": decided, "shown": shown, "seconds": seconds}
    return client.post("/api/decisions", json=body)


def first(rows, task):
    return next(row for row in rows if row["task"] == task)


def test_shows_every_item_once_and_nothing_decided(project):
    _, rows = project
    state = client_of().get("/api/line").json()
    assert [item["item_id"] for item in state["items"]] == [row["item_id"] for row in rows]
    assert not any(item["decided"] for item in state["items"])
    assert state["labels"]["group"] == [*ACTIONS, "NG", "mixed"]
    assert state["labels"]["box"] == [*ACTIONS, "NG"]
    assert state["next"] == f"python -m flows.retrain line={LINE}"


@pytest.mark.usefixtures("project")
def test_page_runs_without_inline_script_or_other_hosts():
    client = client_of()
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "http" not in page.text
    for name in ("review.js", "review.css"):
        assert f"/page/{name}" in page.text
        assert client.get(f"/page/{name}").status_code == 200
    assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 400


def test_answer_is_in_the_file_before_the_reply(project):
    folder, rows = project
    client, row = client_of(), first(rows, "group")
    reply = answer(client, row["item_id"], ACTIONS[0])
    (decision,) = read_decisions(decisions_file(folder), ACTIONS).rows
    assert (decision.item_id, decision.task, decision.decided) == (row["item_id"], "group", ACTIONS[0])
    assert (decision.basis, decision.suggested) == (row["basis"], row["suggested"])
    assert (decision.reviewer, decision.seconds) == ("ann", 1.5)
    assert [item["item_id"] for item in reply.json()["items"] if item["decided"]] == [row["item_id"]]


def test_second_answer_takes_the_place_of_the_first_which_stays_in_the_file(project):
    folder, rows = project
    client, row = client_of(), first(rows, "crop")
    answer(client, row["item_id"], ACTIONS[0])
    answer(client, first(rows, "group")["item_id"], "mixed")
    answer(client, row["item_id"], NG, shown=ACTIONS[0])
    decisions = read_decisions(decisions_file(folder), ACTIONS)
    assert decisions.by_item[row["item_id"]].decided == NG
    assert [old.decided for old in decisions.superseded] == [ACTIONS[0]]
    assert len(decisions.rows) == 2


def test_named_group_is_suggested_for_its_crops_and_boxes_but_not_for_the_audit(project):
    _, rows = project
    client = client_of()
    for row in rows:
        if row["task"] == "group":
            assert answer(client, row["item_id"], "wipe").status_code == 200
    state = {item["item_id"]: item for item in client.get("/api/line").json()["items"]}
    for row in rows:
        suggested = state[row["item_id"]]["suggested"]
        if row["task"] == "crop":
            assert suggested == ("wipe" if row["suggested"] else "")
        elif row["task"] == "audit":
            assert suggested == ""
        elif row["task"] == "box":
            expected = [(box.box_xyxy_px, "wipe" if box.action else "") for box in boxes_of_text(row["suggested"])]
            assert [(box.box_xyxy_px, box.action) for box in boxes_of_text(suggested)] == expected
    assert any(row["task"] == "crop" and row["suggested"] for row in rows)
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


def test_boxes_and_empty_frames_are_saved(project):
    folder, rows = project
    client = client_of()
    one, other = [row["item_id"] for row in rows if row["task"] == "box"][:2]
    boxes = [[1, 2, 30.5, 40, "wipe"], [50, 60, *SIZE_WH, NG]]
    assert answer(client, one, json.dumps(boxes)).status_code == 200
    assert answer(client, other, "empty").status_code == 200
    saved = read_decisions(decisions_file(folder), ACTIONS).by_item
    assert json.loads(saved[one].decided) == boxes
    assert saved[other].decided == "empty"


def test_answer_does_not_take_the_place_of_one_that_its_window_did_not_show(project):
    folder, rows = project
    client, row = client_of(), first(rows, "crop")
    answer(client, row["item_id"], ACTIONS[0])
    for decided in (ACTIONS[1], "withdrawn"):
        reply = answer(client, row["item_id"], decided, shown="")
        assert (reply.status_code, reply.json()["detail"]) == (409, f"decided in another window: {ACTIONS[0]}")
    answer(client, row["item_id"], "withdrawn", shown=ACTIONS[0])
    assert answer(client, row["item_id"], NG, shown=ACTIONS[0]).status_code == 409
    assert not read_decisions(decisions_file(folder), ACTIONS).rows


@pytest.mark.parametrize("task", ["group", "crop", "audit", "box"])
def test_what_is_taken_back_waits_again_and_stays_in_the_file(project, task):
    folder, rows = project
    client, row = client_of(), first(rows, task)
    decided = "empty" if task == "box" else "wipe"
    answer(client, row["item_id"], decided)
    assert answer(client, row["item_id"], "withdrawn", shown=decided).status_code == 200
    decisions = read_decisions(decisions_file(folder), ACTIONS)
    assert not decisions.rows
    assert [old.decided for old in decisions.superseded] == [decided, "withdrawn"]
    assert not any(item["decided"] for item in client.get("/api/line").json()["items"])
    assert answer(client, row["item_id"], decided).status_code == 200
    (again,) = read_decisions(decisions_file(folder), ACTIONS).rows
    assert again.decided == decided


@pytest.mark.usefixtures("project")
def test_browser_asks_again_for_every_file():
    client = client_of()
    for path in ("/", "/page/review.js", "/api/line"):
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
    ],
)
def test_wrong_answers_are_refused_and_not_written(project, task, decided):
    folder, rows = project
    assert answer(client_of(), first(rows, task)["item_id"], decided).status_code == 422
    assert not decisions_file(folder).exists()


def test_unknown_items_are_refused(project):
    folder, rows = project
    client = client_of()
    assert answer(client, "group:999", "wipe").status_code == 404
    assert client.get("/api/crop", params={"box_id": "../params.yaml"}).status_code == 404
    assert client.get("/api/frame", params={"item_id": first(rows, "group")["item_id"]}).status_code == 404
    assert answer(client, first(rows, "group")["item_id"], "wipe", seconds=-1).status_code == 422
    assert client.post("/api/decisions", json={"item_id": "group:0"}).status_code == 422
    assert not decisions_file(folder).exists()


def test_crop_is_the_stored_picture(project):
    _, rows = project
    client = client_of()
    for box_id in first(rows, "group")["box_ids"]:
        reply = client.get("/api/crop", params={"box_id": box_id})
        assert reply.status_code == 200
        assert decode_png(reply.content).shape == (32, 32, 3)


@pytest.mark.parametrize("task", ["crop", "audit", "box"])
def test_crops_and_frames_stay_decided_when_something_else_was_shown(project, task):
    """As the pipeline takes them: a crop's box is there still, a frame's decision tells all its hands."""
    folder, rows = project
    row, decided = first(rows, task), "empty" if task == "box" else "wipe"
    answer(client_of(), row["item_id"], decided)
    path = decisions_file(folder)
    path.write_text(path.read_text().replace(row["basis"], "0" * 16))
    state = {item["item_id"]: item for item in client_of().get("/api/line").json()["items"]}
    assert (state[row["item_id"]]["decided"], state[row["item_id"]]["outdated"]) == (decided, "")


def test_crop_found_again_a_little_elsewhere_stays_decided(project):
    folder, rows = project
    row = first(rows, "crop")
    answer(client_of(), row["item_id"], "wipe")
    path = decisions_file(folder)
    head, x1 = row["item_id"].split("#")[0], int(row["item_id"].split("#")[1].split("-")[0])
    for by_px, decided in ((3, "wipe"), (300, "")):
        moved = path.read_text().replace(f"{head}#{x1}-", f"{head}#{x1 - by_px}-")
        path.write_text(moved)
        state = {item["item_id"]: item for item in client_of().get("/api/line").json()["items"]}
        assert state[row["item_id"]]["decided"] == decided
        x1 -= by_px


def test_crop_found_again_a_little_elsewhere_can_be_taken_back(project):
    folder, rows = project
    row = first(rows, "crop")
    client = client_of()
    answer(client, row["item_id"], "wipe")
    path = decisions_file(folder)
    head, x1 = row["item_id"].split("#")[0], int(row["item_id"].split("#")[1].split("-")[0])
    path.write_text(path.read_text().replace(f"{head}#{x1}-", f"{head}#{x1 - 3}-"))
    assert answer(client, row["item_id"], "withdrawn", shown="wipe").status_code == 200
    state = {item["item_id"]: item for item in client_of().get("/api/line").json()["items"]}
    assert state[row["item_id"]]["decided"] == ""


def test_name_of_a_group_that_shows_other_pictures_waits_again(project):
    folder, rows = project
    row = first(rows, "group")
    answer(client_of(), row["item_id"], "wipe")
    path = decisions_file(folder)
    path.write_text(path.read_text().replace(row["basis"], "0" * 16))
    item = client_of().get("/api/line").json()["items"][0]
    assert (item["item_id"], item["decided"], item["outdated"]) == (row["item_id"], "", "wipe")


def test_simulated_line_is_shown_only(project):
    folder, rows = project
    configure(folder, simulate_review={"error_rate": 0.0})
    client = client_of()
    assert client.get("/api/line").json()["simulated"] is True
    reply = answer(client, first(rows, "group")["item_id"], "wipe")
    assert (reply.status_code, reply.json()["detail"]) == (403, "simulated reviewer: looking only")
    assert not decisions_file(folder).exists()


@pytest.mark.usefixtures("project")
def test_line_without_queue_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr("flows.review.stages_of", lambda _: ["queue"])
    with pytest.raises(InputError, match=r"python -m flows\.label_line line=other"):
        read_reviewed("other", "ann")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"python -m flows\.label_line line={LINE}"):
        read_reviewed(LINE, "ann")


def test_unusable_row_is_told_at_the_start_and_kept(project):
    folder, rows = project
    answer(client_of(), first(rows, "group")["item_id"], "wipe")
    client, path = client_of(), decisions_file(folder)
    path.write_text(path.read_text().replace("wipe", "paint"))
    before = path.read_bytes()
    reply = answer(client, first(rows, "crop")["item_id"], "wipe")
    assert reply.status_code == 500
    assert "paint" in reply.json()["detail"]
    assert path.read_bytes() == before
    shown = client.get("/api/line")
    assert (shown.status_code, "paint" in shown.json()["detail"]) == (500, True)
    with pytest.raises(InputError, match="row 2"):
        read_reviewed(LINE, "ann")


@pytest.mark.usefixtures("project")
def test_unusable_ports_are_refused(monkeypatch):
    for port in ("0", "65536", "http", "-1"):
        monkeypatch.setattr("sys.argv", ["review", f"line={LINE}", f"port={port}"])
        with pytest.raises(ConfigError, match="65535"):
            main()
