"""The shift report in a real Chromium (make system)."""

import re
import shutil

import pytest

from lineact.bundle.work import WorkSettings, WorkStep
from lineact.runtime.outputs.json_lines import EventFile
from lineact.runtime.settings import EventFileSettings
from lineact.runtime.shift.__main__ import main
from lineact.runtime.work.replay import replay
from tests.code.test_runtime_shift import shift_of
from tests.review_window import DESK_WH, NARROW_WH, SCREENSHOTS, TABLET_WH
from tests.station import ORIGIN, numbered_video

WORK = WorkSettings(tuple(WorkStep(action, 1.0, 4.0) for action in "ABC"), takt_s=8.0, idle_s=5.0)


@pytest.mark.browser
@pytest.mark.parametrize(("name", "size_wh"), [("desk", DESK_WH), ("tablet", TABLET_WH), ("narrow", NARROW_WH)])
def test_the_report_is_read_clicked_and_played(tmp_path, name, size_wh):
    from playwright.sync_api import expect, sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "no chromium; run `make system` as root"
    done = shift_of("ABCABCACABC ACBABCn" * 3)
    file = EventFile(tmp_path / "events", EventFileSettings())
    for act in done:
        file.write(act)
    for finding in replay(done, WORK, ORIGIN):
        file.write(finding)
    file.close()
    numbered_video(tmp_path / "top.mp4", 2200, fps=10.0)
    out = tmp_path / "shift.html"
    asked = ["--events", str(tmp_path / "events"), "--video", str(tmp_path / "top.mp4"), "--out", str(out)]
    assert main(asked) == 0
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        context = browser.new_context(viewport={"width": size_wh[0], "height": size_wh[1]}, offline=True)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: wrong.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(out.as_uri())
        expect(page.get_by_role("heading", level=1)).to_have_text("Shift report: press_a")
        missing = page.locator("tr", has_text="B is missing").first
        expect(missing.locator("td").nth(2)).to_have_text("missing step")
        # a mark of the timeline leads to its row
        page.locator("svg a[href='#d1']").first.click()
        assert page.url.endswith("#d1")
        expect(page.locator("#d1")).to_be_in_viewport()
        video = page.locator("#d1 video")
        expect(video).to_have_attribute("poster", re.compile("^data:image/jpeg;base64,"))
        # the page's own policy forbids scripts; these run from outside of it
        video.evaluate("video => video.play()")
        video.evaluate("video => new Promise(done => { video.ontimeupdate = () => video.currentTime > 0.5 && done() })")
        assert video.evaluate("video => video.videoWidth") == 320
        # nothing but the tables and the timeline, which scroll by themselves, is wider than the window
        assert page.evaluate("document.documentElement.scrollWidth") <= size_wh[0]
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"shift_{name}.png", full_page=True)
        browser.close()
    assert wrong == []
