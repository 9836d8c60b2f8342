"""A real Label Studio: it is installed into a folder of its own, started on this machine alone, and used by its API.

Needs the package index, 0.8 GB and some minutes, so CI leaves it out: `make try-label-studio`.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from flows.export_labels import export_labels
from flows.import_labels import import_labels
from lineact.decisions import boxes_of_text, read_decisions
from tests.labelled_line import ACTIONS
from tests.reviewed_line import LINE, decisions_file, write_project

pytestmark = [pytest.mark.label_studio, pytest.mark.timeout(1800)]
VERSION = "1.23.2"
FOLDER = Path(__file__).resolve().parents[1] / ".lineact" / "label_studio"  # kept: the next run starts at once
ADA = "ada@example.com"
START_S, STOP_S = 900, 20
QUIET = {  # it would tell its maker of its use, and ask for newer versions
    "COLLECT_ANALYTICS": "false",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
}


@pytest.fixture(scope="module")
def program() -> Path:
    """The installed program."""
    installed = FOLDER / VERSION
    if not (installed / "ready").exists():
        started_s = time.monotonic()
        shutil.rmtree(FOLDER, ignore_errors=True)
        uv = shutil.which("uv")
        make = [uv, "venv", "-q"] if uv else [sys.executable, "-m", "venv"]
        install = [uv, "pip", "install", "-q", "--python"] if uv else []
        python = str(installed / "bin" / "python")
        subprocess.run([*make, str(installed)], check=True)
        command = [*install, python] if uv else [python, "-m", "pip", "install", "-q"]
        subprocess.run([*command, f"label-studio=={VERSION}"], check=True)
        (installed / "ready").touch()
        print(f"label-studio {VERSION} installed in {time.monotonic() - started_s:.0f} s")
    return installed / "bin" / "label-studio"


@pytest.fixture(scope="module")
def server(program, tmp_path_factory) -> Iterator[httpx.Client]:
    """A client of a server with a data folder of its own and one user, Ada."""
    data = tmp_path_factory.mktemp("label_studio")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    token, log = secrets.token_hex(20), data / "log.txt"
    command = [str(program), "start", "--no-browser", "--data-dir", str(data), "--internal-host", "127.0.0.1"]
    command += ["--port", str(port), "--username", ADA, "--password", secrets.token_hex(8)]
    command += ["--user-token", token, "--enable-legacy-api-token"]
    started_s = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=data, env=os.environ | QUIET, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    headers = {"Authorization": f"Token {token}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120, trust_env=False) as client:
            while not _answers(client):
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < started_s + START_S, log.read_text()[-3000:]
                time.sleep(1)
            print(f"label-studio answers after {time.monotonic() - started_s:.0f} s")
            yield client
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/version").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def queue(tmp_path, monkeypatch) -> dict[str, dict]:
    """The queue of a line that waits for review; its project is the working folder."""
    rows = write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return {row["item_id"]: row for row in rows}


def project_of(client: httpx.Client, name: str) -> tuple[int, list[dict]]:
    """A project with an exported set, and its tasks by id."""
    config = Path("out", f"{name}.xml").read_text()
    project = _of(client.post("/api/projects", json={"title": name, "label_config": config}))["id"]
    with Path("out", f"{name}.json").open("rb") as stream:
        imported = _of(client.post(f"/api/projects/{project}/import", files={"file": (f"{name}.json", stream)}))
    given = json.loads(Path("out", f"{name}.json").read_text())
    assert imported["task_count"] == len(given)
    assert imported["prediction_count"] == sum(len(task["predictions"]) for task in given)
    listed = _of(client.get("/api/tasks", params={"project": project, "fields": "all", "page_size": 1000}))["tasks"]
    return project, sorted(listed, key=lambda task: task["id"])


def annotate(client: httpx.Client, tasks: list[dict], result_of: Callable[[list[dict]], list[dict]]) -> None:
    """Takes each task's prediction, changes it and submits it, as the page does."""
    for task in tasks:
        predicted = [region for one in task["predictions"] for region in one["result"]]
        _of(
            client.post(f"/api/tasks/{task['id']}/annotations", json={"result": result_of(predicted), "lead_time": 3.5})
        )


def exported(client: httpx.Client, project: int) -> Path:
    """The project's export, as the page's button "Export" gives it, with tasks that nobody annotated."""
    path = Path(f"export_{project}.json")
    answer = client.get(f"/api/projects/{project}/export", params={"exportType": "JSON", "download_all_tasks": "true"})
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def reviewer_of(client: httpx.Client) -> str:
    """Ada as an export names her, which holds numbers of users alone."""
    return f"label studio user {_of(client.get('/api/current-user/whoami'))['id']}"


def _of(answer: httpx.Response) -> dict:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def test_frames_go_out_with_suggestions_and_come_back_corrected(server, queue):
    export_labels(LINE, "label_studio", "queue", Path("out"))
    project, tasks = project_of(server, "frames")
    frames = {item for item, row in queue.items() if row["task"] == "box"}
    assert len(tasks) == len(frames)
    with_hand = [task for task in tasks if task["predictions"]]
    without = [task for task in tasks if not task["predictions"]]

    def named(regions: list[dict]) -> list[dict]:
        return [region | {"value": region["value"] | {"rectanglelabels": ["wipe"]}} for region in regions]

    def moved(regions: list[dict]) -> list[dict]:
        place = {"x": 25.0, "y": 50.0, "width": 12.5, "height": 10.0, "rotation": 0}
        return [region | {"value": place | {"rectanglelabels": ["NG"]}} for region in regions]

    annotate(server, with_hand[:1], moved)
    annotate(server, with_hand[1:-2], named)
    annotate(server, with_hand[-2:-1], lambda regions: regions)  # submitted as it was: no action was chosen
    annotate(server, without, lambda _: [])
    result, merged = import_labels(LINE, "label_studio", exported(server, project), "", 0)
    print(f"frames: {len(tasks)} tasks, {merged.added} decisions, {len(result.waiting)} wait: {result.waiting}")
    assert merged.added == len(tasks) - 2
    assert len(result.waiting) == 2
    reasons = {one.rpartition(": ")[2] for one in result.waiting}
    assert reasons == {"a box without an action", "no annotation"}
    decisions = read_decisions(decisions_file(Path()), ACTIONS).by_item
    assert set(decisions) <= frames
    assert {decision.reviewer for decision in decisions.values()} == {reviewer_of(server)}
    assert {decision.seconds for decision in decisions.values()} == {3.5}
    texts = [decision.decided for decision in decisions.values()]
    assert texts.count('[[80.0, 90.0, 120.0, 108.0, "NG"]]') == 1
    assert texts.count("empty") == len(without)
    for item, decision in decisions.items():
        if decision.decided.endswith('"wipe"]]'):
            suggested = [box.box_xyxy_px for box in boxes_of_text(queue[item]["suggested"])]
            assert [box.box_xyxy_px for box in boxes_of_text(decision.decided)] == suggested
            assert decision.shown == queue[item]["basis"]


@pytest.mark.parametrize("name", ["crops", "groups"])
def test_crops_and_groups_are_named(server, queue, name):
    export_labels(LINE, "label_studio", "queue", Path("out"))
    project, tasks = project_of(server, name)
    choice = {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": ["screw"]}}
    annotate(server, tasks, lambda _: [choice])
    _, merged = import_labels(LINE, "label_studio", exported(server, project), "", 0)
    asked = {
        item for item, row in queue.items() if row["task"] in {"crops": ("crop", "audit"), "groups": ("group",)}[name]
    }
    print(f"{name}: {len(tasks)} tasks, {merged.added} decisions")
    decisions = read_decisions(decisions_file(Path()), ACTIONS).by_item
    assert set(decisions) == asked
    assert {(one.decided, one.reviewer) for one in decisions.values()} == {("screw", reviewer_of(server))}
    assert import_labels(LINE, "label_studio", exported(server, project), "", 0)[1].added == 0
