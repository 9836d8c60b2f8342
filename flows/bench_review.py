"""`python -m flows.bench_review [crops=100000]`: the review page under a long queue, driven in Debian's Chromium.

A generated line in a temporary folder; measured are the first page, each next page (turned, accepted, and jumped to
without any reading ahead), with all its pictures on the screen, the random crops, opened and answered, the certificate
(Q), at first and again, the end (F), and the server's greatest memory through all that.
Ends with 1 where a limit is missed.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import yaml
from rich.console import Console
from rich.table import Table

from flows import command_line
from lineact.errors import ConfigError, InputError
from lineact.review.generated import GROUPS, write_generated_line
from tasks.stage import section_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

LINE = "bench"
PORT = 8767
ACTIONS = ["take", "screw", "wipe", "place"]
HOLDOUT = {"recordings": [], "last_share": 0.1, "guard_s": 2.0}
PAGES = 30
FIRST_PAGE_MS, NEXT_PAGE_MS, MEMORY_MIB = 1000.0, 200.0, 500.0  # what the page is held to
AUDITED = 2  # random crops that are answered
MEMORY = "memory of the server, MiB"
LIMITS = {  # by what is measured; of several pages the median is held to it
    "first page": FIRST_PAGE_MS,
    "next page, turned": NEXT_PAGE_MS,
    "next page, accepted": NEXT_PAGE_MS,
    "next page, not read ahead": NEXT_PAGE_MS,
    MEMORY: MEMORY_MIB,
}
LEAST_CROPS = 20_000  # so many that there are pages enough of every action
READING_S = 1.0  # nobody turns pages faster than this
START_S = 120.0
LONGEST_S = 600.0  # for the certificate, or the gate's word
ALL_SHOWN = """() => document.querySelector('#stage').getAttribute('aria-busy') === 'false'
    && [...document.querySelectorAll('#crops img')].length > 0
    && [...document.querySelectorAll('#crops img')].every((image) => image.complete && image.naturalWidth)"""


def bench_review(crops: int) -> dict[str, list[float]]:
    """Measures the page.

    Args:
        crops: how many are queued.

    Returns:
        What was measured: milliseconds of each page, and the server's greatest resident memory in MiB.

    Raises:
        InputError: where Chromium is missing, or the page does not come up.
    """
    if shutil.which("chromium") is None:
        raise InputError("expected the system package chromium, found none; run `make system` as root")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = section_of("demo", "dataset") | {"actions": ACTIONS, "holdout": HOLDOUT}
        (folder / "params.yaml").write_text(yaml.safe_dump({"lines": {LINE: {"dataset": dataset}}}))
        print(f"generating a line with {crops} queued crops", flush=True)
        write_generated_line(folder / "data" / LINE, crops)
        began = time.perf_counter()
        server = _started(folder)
        try:
            measured = {"start of the command": [1000 * (time.perf_counter() - began)]}
            measured |= _driven(f"http://127.0.0.1:{PORT}/", lambda: _peak_mib(server.pid))
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()
    return measured


def _started(folder: Path) -> subprocess.Popen:
    import httpx

    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "flows.review", f"line={LINE}", f"port={PORT}"]
    server = subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(root)})
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{PORT}/")
        except httpx.TransportError as error:
            if server.poll() is not None or time.monotonic() > deadline_s:
                server.kill()
                raise InputError(f"expected the review page on port {PORT}, found none ({error})") from error
            time.sleep(0.05)
        else:
            return server


def _driven(url: str, peak_mib: Callable[[], float]) -> dict[str, list[float]]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        measured = {"first page": [_timed(page, lambda: page.goto(url))]}
        keys = iter([str(number % len(ACTIONS) + 1) for number in range(GROUPS)])
        measured["group named, next one"] = _after_reading(page, lambda: page.keyboard.press(next(keys)), GROUPS, 0.1)
        measured["first page of crops, from a reload"] = [_timed(page, page.reload)]
        measured["next page, turned"] = _after_reading(page, lambda: page.keyboard.press("PageDown"))
        measured["next page, accepted"] = _after_reading(page, lambda: page.keyboard.press("a"))
        page.route("**/api/items?*waiting=true*", lambda route: route.abort())  # no reading ahead
        measured["next page, not read ahead"] = _after_reading(page, lambda: page.keyboard.press("PageDown"))
        page.unroute("**/api/items?*waiting=true*")
        measured["random crops, opened"] = _after_reading(page, lambda: page.locator('[id="set-audit"]').click(), 1)
        measured["random crops, one answered"] = _after_reading(page, lambda: page.keyboard.press("1"), AUDITED)
        for what in ("certificate (Q), the first time", "certificate (Q), again"):
            measured[what] = [_answered(page, "q", "#quality p", "Labelling")]
            page.keyboard.press("q")
        measured["end (F), with the gate's word"] = [_answered(page, "f", "#message", "Writing")]
        measured[MEMORY] = [peak_mib()]
        browser.close()
    return measured


def _answered(page: "Page", key: str, place: str, meanwhile: str) -> float:
    """Milliseconds from a key until the page says something else than that it waits."""
    began = time.perf_counter()
    page.keyboard.press(key)
    says = f"document.querySelector({place!r}).textContent"
    page.wait_for_function(f"() => {says} && !{says}.startsWith({meanwhile!r})", timeout=1000 * LONGEST_S)
    said = page.locator(place).inner_text()
    print(f"{key.upper()}: {said}", flush=True)
    return 1000 * (time.perf_counter() - began)


def _after_reading(
    page: "Page", turn: Callable[[], object], pages: int = PAGES, reading_s: float = READING_S
) -> list[float]:
    measured = []
    for _ in range(pages):
        page.wait_for_timeout(1000 * reading_s)
        before = page.locator("#about").get_attribute("title")
        measured.append(_timed(page, turn, before or ""))
    return measured


def _timed(page: "Page", act: Callable[[], object], before: str = "") -> float:
    """Milliseconds until another item than `before` is marked and every picture of its page is there."""
    from playwright.sync_api import TimeoutError as TooSlowError

    began = time.perf_counter()
    act()
    try:
        page.wait_for_function(f"() => document.querySelector('#about').title !== {before!r} && ({ALL_SHOWN})()")
    except TooSlowError as error:
        said = page.locator("#message").inner_text()
        raise InputError(f"expected another page within 30 s, found none; the page says {said!r}") from error
    return 1000 * (time.perf_counter() - began)


def _peak_mib(pid: int) -> float:
    """The greatest resident memory so far, MiB; where the system does not tell it, today's."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    peaks = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else psutil.Process(pid).memory_info().rss / 2**20


def main() -> None:
    """The command."""
    values = command_line.parse(sys.argv[1:], (), ("crops",))
    crops = values.get("crops") or "100000"
    if not crops.isdecimal() or int(crops) < LEAST_CROPS:
        raise ConfigError(f"crops={crops}: expected a number from {LEAST_CROPS} up")
    measured = bench_review(int(crops))
    table = Table(title=f"review page, {int(crops):,} queued crops of 112 x 112 pixels, 40 on a page; milliseconds")
    for heading in ("", "times", "median", "largest", "limit"):
        table.add_column(heading, justify="right" if heading else "left")
    for what, values_ in measured.items():
        limit = f"{LIMITS[what]:.0f}" if what in LIMITS else ""
        table.add_row(what, str(len(values_)), f"{statistics.median(values_):.0f}", f"{max(values_):.0f}", limit)
    Console(width=None if Console().is_terminal else 120).print(table)
    if missed := [what for what, limit in LIMITS.items() if statistics.median(measured[what]) > limit]:
        print(f"over the limit: {', '.join(missed)}")
        sys.exit(1)


if __name__ == "__main__":
    command_line.run(main)
