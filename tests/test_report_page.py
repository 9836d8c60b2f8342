"""The reports in a real Chromium (make system)."""

import shutil
from pathlib import Path

import pytest

from flows.report import report
from flows.report_page import Addresses
from tests.reported_line import LINE, log_runs, write_ledger
from tests.review_window import DESK_WH, NARROW_WH, SCREENSHOTS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.browser
def test_the_pages_are_read_and_lead_to_one_another(tmp_path, monkeypatch):
    from mlflow import MlflowClient
    from playwright.sync_api import expect, sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "no chromium; run `make system` as root"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    shutil.copytree(ROOT / "conf", "conf")
    parents = log_runs(MlflowClient())
    write_ledger()
    paths = report([LINE], tmp_path / "out", Addresses("http://127.0.0.1:5000", "http://127.0.0.1:4200"))
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        for name, (width, height) in (("desk", DESK_WH), ("narrow", NARROW_WH)):
            context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
            page = context.new_page()
            page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda asked: wrong.append(asked.url) if asked.url.startswith("http") else None)
            page.goto(paths[-1].as_uri())
            expect(page.get_by_role("heading", level=1)).to_have_text("The plant")
            SCREENSHOTS.mkdir(exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"report_plant_{name}.png", full_page=True)
            page.get_by_role("link", name=LINE, exact=True).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(f"Line {LINE}")
            expect(page.locator("svg circle").last).to_be_visible()
            last = page.locator("svg a").last.get_attribute("href")
            assert last == f"http://127.0.0.1:5000/#/experiments/1/runs/{parents[-1]}"
            # nothing but the tables and the chart, which scroll by themselves, is wider than the window
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=SCREENSHOTS / f"report_line_{name}.png", full_page=True)
            context.close()
        browser.close()
    assert wrong == []
