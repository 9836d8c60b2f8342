"""What stands of several reviewers' rows, the journal of answers, and decisions.csv written from both."""

import itertools
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.decisions import DISAGREEMENT, Decision, agreed, read_decisions, standing, words_on, write_decisions
from lineact.errors import InputError
from lineact.review.export import export_decisions, journal_path
from lineact.review.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
ACTIONS = ("screw", "wipe")
FRAME = "frame:0123456789ab@1.000000"
RAW = st.text(st.characters(codec="utf-8", exclude_characters='\r\n\0"'), min_size=1, max_size=12)


def row(decided, reviewer="ann", second=0, *, item_id="box 1", task="crop", suggested="", basis="b"):
    return Decision(item_id, task, suggested, decided, reviewer, f"2026-01-01T00:00:{second:02}.000+00:00", 1.0, basis)


def settled(decided, reviewer="ann", second=0):
    return row(decided, reviewer, second, suggested=DISAGREEMENT)


@pytest.mark.parametrize(
    ("rows", "stands", "differ"),
    [
        ([row("screw", "ann", 1)], "screw", []),
        ([row("screw", "ann", 1), row("wipe", "ann", 2)], "wipe", []),
        ([row("screw", "ann", 1), row("withdrawn", "ann", 2)], None, []),
        ([row("screw", "ann", 1), row("screw", "bob", 2)], "screw", []),
        ([row("screw", "ann", 1), row("wipe", "bob", 2)], None, ["screw", "wipe"]),
        ([row("screw", "ann", 1), row("wipe", "bob", 2), row("screw", "bob", 3)], "screw", []),
        ([row("screw", "ann", 1), row("wipe", "bob", 2), row("withdrawn", "ann", 3)], "wipe", []),
        ([row("screw", "ann", 1), row("withdrawn", "bob", 2)], "screw", []),
        ([row("screw", "ann", 1), row("wipe", "bob", 2), settled("NG", "cat", 3)], "NG", []),
        ([row("screw", "ann", 1), row("wipe", "bob", 2), settled("screw", "ann", 3)], "screw", []),
        ([row("screw", "ann", 1), row("wipe", "bob", 2), settled("NG", "cat", 3), row("wipe", "bob", 4)], None,
         ["NG", "wipe"]),
        ([row("screw", "ann", 1), row("wipe", "bob", 2), settled("NG", "cat", 3), settled("withdrawn", "cat", 4)], None,
         ["screw", "wipe"]),
        ([row("screw", "ann", 1), row("wipe", "bob", 2), row("wipe", "cat", 3)], None, ["screw", "wipe", "wipe"]),
        ([row("screw", "ann", 1), settled("NG", "cat", 2), settled("wipe", "bob", 3), settled("withdrawn", "bob", 4)],
         "NG", []),
        ([row("screw", "ann", 1), settled("NG", "bob", 2), settled("wipe", "bob", 3), settled("withdrawn", "bob", 4)],
         "NG", []),
        ([row("screw", "ann", 1), settled("NG", "bob", 2), *(settled("withdrawn", "bob", second) for second in (3, 4))],
         "screw", []),
        ([row("screw", "ann", 1), settled("NG", "cat", 2), settled("wipe", "bob", 3), settled("withdrawn", "cat", 4)],
         "wipe", []),
        ([settled("NG", "cat", 1), row("screw", "ann", 2), settled("wipe", "bob", 3), settled("withdrawn", "bob", 4)],
         None, ["NG", "screw"]),
    ],
)  # fmt: skip
def test_what_stands_of_one_item_in_whatever_order_its_rows_lie(rows, stands, differ):
    for order in itertools.permutations(rows):
        decisions = standing(order)
        assert [one.decided for one in decisions.rows] == ([stands] if stands else [])
        assert [[word.decided for word in words] for words in decisions.disputed] == ([differ] if differ else [])
        assert sorted(map(hash, decisions.usable)) == sorted(map(hash, rows))


def test_names_given_on_other_pictures_are_no_disagreement():
    rows = [row("screw", "ann", 1, task="group", basis="old"), row("wipe", "bob", 2, task="group", basis="new")]
    assert [one.decided for one in standing(rows).rows] == ["wipe"]
    assert standing([rows[0], replace(rows[1], basis="old")]).disputed


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ([[12, 11, 51, 50, "screw"], [99, 100, 140, 141, "wipe"]], True),
        ([[100, 100, 140, 140, "wipe"], [10, 10, 50, 50, "screw"]], True),
        ([[10, 10, 50, 50, "wipe"], [100, 100, 140, 140, "wipe"]], False),
        ([[10, 10, 50, 50, "screw"]], False),
        ([[10, 10, 50, 50, "screw"], [130, 100, 170, 140, "wipe"]], False),
        ([], False),
    ],
)
def test_reviewers_agree_on_a_frame_where_their_boxes_are_the_same_hands(other, same):
    one = json.dumps([[10, 10, 50, 50, "screw"], [100, 100, 140, 140, "wipe"]])
    two = json.dumps(other) if other else "empty"
    words = [row(said, who, item_id=FRAME, task="box") for said, who in ((one, "ann"), (two, "bob"))]
    assert agreed(words) is agreed(words[::-1]) is same


def test_a_time_without_zone_is_utc():
    rows = [replace(row("screw"), decided_at="2026-01-01T00:30:00"), row("wipe", second=1)]
    later = replace(row("NG"), decided_at="2026-01-01T03:00:00+03:00")
    assert words_on(rows)[-1].decided == "screw"
    assert words_on([rows[1], later])[-1].decided == "wipe"


@pytest.fixture
def review(tmp_path):
    """decisions.csv (not there yet) and its journal."""
    path = tmp_path / "decisions.csv"
    journal = Journal(journal_path(path))
    yield path, journal
    journal.close()


def decided_in(path):
    return [(one.item_id, one.decided) for one in read_decisions(path, ACTIONS).rows]


def test_the_file_is_sorted_and_writing_it_again_changes_nothing(review):
    path, journal = review
    journal.add(lambda: [row("wipe", item_id="box 9"), row("screw", second=5), row("screw", item_id="box 2")])
    assert export_decisions(path, ACTIONS, journal).added == 3
    before = path.read_bytes()
    assert decided_in(path) == [("box 1", "screw"), ("box 2", "screw"), ("box 9", "wipe")]
    assert export_decisions(path, ACTIONS, journal).added == 0
    assert path.read_bytes() == before


def test_edits_by_hand_and_what_git_brought_stay(review):
    path, journal = review
    journal.add(lambda: [row("wipe"), row("screw", item_id="box 2"), row("screw", item_id="box 3")])
    export_decisions(path, ACTIONS, journal)
    lines = path.read_text().splitlines(keepends=True)
    edited = [lines[0], lines[1].replace("wipe", "NG"), lines[3]]  # corrected, removed
    path.write_text("".join(edited) + "box 7,crop,,wipe,eve,2026-02-02,1,b\n")  # pulled
    journal.add(lambda: [row("wipe", item_id="box 4")])
    export_decisions(path, ACTIONS, journal)
    assert decided_in(path) == [("box 1", "NG"), ("box 3", "screw"), ("box 4", "wipe"), ("box 7", "wipe")]
    export_decisions(path, ACTIONS, journal, everything=True)
    assert ("box 2", "screw") in decided_in(path)
    assert ("box 1", "NG") in decided_in(path)


def test_a_kill_between_file_and_mark_writes_no_row_twice(review):
    path, journal = review
    journal.add(lambda: [row("wipe")])

    class Killed(Exception):
        pass

    def write_and_die(rows):
        write_decisions(path, rows)
        raise Killed

    with pytest.raises(Killed):
        journal.write_pending(write_and_die)
    assert export_decisions(path, ACTIONS, journal).added == 0
    assert len(path.read_text().splitlines()) == 2
    assert journal.written_up_to == 1


@given(bad=st.lists(RAW, max_size=4), open_quote=st.booleans())
def test_unusable_rows_survive_however_often_the_file_is_written(tmp_path_factory, bad, open_quote):
    path = tmp_path_factory.mktemp("review") / "decisions.csv"
    write_decisions(path, [row("wipe", second=3)])
    rows = [f"{text},crop" for text in bad] + (['box 5,crop,,"wipe'] if open_quote else [])
    good = "box 2,crop,,screw,bob,2026-01-01,1,b"
    path.write_text(path.read_text() + "\n".join([good, *rows]) + "\n", newline="")
    journal = Journal(path.with_name("journal.sqlite"))
    for _ in range(2):
        exported = export_decisions(path, ACTIONS, journal)
        assert [one.text for one in exported.bad] == rows
        assert [one.text for one in read_decisions(path, ACTIONS).bad] == rows
        assert decided_in(path) == [("box 1", "wipe"), ("box 2", "screw")]
    journal.close()


def test_a_file_with_columns_of_its_own_is_not_written(review):
    path, journal = review
    journal.add(lambda: [row("wipe")])
    write_decisions(path, [row("wipe", item_id="box 2")])
    path.write_text(path.read_text().replace("basis\n", "basis,note\n").replace(",b\n", ",b,look again\n"))
    before = path.read_bytes()
    with pytest.raises(InputError, match="would lose"):
        export_decisions(path, ACTIONS, journal)
    assert path.read_bytes() == before
    assert len(journal.rows_after(journal.written_up_to)[0]) == 1


def test_a_clock_that_is_set_back_does_not_undo_an_answer(review):
    _, journal = review
    journal.add(lambda: [row("wipe", second=30)])
    journal.add(lambda: [row("screw", second=10), row("NG", second=10, item_id="box 2")])
    rows, last = journal.rows_after(0)
    assert (words_on(rows[:2])[-1].decided, rows[2].decided_at[17:19], last) == ("screw", "10", 3)


def test_refused_rows_leave_no_trace(review):
    _, journal = review

    def refuse():
        raise InputError("no")

    with pytest.raises(InputError):
        journal.add(refuse)
    journal.add(lambda: [row("wipe")])
    assert len(journal.rows_after(0)[0]) == 1


def test_another_file_or_version_is_refused(tmp_path):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 40)
    with pytest.raises(InputError, match="expected a journal"):
        Journal(path)
    path.unlink()
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="version 1, found 99"):
        Journal(path)


def test_it_waits_for_the_disk():
    journal = Journal(Path(":memory:"))
    connection = journal._connection
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


ANSWERING = """
import sys; from pathlib import Path
from lineact.review.journal import Journal
from tests.code.test_standing_decisions import row
journal = Journal(Path(sys.argv[1]))
for number in range(100_000):
    journal.add(lambda: [row("wipe", item_id=f"box {number}"), row("screw", item_id=f"other {number}")])
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_told_as_saved(tmp_path):
    path = tmp_path / "journal.sqlite"
    for _ in range(3):
        path.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", ANSWERING, str(path)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().split()]
        process.wait()
        journal = Journal(path)
        rows = [one.item_id for one in journal.rows_after(0)[0]]
        journal.close()
        assert rows[: 2 * len(told)] == [name for number in told for name in (f"box {number}", f"other {number}")]
        assert len(rows) in (2 * len(told), 2 * len(told) + 2)  # the last pair: whole or not at all


def _answer_and_export(folder, reviewer, count):
    path = folder / "decisions.csv"
    journal = Journal(journal_path(path))
    for number in range(count):
        answer = row("wipe", reviewer, item_id=f"{reviewer} {number}")
        journal.add(partial(list, [answer]))
        if number % 5 == 0:
            export_decisions(path, ACTIONS, journal)
            time.sleep(0.001)
    journal.close()


def test_servers_that_write_at_once_lose_nothing(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_answer_and_export, args=(tmp_path, name, 30)) for name in ("ann", "bob", "cat")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    journal = Journal(journal_path(tmp_path / "decisions.csv"))
    export_decisions(tmp_path / "decisions.csv", ACTIONS, journal)
    assert len(decided_in(tmp_path / "decisions.csv")) == 90
