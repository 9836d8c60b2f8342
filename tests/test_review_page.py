"""The review page in Chromium, served by `flows.review` as a person starts it: what it shows as saved is saved."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import ConsoleMessage, Page, expect, sync_playwright

from lineact.decisions import read_decisions
from tests.labelled_line import ACTIONS
from tests.reviewed_line import LINE, configure, decisions_file, write_project

ROOT = Path(__file__).resolve().parents[1]
DESK_WH, TABLET_WH = (1280, 800), (820, 1180)
START_S = 120
SCREW, WIPE = ACTIONS
pytestmark = pytest.mark.browser
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def chromium():
    """Debian's Chromium."""
    path = shutil.which("chromium")
    assert path, "no chromium; run `make system` as root"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@dataclass
class Server:
    """`python -m flows.review` in a project folder, always on the same port."""

    folder: Path
    port: int
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        log = self.folder / "review.log"
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.review", f"line={LINE}", f"port={self.port}", "reviewer=ann"],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None, f"flows.review ended:\n{log.read_text()}"
            assert time.monotonic() < deadline_s, f"no page within {START_S} s:\n{log.read_text()}"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            httpx.get(self.url)
        except httpx.TransportError:
            return False
        return True

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The server, and the queue's rows."""
    folder = tmp_path_factory.mktemp("project")
    rows = write_project(folder)
    server = Server(folder, free_port())
    server.start()
    yield server, rows
    server.kill()


@dataclass
class Window:
    """A browser window on the page.

    Attributes:
        page: playwright's handle.
        rows: the queue, by item id.
        errors: of the browser's console; a test takes out those that it provokes.
    """

    page: Page
    rows: dict[str, dict]
    errors: list[str] = field(default_factory=list)

    def note(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.errors.append(said.text)

    @property
    def item_id(self) -> str:
        return self.page.locator("#about").get_attribute("title") or ""

    def look_at(self, view: str) -> None:
        self.page.locator(f"#view-{view}").click()
        if view == "frames":
            expect(self.page.locator("#frame")).to_be_visible()

    def resize(self, size_wh: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size_wh[0], "height": size_wh[1]})

    def decided(self, count: int) -> None:
        """Waits until so many items are shown as decided, and the next one's picture is there."""
        expect(self.page.locator("#progress")).to_contain_text(f"{count} of {len(self.rows)} decided")
        expect(self.page.locator("#loading")).to_be_hidden()

    def says(self, text: str) -> None:
        expect(self.page.get_by_role("status")).to_contain_text(text)

    def state(self, text: str) -> None:
        expect(self.page.locator("#about b")).to_have_text(text)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=re.compile(rf"^{re.escape(name)}\b")).click()

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        """A frame's point in pixels of the window."""
        place = self.page.locator("#frame").bounding_box()
        assert place is not None
        return place["x"] + x * place["width"] / 320, place["y"] + y * place["height"] / 180

    def draw(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self.page.mouse.move(*self.on_screen(x1, y1))
        self.page.mouse.down()
        self.page.mouse.move(*self.on_screen((x1 + x2) / 2, y2))
        self.page.mouse.move(*self.on_screen(x2, y2))
        self.page.mouse.up()

    def select(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.on_screen(x, y))


@pytest.fixture
def open_window(chromium, started):
    """Opens windows on an undecided line; afterwards none has an error or has asked another machine."""
    server, rows = started
    decisions_file(server.folder).unlink(missing_ok=True)
    windows: list[Window] = []
    asked: list[str] = []
    contexts = []

    def opened(size_wh: tuple[int, int] = DESK_WH, **settings) -> Window:
        context = chromium.new_context(viewport={"width": size_wh[0], "height": size_wh[1]}, **settings)
        context.on("request", lambda request: asked.append(request.url))
        contexts.append(context)
        window = Window(context.new_page(), {row["item_id"]: row for row in rows})
        window.page.on("console", window.note)
        window.page.on("pageerror", lambda error: window.errors.append(str(error)))
        window.page.goto(server.url)
        expect(window.page.locator("#views button")).to_have_count(3)
        windows.append(window)
        return window

    yield opened
    for context in contexts:
        context.close()
    assert [window.errors for window in windows if window.errors] == []
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []


def saved_in(server: Server) -> dict[str, str]:
    """Item to what decisions.csv says of it; every row is usable."""
    decisions = read_decisions(decisions_file(server.folder), ACTIONS)
    assert not decisions.bad
    return {row.item_id: row.decided for row in decisions.rows}


def written_rows(server: Server) -> list[tuple[str, str]]:
    with decisions_file(server.folder).open(newline="", encoding="utf-8") as stream:
        return [(row["item_id"], row["decided"]) for row in csv.DictReader(stream)]


def rounded(boxes: str, digits: int = 0) -> list:
    return [[*(round(value, digits) for value in box[:4]), box[4]] for box in json.loads(boxes)]


@pytest.mark.parametrize("size_wh", [DESK_WH, TABLET_WH], ids=["desk", "tablet"])
def test_what_keyboard_and_mouse_decide_is_in_the_file_and_on_the_page_again(open_window, started, size_wh):
    server, _ = started
    window = open_window(size_wh)
    decided = {window.item_id: WIPE}
    window.press("2")
    window.decided(1)
    decided[window.item_id] = "mixed"
    window.click("mixed")
    window.decided(2)
    window.look_at("crops")
    for answer, label in ((lambda: window.press("1"), SCREW), (lambda: window.click("NG"), "NG")):
        decided[window.item_id] = label
        answer()
        window.decided(len(decided))
    window.look_at("frames")

    drawn_on = window.item_id
    old = json.loads(window.rows[drawn_on]["suggested"])[0][:4]
    window.draw(240, 20, 290, 60)
    window.press("1")
    window.select((old[0] + old[2]) / 2, (old[1] + old[3]) / 2)
    window.press("n", "Enter")
    window.decided(5)

    assert window.rows[window.item_id]["suggested"] == "empty"
    decided[window.item_id] = "empty"
    window.press("e")
    window.decided(6)

    deleted_on = window.item_id
    x1, y1, x2, y2 = json.loads(window.rows[deleted_on]["suggested"])[0][:4]
    window.draw(250, 130, 300, 170)
    window.click(WIPE)
    window.select((x1 + x2) / 2, (y1 + y2) / 2)
    window.press("Delete")
    window.press("Enter")
    window.decided(7)

    saved = saved_in(server)
    near = rounded(saved.pop(drawn_on))
    assert near[0] == [*old, "NG"]
    assert near[1][4] == SCREW
    assert near[1][:4] == pytest.approx([240, 20, 290, 60], abs=1)
    (kept,) = rounded(saved.pop(deleted_on))
    assert kept[4] == WIPE
    assert kept[:4] == pytest.approx([250, 130, 300, 170], abs=1)
    assert saved == decided
    assert len(written_rows(server)) == 7

    window.page.reload()
    window.decided(7)
    window.look_at("groups")
    window.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
    window.state(f"saved: {WIPE}")
    window.look_at("frames")
    window.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
    window.state(f"saved: 2 hands (NG, {SCREW})")
    window.press("ArrowRight")
    window.state("saved: no hand on this frame")


def test_changes_of_boxes_and_saved_answers_are_undone(open_window, started):
    server, _ = started
    window = open_window()
    group = window.item_id
    window.press("1")
    window.decided(1)
    window.click("undo")
    window.decided(0)
    assert window.item_id == group
    window.state("not decided")
    assert saved_in(server) == {}
    window.press("2")
    window.decided(1)
    window.look_at("groups")
    window.press("ArrowLeft", "m")
    window.says("Saved: mixed")
    window.press("Control+z")
    window.says("Taken back: mixed")
    window.state(f"saved: {WIPE}")
    assert saved_in(server) == {group: WIPE}
    assert [decided for _, decided in written_rows(server)] == [SCREW, "withdrawn", WIPE, "mixed", WIPE]

    window.look_at("frames")
    frame = window.item_id
    window.draw(240, 20, 290, 60)
    window.press("1")
    window.state("changed, not saved")
    window.press("u", "u")
    window.state("not decided")
    window.press("2", "Enter")
    window.decided(2)
    assert [box[4] for box in json.loads(saved_in(server)[frame])] == [WIPE]
    window.press("u")
    window.decided(1)
    assert window.item_id == frame
    window.state("changed, not saved")  # what was drawn is there still
    window.press("Enter")
    window.decided(2)


def test_a_killed_server_loses_nothing_that_was_shown_as_saved(open_window, started):
    server, _ = started
    window = open_window()
    shown = {}
    for key, label in (("1", SCREW), ("n", "NG"), ("2", WIPE)):
        for _ in range(2):
            shown[window.item_id] = label
            window.press(key)
            window.decided(len(shown))
        server.kill()
        assert saved_in(server) == shown
        waiting = window.item_id
        window.press("1")
        window.says("Not saved")
        assert window.item_id == waiting
        assert any("CONNECTION_REFUSED" in error for error in window.errors)
        window.errors.clear()
        server.start()
    shown[window.item_id] = SCREW
    window.press("1")  # the same page goes on
    window.decided(7)
    window.page.reload()
    window.decided(7)
    assert saved_in(server) == shown
    assert len(written_rows(server)) == 7


def test_a_kill_while_it_saves_leaves_a_whole_file(open_window, started):
    server, rows = started
    window = open_window()
    window.look_at("crops")
    answered = sum(row["task"] in ("crop", "audit") for row in rows)
    for count in range(3):
        before = window.item_id
        window.press("1")
        server.kill()
        server.start()
        saved = saved_in(server) if decisions_file(server.folder).exists() else {}
        window.page.reload()
        window.decided(len(saved))
        assert set(saved.values()) <= {SCREW}
        assert len(saved) <= count + 1 <= answered
        window.look_at("crops")
        assert (window.item_id != before) == (before in saved)
        window.errors.clear()


def test_an_answer_whose_reply_was_lost_is_given_again_without_harm(open_window, started):
    server, _ = started
    window = open_window()
    for key, view in (("1", "groups"), ("e", "frames")):
        window.look_at(view)
        item = window.item_id

        def lose(route):
            route.fetch()
            route.abort()

        window.page.route("**/api/decisions", lose)
        window.press(key)
        window.says("Not saved for certain")
        window.page.unroute("**/api/decisions")
        window.press(key)
        window.says("Saved")
        assert window.item_id != item
    assert [decided for _, decided in written_rows(server)] == [SCREW, "empty"]
    assert all("net::ERR_FAILED" in error or "409" in error for error in window.errors)
    window.errors.clear()


def test_two_windows_do_not_overwrite_each_other(open_window, started):
    server, _ = started
    one, other = open_window(), open_window()
    group = one.item_id
    assert other.item_id == group
    one.press("1")
    one.decided(1)
    other.press("2")
    other.says(f'another window decided "{SCREW}"')
    other.decided(1)
    other.state(f"saved: {SCREW}")
    assert saved_in(server) == {group: SCREW}
    one.press("ArrowLeft")
    other.press("ArrowRight", "m")
    other.decided(2)
    other.press("ArrowLeft", "ArrowLeft", "2")  # now it was seen, so it may be replaced
    other.says("Saved: wipe")
    one.press("u")
    one.says(f'another window decided "{WIPE}"')
    one.decided(2)
    saved = saved_in(server)
    assert saved.pop(group) == WIPE
    assert list(saved.values()) == ["mixed"]
    for window in (one, other):
        assert all("409" in error for error in window.errors)
        window.errors.clear()


def test_unsaved_boxes_are_kept_while_looking_elsewhere_and_through_a_reload(open_window, started):
    server, _ = started
    window = open_window()
    window.look_at("frames")
    frame = window.item_id
    window.draw(240, 20, 290, 60)
    window.press("1", "ArrowRight")
    window.look_at("groups")
    window.page.reload()
    window.look_at("frames")
    assert window.item_id == frame
    window.state("changed, not saved")
    window.press("2", "Enter")
    window.decided(1)
    assert [box[4] for box in json.loads(saved_in(server)[frame])] == [WIPE, SCREW]


def test_a_box_without_action_and_a_frame_without_box_are_not_saved_by_enter(open_window, started):
    server, _ = started
    window = open_window()
    window.look_at("frames")
    window.press("Enter")
    window.says("A box has no action yet")
    window.press("Delete", "Enter")
    window.says("No box")
    window.press("Delete")
    window.says("Click a box first")
    window.decided(0)
    assert not decisions_file(server.folder).exists()


def test_enter_belongs_to_the_button_that_the_keyboard_stands_on(open_window, started):
    server, _ = started
    window = open_window()
    window.look_at("frames")
    window.page.locator("#remove").focus()
    window.press("Enter")
    window.state("changed, not saved")
    assert window.page.evaluate("document.activeElement.id") == "remove"
    window.press("u")
    window.page.evaluate("document.activeElement.blur()")
    window.click(WIPE)
    window.press("Enter")  # after a click by mouse it saves
    window.decided(1)
    assert [json.loads(decided)[0][4] for decided in saved_in(server).values()] == [WIPE]


def test_keyboard_keeps_its_place_and_shows_it(open_window):
    window = open_window()
    for _ in range(20):
        window.press("Tab")
        if window.page.evaluate("document.activeElement.id") == "label-1":
            break
    for count in (1, 2):
        window.press("Enter")
        window.decided(count)
        assert window.page.evaluate("document.activeElement.id") == "label-1"
    outline = (
        "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"
    )
    assert window.page.evaluate(outline) == "solid3px"


def test_digit_keys_count_where_they_need_shift(open_window):
    window = open_window()
    window.page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'é', code: 'Digit2'}))")
    window.says(f"Saved: {WIPE}")


def test_every_task_fits_the_screen_and_tells_its_keys(open_window):
    window = open_window()
    for size_wh, turned_from in ((DESK_WH, TABLET_WH), (TABLET_WH, DESK_WH)):
        for view, least_px in (("groups", 160), ("crops", 400), ("frames", 640)):
            window.resize(turned_from)
            window.look_at(view)
            window.resize(size_wh)  # turned while it is shown
            picture = window.page.locator("#frame" if view == "frames" else "#crops img").first
            expect(picture).to_be_in_viewport(ratio=1)
            assert picture.bounding_box()["width"] >= least_px
            for button in window.page.locator("button").all():
                expect(button).to_be_in_viewport(ratio=1)
                assert button.inner_text().strip()
                assert button.bounding_box()["height"] >= 44  # a fingertip
            keys = window.page.locator("#labels kbd").all_inner_texts()
            assert keys[:3] == ["1", "2", "N"]
            assert keys[3:] == {"groups": ["M"], "crops": [], "frames": ["Del", "E", "Enter"]}[view]
            overflow = "document.documentElement.scrollWidth - innerWidth"
            assert window.page.evaluate(overflow) <= 0


def test_a_fingertip_draws_and_selects(open_window, started):
    server, _ = started
    window = open_window(TABLET_WH, has_touch=True)
    window.look_at("frames")
    x1, y1, x2, y2 = json.loads(window.rows[window.item_id]["suggested"])[0][:4]
    touch = window.page.context.new_cdp_session(window.page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    send("touchStart", window.on_screen(240, 20))
    send("touchMove", window.on_screen(270, 50))
    send("touchMove", window.on_screen(290, 60))
    send("touchEnd")
    window.page.locator("#label-0").tap()
    window.page.touchscreen.tap(*window.on_screen((x1 + x2) / 2, (y1 + y2) / 2))
    window.page.locator("#label-1").tap()
    window.page.locator("#save").tap()
    window.decided(1)
    (decided,) = saved_in(server).values()
    old, new = rounded(decided)
    assert old == [x1, y1, x2, y2, WIPE]
    assert new[4] == SCREW
    assert new[:4] == pytest.approx([240, 20, 290, 60], abs=1)


def test_the_end_names_the_next_command(open_window, started):
    server, rows = started
    window = open_window()
    for count, row in enumerate(rows):
        window.state("not decided")
        window.press("e" if row["task"] == "box" else "1")
        window.decided(count + 1)
    window.says(f"All decided. Now run: python -m flows.retrain line={LINE}")
    assert [item for item, _ in written_rows(server)] == [row["item_id"] for row in rows]


def test_a_simulated_line_is_looked_at_only(open_window, started):
    server, _ = started
    server.kill()
    configure(server.folder, simulate_review={"error_rate": 0.0})
    try:
        server.start()
        window = open_window()
        window.says("looking only")
        expect(window.page.locator("#labels button").first).to_be_disabled()
        window.press("1")
        window.look_at("frames")
        window.draw(240, 20, 290, 60)
        window.press("1", "Enter")
        window.says("looking only")
        window.decided(0)
        assert not decisions_file(server.folder).exists()
    finally:
        server.kill()
        configure(server.folder)
        server.start()
