"""The review page in Chromium, served by `flows.review` as a person starts it: what it shows as saved is saved."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect, sync_playwright

from flows.gate import pass_gate
from lineact.decisions import read_decisions
from tests.labelled_line import ACTIONS, dataset_params, section_of
from tests.review_window import (
    DESK_WH,
    NARROW_WH,
    ROOT,
    TABLET_WH,
    Server,
    Window,
    free_port,
    journal_rows,
    saved_in,
    served,
)
from tests.reviewed_line import (
    LINE,
    answers_of,
    configure,
    decisions_file,
    forget_decisions,
    queue_made_anew,
    write_project,
)

SCREW, WIPE = ACTIONS
BROKEN_OFF = (  # what a reply is called whose server was killed: none, or a part of it
    "ERR_CONNECTION_",
    "ERR_EMPTY_RESPONSE",
    "ERR_SOCKET_NOT_CONNECTED",
    "ERR_INCOMPLETE_CHUNKED",
    "ERR_CONTENT_LENGTH_MISMATCH",
)
pytestmark = pytest.mark.browser
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def chromium():
    """Debian's Chromium."""
    path = shutil.which("chromium")
    assert path, "no chromium; run `make system` as root"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The server, and the queue's rows."""
    folder = tmp_path_factory.mktemp("project")
    rows = write_project(folder)
    server = Server(folder, free_port())
    server.start()
    yield server, rows
    server.kill()


@pytest.fixture
def open_window(chromium, started):
    """Opens windows on an undecided line; afterwards none has an error or has asked another machine."""
    server, rows = started
    server.kill()
    forget_decisions(server.folder)
    configure(server.folder)
    server.start()
    windows: list[Window] = []
    asked: list[str] = []
    contexts = []

    def opened(size_wh: tuple[int, int] = DESK_WH, url: str = server.url, **settings) -> Window:
        context = chromium.new_context(viewport={"width": size_wh[0], "height": size_wh[1]}, **settings)
        context.on("request", lambda request: asked.append(request.url))
        contexts.append(context)
        window = Window(context.new_page(), {row["item_id"]: row for row in rows})
        window.watch()
        window.page.goto(url)
        expect(window.page.locator("#question")).not_to_be_empty()
        windows.append(window)
        return window

    yield opened
    for context in contexts:
        context.close()
    assert [window.errors for window in windows if window.errors] == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:"))] == []


def forgive(window, *expected):
    """Takes out the errors that a test provoked; every one must be one of these."""
    window.settle()
    assert all(any(text in error for text in expected) for error in window.errors), window.errors
    window.errors.clear()


def name_groups(window, rows):
    """The first group is screw, the others wipe."""
    groups = sum(row["task"] == "group" for row in rows)
    for number in range(groups):
        window.press("1" if number == 0 else "2")
        window.decided(number + 1)
    return groups


def rounded(boxes: str, digits: int = 0) -> list:
    return [[*(round(value, digits) for value in box[:4]), box[4]] for box in json.loads(boxes)]


def suggested_box(window) -> list[float]:
    return json.loads(window.rows[window.item_id]["suggested"])[0][:4]


@pytest.mark.parametrize(("size_wh", "name"), [(DESK_WH, "desk"), (TABLET_WH, "tablet")], ids=["desk", "tablet"])
def test_what_keyboard_and_mouse_decide_is_in_the_file_and_on_the_page_again(open_window, started, size_wh, name):
    server, _ = started
    window = open_window(size_wh)
    window.keep(f"groups_{name}")
    decided = {window.item_id: WIPE}
    window.press("2")
    window.decided(1)
    decided[window.item_id] = "mixed"
    window.click("mixed")
    window.decided(2)
    decided[window.item_id] = SCREW
    window.press("1")
    window.decided(3)

    window.look_at_set("audit")
    for answer, label in ((lambda: window.press("1"), SCREW), (lambda: window.click("NG"), "NG")):
        decided[window.item_id] = label
        answer()
        window.decided(len(decided))
    window.keep(f"crops_{name}")
    window.look_at("frames")
    window.keep(f"frames_{name}")

    drawn_on = window.item_id
    old = suggested_box(window)
    window.drag(240, 20, 290, 60)
    window.press("1")
    window.select((old[0] + old[2]) / 2, (old[1] + old[3]) / 2)
    window.press("n", "Enter")
    window.decided(6)

    assert window.rows[window.item_id]["suggested"] == "empty"
    decided[window.item_id] = "empty"
    window.press("e")
    window.decided(7)

    deleted_on = window.item_id
    x1, y1, x2, y2 = suggested_box(window)
    window.drag(250, 130, 300, 170)
    window.click(WIPE)
    window.select((x1 + x2) / 2, (y1 + y2) / 2)
    window.press("Delete")
    window.press("Enter")
    window.decided(8)

    window.press("f")
    window.says("8 rows, 8 of them new")
    asked = re.search(r"8 of (\d+) decided", window.page.locator("#progress").inner_text())
    assert asked
    window.says(f"{int(asked[1]) - 8} items still wait")
    saved = {row.item_id: row.decided for row in read_decisions(decisions_file(server.folder), ACTIONS).rows}
    near = rounded(saved.pop(drawn_on))
    assert near[0] == [*old, "NG"]
    assert near[1][4] == SCREW
    assert near[1][:4] == pytest.approx([240, 20, 290, 60], abs=1)
    (kept,) = rounded(saved.pop(deleted_on))
    assert kept[4] == WIPE
    assert kept[:4] == pytest.approx([250, 130, 300, 170], abs=1)
    assert saved == decided

    window.page.reload()
    window.decided(8)
    window.look_at("groups")
    window.state(f"saved: {WIPE}")
    window.press("ArrowRight")
    window.state("saved: mixed")
    window.look_at("frames")
    window.press("PageUp", "PageUp", "PageUp")
    window.at_place("1 of ")
    window.state(f"saved: 2 hands (NG, {SCREW})")
    window.press("PageDown")
    window.state("saved: no hand on this frame")


def test_a_page_of_crops_is_corrected_and_then_accepted(open_window, started):
    server, rows = started
    window = open_window()
    groups = name_groups(window, rows)
    window.look_at_set(f"crop/{WIPE}")
    ids = window.ids()
    assert len(ids) >= 4
    window.press("ArrowRight", "Space", "ArrowRight", "Space", "ArrowRight")
    expect(window.page.locator(".cell.selected")).to_have_count(2)
    window.keep("crops_range")
    window.press("n")
    window.decided(groups + 2)
    expect(window.page.locator(".cell.other .said")).to_have_text(["NG", "NG"])
    window.press("a")
    window.decided(groups + len(ids))
    saved = saved_in(server.folder)
    assert [saved[item] for item in ids] == [WIPE, "NG", "NG", *[WIPE] * (len(ids) - 3)]
    window.says(f"Saved: {len(ids) - 2} crops as {WIPE}")
    window.press("u")
    window.decided(groups + 2)
    window.says("Taken back")
    window.press("u")
    window.decided(groups)
    assert len(saved_in(server.folder)) == groups


def test_ranges_are_selected_by_space_by_shift_and_by_mouse(open_window, started):
    _, rows = started
    window = open_window()
    name_groups(window, rows)
    window.look_at_set("audit")
    cells, selected = window.page.locator(".cell"), window.page.locator(".cell.selected")
    assert cells.count() >= 5
    window.press("Home", "Shift+ArrowRight", "Shift+ArrowRight")
    expect(selected).to_have_count(3)
    window.press("End", "Space", "Space")  # a second range
    expect(selected).to_have_count(4)
    window.press("Space")  # and out of it again
    expect(selected).to_have_count(3)
    window.press("Escape")
    expect(selected).to_have_count(0)
    cells.nth(1).click()
    cells.nth(3).click(modifiers=["Shift"])
    expect(selected).to_have_count(3)
    cells.nth(2).click()
    expect(selected).to_have_count(2)
    assert cells.nth(1).get_attribute("aria-pressed") == "true"


def test_audit_and_crops_without_a_suggestion_are_asked_without_a_hint(open_window, started):
    _, rows = started
    window = open_window()
    groups = name_groups(window, rows)
    window.look_at_set("audit")
    expect(window.page.locator("#labels .hint")).to_have_count(0)
    expect(window.page.locator("#accept")).to_have_count(0)
    expect(window.page.locator(".templates")).to_have_count(0)
    window.press("a")
    window.says("There is no suggestion here")
    window.decided(groups)
    window.look_at_set(f"crop/{WIPE}")
    expect(window.page.locator("#labels .hint")).to_have_text(re.compile(WIPE))
    expect(window.page.locator(".templates img").first).to_be_visible()
    expect(window.page.locator("#details")).to_contain_text("similarity 0.")


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
    assert saved_in(server.folder) == {}
    window.press("2")
    window.decided(1)
    window.press("ArrowLeft", "m")
    window.says("Saved: mixed")
    window.press("Control+z")
    window.says("Taken back: mixed")
    window.state(f"saved: {WIPE}")
    assert saved_in(server.folder) == {group: WIPE}
    assert [row.decided for row in journal_rows(server.folder)] == [SCREW, "withdrawn", WIPE, "mixed", WIPE]
    window.press("u")
    window.decided(0)
    window.press("u")
    window.says("Nothing to undo")

    window.look_at("frames")
    frame = window.item_id
    window.drag(240, 20, 290, 60)
    window.press("1")
    window.state("changed, not saved")
    window.press("u", "u")
    window.state("not decided")
    window.press("2", "Enter")
    window.decided(1)
    assert [box[4] for box in json.loads(saved_in(server.folder)[frame])] == [WIPE]
    window.press("u")
    window.decided(0)
    assert window.item_id == frame
    window.state("changed, not saved")  # what was drawn is there still
    window.press("Enter")
    window.decided(1)


def test_undo_goes_back_a_bounded_number_of_answers_and_a_full_storage_stops_none(open_window, started):
    server, _ = started
    window = open_window()
    window.press("1")
    window.decided(1)
    window.page.evaluate("""() => {
        const key = Object.keys(sessionStorage).find((one) => one.startsWith("review of"));
        sessionStorage[key] = JSON.stringify(Array(300).fill(JSON.parse(sessionStorage[key])[0]));
    }""")
    window.page.reload()
    window.press("1")
    window.decided(2)
    lengths = "Object.values(sessionStorage).map((text) => JSON.parse(text).length).filter(Boolean)"
    assert window.page.evaluate(lengths) == [200]

    window.page.evaluate("""() => {
        Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
    }""")
    window.press("2")
    window.decided(3)
    window.press("u")
    window.says(f"Taken back: {WIPE}")
    window.decided(2)
    assert [row.decided for row in journal_rows(server.folder)] == [SCREW, SCREW, WIPE, "withdrawn"]
    window.page.reload()
    window.press("u")
    window.says("Nothing to undo")


def test_undo_forgets_what_is_refused_for_good_and_what_was_answered_in_another_queue(open_window, started):
    server, _ = started
    window = open_window()
    for number, key in enumerate("12"):
        window.press(key)
        window.decided(number + 1)
    window.page.route("**/api/decisions", lambda route: route.fulfill(status=404, json={"detail": "unknown item"}))
    window.press("u")
    window.says("Not saved: unknown item")
    window.page.unroute("**/api/decisions")
    window.press("u")  # the answer before that one
    window.says(f"Taken back: {SCREW}")
    window.decided(1)
    forgive(window, "404")

    window.press("2")
    window.decided(2)
    server.kill()
    with queue_made_anew(server.folder):
        server.start()
        window.page.reload()
        window.decided(2)
        window.press("u")
        window.says("Nothing to undo")
        assert len(saved_in(server.folder)) == 2


def test_boxes_are_moved_resized_and_added_by_mouse_and_by_keys(open_window, started):
    server, _ = started
    window = open_window()
    window.look_at("frames")
    frame = window.item_id
    x1, y1, x2, y2 = suggested_box(window)
    window.press("1")
    window.drag((x1 + x2) / 2, (y1 + y2) / 2, (x1 + x2) / 2 + 20, (y1 + y2) / 2 + 10)
    window.drag(x2 + 20, y2 + 10, x2 + 35, y2 + 17)  # its corner
    window.press("ArrowLeft", "ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown")
    window.keep("frame_box_changed")
    window.press("+", "n")
    assert window.boxes() == [f"1: {SCREW}", "2: NG"]
    window.press("b", "b", "Insert", "Delete", "Enter")
    window.decided(1)
    moved, added = rounded(saved_in(server.folder)[frame])
    assert moved[:4] == pytest.approx([x1 + 18, y1 + 9, x2 + 34, y2 + 17], abs=1.5)
    assert moved[4] == SCREW
    assert added == [142, 72, 178, 108, "NG"]
    window.press("u")  # the answer
    window.decided(0)
    window.press("u")  # back to what was found
    window.state("not decided")
    assert len(window.boxes()) == 1


@pytest.mark.parametrize("view", ["groups", "crops", "frames"])
def test_keys_are_listed_and_pictures_move_on_demand(open_window, view):
    window = open_window()
    window.look_at(view)
    window.press("?")
    help_table = window.page.locator("#help table")
    expect(help_table).to_be_visible()
    told = " ".join(help_table.locator("th").all_inner_texts())
    for key in (
        "1",
        "N",
        "M",
        "Space",
        "A",
        "U",
        "PgUp",
        "PgDn",
        "W",
        ", .",
        "L",
        "Ins",
        "E",
        "Enter",
        "Esc",
        "F",
        "?",
    ):
        assert key in told
    window.keep(f"help_{view}")
    window.press("Escape")
    expect(help_table).to_be_hidden()
    window.press("l")
    if view == "groups":
        window.says("no neighbouring frames")
        return
    picture = window.page.locator("#loop img")
    expect(window.page.locator("#loop p")).to_contain_text("One second before")
    assert picture.evaluate("image => image.naturalWidth") == 320
    window.keep(f"loop_{view}")
    window.press("1")  # answers nothing while it is open
    window.press("Escape")
    expect(picture).to_be_hidden()
    window.decided(0)


def test_keys_go_through_pages_and_sets(open_window, started):
    _, rows = started
    window = open_window()
    groups = name_groups(window, rows)
    window.look_at("groups")
    window.at_place(f"1 of {groups}")
    window.press("ArrowRight")
    window.at_place(f"2 of {groups}")
    window.press("PageDown")
    window.at_place(f"3 of {groups}")
    window.press("PageUp", "ArrowLeft")
    window.at_place(f"1 of {groups}")
    window.press(".")
    window.at_place(SCREW)
    window.press(".")
    window.at_place(WIPE)
    window.press(",")
    window.at_place(SCREW)
    window.look_at("frames")
    window.press("w", "w")
    window.at_place("3 of ")
    window.press("e")
    window.decided(groups + 1)
    window.at_place("4 of ")
    window.press("PageUp", "PageUp", "w")
    window.at_place("4 of ")  # the third is decided


@pytest.mark.parametrize("closes", [True, False], ids=["window", "server"])
def test_a_kill_loses_nothing_that_was_shown_as_saved(open_window, started, closes):
    server, _ = started
    window = open_window()
    shown = {}
    for key, label in (("1", SCREW), ("n", "NG"), ("2", WIPE)):
        shown[window.item_id] = label
        window.press(key)
        window.decided(len(shown))
        if closes:
            window.page.close()
            assert saved_in(server.folder) == shown
            window = open_window()
            window.decided(len(shown))
            continue
        server.kill()
        assert saved_in(server.folder) == shown
        waiting = window.item_id
        window.press("1")
        window.says("Not saved")
        assert window.item_id == waiting
        forgive(window, *BROKEN_OFF)
        server.start()
    window.press("1")  # the same page goes on
    window.decided(4)
    window.page.reload()
    window.decided(4)
    assert shown.items() <= saved_in(server.folder).items()
    assert len(journal_rows(server.folder)) == 4
    assert server.kill(signal.SIGINT) == 0  # its end writes the file
    assert len(read_decisions(decisions_file(server.folder), ACTIONS).rows) == 4
    forgive(window, *BROKEN_OFF)
    server.start()


def kill_browser(profile) -> int:
    """kill -9 of a browser with all its processes, which it tells by its profile; gives how many there were."""
    own = [
        one for one in psutil.process_iter(["cmdline"]) if f"--user-data-dir={profile}" in (one.info["cmdline"] or [])
    ]
    with_children = {one.pid: one for parent in own for one in (parent, *parent.children(recursive=True))}
    for one in with_children.values():
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(list(with_children.values()), timeout=60)
    return len(with_children)


def test_kill_9_of_the_browser_itself_loses_nothing_that_was_shown_as_saved(open_window, started, chromium, tmp_path):
    server, _ = started
    rows = open_window().rows
    shown: dict[str, str] = {}
    for key, label in (("1", SCREW), ("n", "NG"), ("2", WIPE)):
        profile = tmp_path / "profile"  # the same one: what the killed browser left lying is there
        context = chromium.browser_type.launch_persistent_context(profile, executable_path=shutil.which("chromium"))
        window = Window(context.pages[0], rows)
        window.page.goto(server.url)
        expect(window.page.locator("#question")).not_to_be_empty()
        window.decided(len(shown))
        shown[window.item_id] = label
        window.press(key)
        window.decided(len(shown))
        assert kill_browser(profile) > 1
        with suppress(PlaywrightError):
            context.close()
        assert saved_in(server.folder) == shown
    assert len(journal_rows(server.folder)) == 3


def test_a_kill_while_a_page_is_saved_leaves_all_of_it_or_nothing(open_window, started):
    server, rows = started
    window = open_window()
    groups = name_groups(window, rows)
    for is_saved_first in (False, False, True):
        window.look_at_set(f"crop/{WIPE}")
        page = window.page.locator(".cell:not(.done)").count()
        before = len(saved_in(server.folder))
        window.press("a")
        deadline_s = time.monotonic() + 180
        while is_saved_first and page and len(saved_in(server.folder)) == before:  # the first kills may come too early
            assert time.monotonic() < deadline_s, "nothing is saved"
            time.sleep(0.05)
        server.kill()
        server.start()
        saved = len(saved_in(server.folder))
        assert saved in (before, before + page)
        window.page.reload()
        window.decided(saved)
        forgive(window, *BROKEN_OFF)
    assert saved > groups


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
        window.ready()
        assert window.item_id != item
    assert [row.decided for row in journal_rows(server.folder)] == [SCREW, "empty"]
    forgive(window, "net::ERR_FAILED")


def test_two_tabs_do_not_overwrite_each_other(open_window, started):
    server, _ = started
    one, other = open_window(), open_window()
    group = one.item_id
    assert other.item_id == group
    one.press("1")
    one.decided(1)
    other.press("2")
    other.says(f"answered in another window meanwhile ({SCREW})")
    other.decided(1)
    other.state(f"saved: {SCREW}")
    assert saved_in(server.folder) == {group: SCREW}
    other.press("2")  # now it was seen, so it may be replaced
    other.says("Saved: wipe")
    one.press("u")
    one.says(f"Not taken back: answered in another window meanwhile ({WIPE})")
    assert saved_in(server.folder) == {group: WIPE}
    for window in (one, other):
        forgive(window, "409")


def test_two_reviewers_who_differ_are_asked_again(open_window, started):
    server, _ = started
    ann = open_window()
    with served(server.folder, reviewer="bob") as second:
        bob = open_window(url=second.url)
        group = bob.item_id
        for window, key in ((ann, "1"), (bob, "2")):
            window.press(key)
            window.says("Saved")
        bob.says("1 differ from another reviewer's answer")
        for window, far in ((ann, 20), (bob, 100)):
            window.look_at("frames")
            window.press("PageUp")  # bob is shown the first that nobody decided
            window.ready()
            window.drag(200, far, 250, far + 30)
            window.press("1", "1", "Enter")
            window.says("Saved")
        frame = next(row.item_id for row in journal_rows(server.folder) if row.task == "box")
        assert saved_in(server.folder) == {}

        bob.look_at("disagreements")
        bob.state(f"reviewers differ: ann: {SCREW} · bob: {WIPE}")
        bob.keep("disagreement_group")
        bob.press("n")
        bob.says("Saved: NG")
        expect(bob.page.locator("#frame")).to_be_visible()
        bob.keep("disagreement_frame")
        bob.page.locator("#boxes .word", has_text="bob").click()
        bob.press("Enter")
        bob.decided(2)
        saved = saved_in(server.folder)
        assert saved[group] == "NG"
        assert [round(box[1]) for box in json.loads(saved[frame])][-1] == pytest.approx(100, abs=1)
        bob.press("u")
        bob.decided(1)
        bob.look_at("disagreements")
        bob.page.close()
    ann.page.reload()
    ann.decided(1)


def test_unsaved_boxes_are_kept_while_looking_elsewhere_and_through_a_reload(open_window, started):
    server, _ = started
    window = open_window()
    window.look_at("frames")
    frame = window.item_id
    window.drag(240, 20, 290, 60)
    window.press("1", "PageDown")
    window.look_at("groups")
    window.page.reload()
    window.look_at("frames")
    assert window.item_id == frame
    window.state("changed, not saved")
    window.press("2", "Enter")
    window.decided(1)
    assert [box[4] for box in json.loads(saved_in(server.folder)[frame])] == [WIPE, SCREW]


def test_unsaved_boxes_outlast_a_queue_that_is_made_anew(open_window, started):
    server, _ = started
    window = open_window()
    window.look_at("frames")
    frame = window.item_id
    window.drag(240, 20, 290, 60)
    window.press("1")
    server.kill()
    with queue_made_anew(server.folder):
        server.start()
        window.page.reload()
        window.look_at("frames")
        assert window.item_id == frame
        window.state("changed, not saved")
    forgive(window, *BROKEN_OFF)


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
    assert journal_rows(server.folder) == []


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
    assert [json.loads(decided)[0][4] for decided in saved_in(server.folder).values()] == [WIPE]


def test_keyboard_keeps_its_place_and_shows_it(open_window):
    window = open_window()
    focused = "document.activeElement.id"
    for _ in range(20):
        window.press("Tab")
        if window.page.evaluate(focused) == "label-1":
            break
    for count in (1, 2):
        window.press("Enter")
        window.decided(count)
        assert window.page.evaluate(focused) == "label-1"
    outline = "(e => getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth)(document.activeElement)"
    assert window.page.evaluate(outline) == "solid3px"
    window.look_at_set("audit")
    window.press("ArrowRight", "ArrowRight")
    assert window.page.evaluate(focused) == "cell-2"
    assert window.page.evaluate(outline) == "solid3px"
    assert "not decided" in (window.page.locator("#cell-2").get_attribute("aria-label") or "")


def test_digit_keys_count_where_they_need_shift(open_window):
    window = open_window()
    pressed = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'é', code: 'Digit2', bubbles: true}))"
    window.page.evaluate(pressed)
    window.says(f"Saved: {WIPE}")


def test_every_task_fits_the_screen_and_tells_its_keys(open_window, started):
    _, rows = started
    window = open_window()
    name_groups(window, rows)
    for size_wh, turned_from in ((DESK_WH, TABLET_WH), (TABLET_WH, DESK_WH)):
        for view, least_px in (("groups", 140), ("crops", 140), ("frames", 640)):
            window.resize(turned_from)
            window.look_at(view)
            window.resize(size_wh)  # turned while it is shown
            picture = window.page.locator("#frame" if view == "frames" else "#crops img").first
            expect(picture).to_be_in_viewport(ratio=1)
            assert picture.bounding_box()["width"] >= least_px
            for button in window.page.locator("header button, footer button").all():
                expect(button).to_be_in_viewport(ratio=1)
                assert button.inner_text().strip()
                assert button.bounding_box()["height"] >= 44  # a fingertip
            keys = window.page.locator("#labels kbd").all_inner_texts()
            assert keys[:3] == ["1", "2", "N"]
            assert keys[3:] == {"groups": ["M"], "crops": ["A"], "frames": ["+", "Del", "E", "Enter"]}[view]
            assert window.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_narrow_window_shows_all_and_answers(open_window):
    window = open_window(NARROW_WH, has_touch=True)
    window.keep("groups_narrow")
    for count in range(3):
        window.page.locator("#label-1").tap()
        window.decided(count + 1)
    window.look_at_set("audit")
    window.keep("crops_narrow")
    first, third = window.page.locator(".cell").nth(0), window.page.locator(".cell").nth(2)
    assert abs(first.bounding_box()["y"] - third.bounding_box()["y"]) < 1  # beside each other
    first.tap()
    third.tap()
    expect(window.page.locator(".cell.selected")).to_have_count(2)
    window.page.locator("#label-0").tap()
    window.decided(5)
    window.look_at("frames")
    window.keep("frames_narrow")
    assert window.page.locator("#frame").bounding_box()["width"] >= 300
    for view in ("groups", "crops", "frames"):
        window.look_at(view)
        assert window.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        for button in window.page.locator("footer button").all():
            expect(button).to_be_in_viewport(ratio=1)


def test_a_fingertip_draws_moves_and_selects(open_window, started):
    server, _ = started
    window = open_window(TABLET_WH, has_touch=True)
    window.look_at("frames")
    x1, y1, x2, y2 = suggested_box(window)
    touch = window.page.context.new_cdp_session(window.page)

    def drag(*points: tuple[float, float]) -> None:
        for kind, (x, y) in zip(("touchStart", *["touchMove"] * (len(points) - 1)), points, strict=True):
            place = window.on_screen(x, y)
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": place[0], "y": place[1]}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    drag((240, 20), (270, 50), (290, 60))
    drag((265, 40), (260, 45), (255, 50))  # into its middle: moves it
    window.page.locator("#label-0").tap()  # at once: no swipe of the browser's is under way
    window.page.touchscreen.tap(*window.on_screen((x1 + x2) / 2, (y1 + y2) / 2))
    window.page.locator("#label-1").tap()
    window.page.locator("#save").tap()
    window.decided(1)
    (decided,) = saved_in(server.folder).values()
    old, new = rounded(decided)
    assert old == [x1, y1, x2, y2, WIPE]
    assert new[4] == SCREW
    assert new[:4] == pytest.approx([230, 30, 280, 70], abs=1)


def test_time_left_is_told_from_the_reviewers_pace(open_window, started):
    _, rows = started
    window = open_window()
    expect(window.page.locator("#progress")).not_to_contain_text("left")
    name_groups(window, rows)
    window.look_at_set("audit")
    for count in range(3):
        window.press("1")
        window.decided(4 + count)
    expect(window.page.locator("#progress")).to_contain_text("at least 10 s left")


def test_all_seconds_at_work_are_some_answers_seconds(open_window, started):
    """By a clock that is put forward: looking elsewhere, an answer taken back and one that failed cost time."""
    server, _ = started
    window = open_window()
    window.page.clock.install()
    window.page.reload()
    window.decided(0)

    def work_10_s() -> None:
        window.page.clock.fast_forward(10_000)
        window.page.mouse.move(5, 5)
        window.page.mouse.move(6, 6)

    work_10_s()
    window.look_at("frames")
    work_10_s()
    window.look_at("groups")
    window.press("1")
    window.decided(1)
    work_10_s()
    window.press("u")
    window.decided(0)
    work_10_s()
    window.page.route("**/api/decisions", lambda route: route.abort())
    window.press("2")
    window.says("Not saved")
    window.page.unroute("**/api/decisions")
    work_10_s()
    window.press("2")
    window.decided(1)
    rows = journal_rows(server.folder)
    assert [row.decided for row in rows] == [SCREW, "withdrawn", WIPE]
    assert [row.seconds >= least for row, least in zip(rows, (20, 0, 30), strict=True)] == [True] * 3
    forgive(window, "ERR_FAILED")


def test_quality_is_shown_on_demand(open_window, started):
    _, rows = started
    window = open_window()
    name_groups(window, rows)
    window.press("q")
    quality = window.page.locator("#quality")
    expect(quality).to_contain_text("label error of")
    expect(quality.locator("tr").nth(1)).to_contain_text("all together")
    window.keep("quality")
    window.press("Escape")
    expect(quality).to_be_hidden()


def test_the_page_stops_asking_when_the_bound_is_met_and_tells_what_comes_next(open_window, started):
    server, rows = started
    window = open_window()
    said, key = answers_of(rows), {SCREW: "1", WIPE: "2", "NG": "n", "empty": "e"}
    audits = {row["item_id"] for row in rows if row["task"] == "audit"}
    given: list[str] = []
    while len(given) < len(rows) - len(audits):
        window.ready()
        window.state("not decided")
        given.append(window.item_id)
        window.press(key[said[given[-1]]])
        window.decided(len(given))
    window.ready()
    asked = window.page.locator(".cell:not(.done):not(.unasked)").count()
    assert 0 < asked < len(audits)
    for left in reversed(range(asked)):
        window.state("not decided")
        given.append(window.item_id)
        window.press(key[said[given[-1]]])
        window.decided(len(given))
        window.ready()
        expect(window.page.locator(".cell:not(.done):not(.unasked)")).to_have_count(left)
    unasked = len(audits) - asked
    window.says("All that is asked is decided. The bound is met (label error of 36 accepted crops: 0.0%, at most 8.3%")
    window.says(f"{unasked} random crops are no longer asked. Finish (F)")
    expect(window.page.locator("#progress")).to_contain_text(f"{len(given)} of {len(rows) - unasked} decided")
    expect(window.page.locator("#question")).to_contain_text("These are not asked")
    window.keep("bound_met")

    window.page.locator(".cell.unasked").first.click()  # whoever wants to goes on
    window.state("not asked")
    given.append(window.item_id)
    window.press(key[said[given[-1]]])
    window.decided(len(given))
    meanwhile = []

    def slowly(route):
        meanwhile.append(window.page.get_by_role("status").inner_text())
        route.continue_()

    window.page.route("**/api/finish", slowly)
    window.press("f")
    window.says("Next: ")
    assert [said.startswith("Writing decisions.csv, then asking the gate") for said in meanwhile] == [True]
    written = read_decisions(decisions_file(server.folder), ACTIONS)
    assert {row.item_id: row.decided for row in written.rows} == {item: said[item] for item in given}
    pass_gate_in(server.folder)


def pass_gate_in(folder):
    """Raises where the line's gate is shut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pass_gate(LINE)


def test_a_simulated_line_is_looked_at_only(open_window, started):
    server, _ = started
    server.kill()
    configure(server.folder, simulate_review={"error_rate": 0.0})
    server.start()
    window = open_window()
    window.says("looking only")
    expect(window.page.locator("#labels button").first).to_be_disabled()
    for keys in (("1",), ("a",), ("f",), ("u",)):
        window.press(*keys)
        window.says("looking only")
    window.look_at("frames")
    window.drag(240, 20, 290, 60)
    window.press("1", "Enter", "e")
    window.says("looking only")
    window.decided(0)
    assert not decisions_file(server.folder).exists()


def test_an_unusable_row_is_named_and_work_goes_on(open_window, started):
    server, rows = started
    group = next(row for row in rows if row["task"] == "group")
    bad = f"{group['item_id']},group,,paint,eve,2026-01-01,1,{group['basis']}"
    decisions_file(server.folder).write_text(
        f"item_id,task,suggested,decided,reviewer,decided_at,seconds,basis\n{bad}\n"
    )
    window = open_window()
    window.says("row 2, column \"decided\": unknown label 'paint'")
    window.keep("bad_row")
    window.press("1")
    window.decided(1)
    window.press("f")
    window.says("1 rows, 1 of them new")
    assert decisions_file(server.folder).read_text().splitlines()[-1] == bad


def test_a_queue_made_anew_is_told_and_nothing_is_saved(open_window, started):
    server, _ = started
    window = open_window()
    with queue_made_anew(server.folder):
        window.press("1")
        window.says("Not saved: ")
        window.says("the queue was made anew while this page was open")
        window.state("not decided")
    assert journal_rows(server.folder) == []
    forgive(window, "409")


def test_a_page_of_an_earlier_queue_is_told_to_reload_and_answers_then(open_window, started):
    server, _ = started
    window = open_window()
    server.kill()
    with queue_made_anew(server.folder):
        server.start()  # as after another labelling; the window stayed open
        window.press("1")
        window.says("Not saved: this page shows an earlier queue: reload it (F5)")
        window.state("not decided")
        assert journal_rows(server.folder) == []
        window.page.reload()
        expect(window.page.locator("#question")).not_to_be_empty()
        window.press("1")
        window.decided(1)
    forgive(window, "409", *BROKEN_OFF)


def test_a_line_without_a_queue_is_refused_with_the_way_out(started):
    server, _ = started
    queue = server.folder / "data" / LINE / "queue"
    away = queue.rename(queue.with_name("queue.away"))
    try:
        command = [sys.executable, "-m", "flows.review", f"line={LINE}", f"port={free_port()}"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        for name in ("conf", "dvc.yaml"):
            (server.folder / name).symlink_to(ROOT / name)
        done = subprocess.run(command, cwd=server.folder, env=environment, capture_output=True, text=True)
    finally:
        away.rename(queue)
        for name in ("conf", "dvc.yaml"):
            (server.folder / name).unlink()
    assert done.returncode == 2  # nor is it an active line
    assert "unknown line" in done.stderr


def fill(stream):
    while True:
        stream.write(bytes(512))


def test_on_a_full_disk_nothing_shows_as_saved(open_window, started):
    server, _ = started
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("the system refuses user namespaces")
    review = decisions_file(server.folder).parent
    mount = f'mount -t tmpfs -o size=200k none "{review}" && exec "$@"'
    before = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    server.kill()
    with served(server.folder, before=before) as small:
        window = open_window(url=small.url)
        assert small.process is not None
        inside = f"/proc/{small.process.pid}/root{review}"
        window.press("1")
        window.decided(1)
        filler = open(f"{inside}/filler", "wb", buffering=0)  # noqa: PTH123, SIM115
        with pytest.raises(OSError, match="No space left"):
            fill(filler)
        window.ready()
        waiting = window.item_id
        window.press("2")
        window.says("Not saved: ")
        window.says("No space left on device")
        window.keep("full_disk")
        window.state("not decided")
        assert window.item_id == waiting
        window.page.reload()
        window.decided(1)
        filler.truncate(0)
        filler.close()
        window.press("2")
        window.decided(2)
        forgive(window, "500")
        window.page.close()


def test_names_and_labels_are_text_whatever_they_are(open_window, started):
    server, _ = started
    server.kill()
    label = "<img src=x onerror=alert(1)>"
    actions = (label, "<b>wipe</b>", "constructor")  # what every object of the page's language has
    configure(server.folder, dataset=section_of(dataset_params(actions=actions)))
    with served(server.folder, reviewer="<script>alert(2)</script>") as other:
        window = open_window(url=other.url)
        window.page.on("dialog", lambda dialog: window.errors.append(dialog.message))
        window.press("1")
        window.says(f"Saved: {label}")
        window.press("3")
        window.says("Saved: constructor")
        window.look_at("frames")
        expect(window.page.locator("#line")).to_contain_text("<script>alert(2)</script>")
        expect(window.page.locator("img[src=x], b b, script:not([src])")).to_have_count(0)
        window.page.close()


def test_elsewhere_the_token_opens_the_page(open_window, started):
    server, _ = started
    token = server.folder / "token"
    token.write_text("0123456789abcdefgh")
    token.chmod(0o600)
    with served(server.folder, reviewer="bob", options=(f"token_file={token}",)) as guarded:
        assert token.read_text() not in guarded.log.read_text()
        window = open_window(url=f"{guarded.url}?token={token.read_text()}")
        assert window.page.url == guarded.url  # the token is in no history
        window.press("1")
        window.decided(1)
        stranger = window.page.context.browser.new_context()
        assert stranger.new_page().goto(guarded.url).status == 401
        stranger.close()
        window.page.close()
