"""The review page in Chromium: the server as a person starts it, and a window that tests drive."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from playwright.sync_api import ConsoleMessage, Page, expect

from lineact.decisions import Decision, standing
from lineact.review.journal import Journal
from tests.reviewed_line import LINE, journal_file

ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "screenshots"
START_S = 300
DESK_WH, TABLET_WH, NARROW_WH = (1280, 800), (820, 1180), (390, 800)


@dataclass
class Server:
    """`python -m flows.review` in a project folder, always on the same port.

    Attributes:
        folder: the project.
        port: to listen on.
        reviewer: who answers.
        options: further arguments.
        before: what the command is started through.
    """

    folder: Path
    port: int
    reviewer: str = "ann"
    options: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def log(self) -> Path:
        return self.folder / f"review_{self.port}.log"

    def start(self) -> None:
        command = ["-m", "flows.review", f"line={LINE}", f"port={self.port}", f"reviewer={self.reviewer}"]
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, *command, *self.options],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None, f"flows.review ended:\n{self.log.read_text()}"
            assert time.monotonic() < deadline_s, f"no page within {START_S} s:\n{self.log.read_text()}"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            httpx.get(self.url)
        except httpx.TransportError:
            return False
        return True

    def kill(self, number: int = signal.SIGKILL) -> int | None:
        if self.process is None:
            return None
        os.killpg(self.process.pid, number)
        code = self.process.wait()
        self.process = None
        return code


@contextmanager
def served(folder: Path, **settings) -> Iterator[Server]:
    """A server, killed in the end."""
    server = Server(folder, free_port(), **settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def journal_rows(folder: Path) -> list[Decision]:
    """Every row that was ever saved, in order."""
    if not journal_file(folder).exists():
        return []
    journal = Journal(journal_file(folder))
    rows, _ = journal.rows_after(0)
    journal.close()
    return rows


def saved_in(folder: Path) -> dict[str, str]:
    """Item to what stands of it."""
    return {row.item_id: row.decided for row in standing(journal_rows(folder)).rows}


@dataclass
class Window:
    """A browser window on the page.

    Attributes:
        page: playwright's handle.
        rows: the queue, by item id.
        errors: of the browser's console; a test takes out those that it provokes.
        unanswered: requests on their way.
    """

    page: Page
    rows: dict[str, dict]
    errors: list[str] = field(default_factory=list)
    unanswered: int = 0

    def watch(self) -> None:
        """Notes what the page asks for and what its console says."""
        self.page.on("console", self.note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda _: self.count(1))
        self.page.on("requestfinished", lambda _: self.count(-1))
        self.page.on("requestfailed", lambda _: self.count(-1))

    def count(self, requests: int) -> None:
        self.unanswered += requests

    def note(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.errors.append(said.text)

    def settle(self) -> None:
        """Waits until nothing is on its way: the page looks ahead by itself, and that can be refused, too."""
        while self.unanswered:
            self.page.wait_for_timeout(10)

    @property
    def item_id(self) -> str:
        """The item that is shown, of a page of crops the marked one."""
        return self.page.locator("#about").get_attribute("title") or ""

    def ids(self) -> list[str]:
        """Of all crops of the page, found by moving the mark."""
        found = []
        self.press("Home")
        for _ in range(self.page.locator(".cell").count()):
            found.append(self.item_id)
            self.press("ArrowRight")
        self.press("Home")
        return found

    def look_at(self, view: str) -> None:
        self.page.locator(f"#view-{view}").click()
        expect(self.page.locator(f"#view-{view}")).to_have_class("on")
        if view == "frames":
            expect(self.page.locator("#frame")).to_be_visible()

    def look_at_set(self, name: str) -> None:
        self.look_at("crops")
        self.page.locator(f'[id="set-{name}"]').click()
        expect(self.page.locator(f'[id="set-{name}"]')).to_have_class("on")

    def resize(self, size_wh: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size_wh[0], "height": size_wh[1]})

    def decided(self, count: int) -> None:
        """Waits until so many items are shown as decided, and the next one's picture is there."""
        expect(self.page.locator("#progress")).to_have_text(re.compile(rf"^\s*{count} of \d+ decided"))
        expect(self.page.locator("#loading")).to_be_hidden()

    def says(self, text: str) -> None:
        expect(self.page.get_by_role("status")).to_contain_text(text)

    def state(self, text: str) -> None:
        expect(self.page.locator("#about b")).to_have_text(text)

    def at_place(self, text: str) -> None:
        expect(self.page.locator("#about")).to_contain_text(text)

    def press(self, *keys: str) -> None:
        """Presses each key when what the one before began is done: an answer to a page on its way is not taken."""
        for key in keys:
            self.ready()
            self.page.keyboard.press(key)

    def ready(self) -> None:
        expect(self.page.locator("#stage")).to_have_attribute("aria-busy", "false")

    def click(self, name: str) -> None:
        self.ready()
        self.page.get_by_role("button", name=re.compile(rf"^{re.escape(name)}\b")).first.click()

    def boxes(self) -> list[str]:
        """What the list beside a frame calls its boxes."""
        return self.page.locator("#boxes .box").all_inner_texts()

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        """A frame's point in pixels of the window."""
        place = self.page.locator("#frame").bounding_box()
        assert place is not None
        return place["x"] + x * place["width"] / 320, place["y"] + y * place["height"] / 180

    def drag(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self.page.mouse.move(*self.on_screen(x1, y1))
        self.page.mouse.down()
        self.page.mouse.move(*self.on_screen((x1 + x2) / 2, y2))
        self.page.mouse.move(*self.on_screen(x2, y2))
        self.page.mouse.up()

    def select(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.on_screen(x, y))

    def keep(self, name: str) -> None:
        """Keeps a screenshot for whoever wants to see what the tests saw."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")
