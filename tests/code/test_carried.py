"""Names of groups after another grouping: they go over where the same crops say one thing, and are asked again else."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from flows.review_line import read_reviewed
from lineact.decisions import box_of_id, read_decisions, standing, write_decisions
from lineact.groups import CARRIED, shown_basis
from lineact.review.carried import LEAST_MEMBERS, carried_names
from lineact.review.session import Given
from lineact.reviewer import answer_queue
from lineact.schema import CROPS, QUEUE, TEMPLATES, read_table, write_table
from lineact.simulate_review import SimulatedTruth
from tests.labelled_line import match_params, queue_params, review_params
from tests.reviewed_line import LINE, decisions_file, write_project


@pytest.fixture(scope="module")
def before(line, embedded):
    """A line whose groups have names, and these."""
    matched = line.match(embedded, match_params())
    found = line.found(embedded, matched, line.queue(embedded, matched, queue_params()))
    reviewer = review_params().reviewer
    answers = answer_queue(found.queue, line.boxes, SimulatedTruth(line.truth, 0.4), reviewer).decisions
    return found, [one for one in answers if one.task == "group"]


def regrouped(line, embedded, **changes):
    """The same crops in other groups."""
    matched = line.match(embedded, match_params(**changes))
    return line.found(embedded, matched, line.queue(embedded, matched, queue_params()))


def groups_of(found):
    return {row["item_id"]: row for row in found.queue.to_pylist() if row["task"] == "group"}


def carry(names, found):
    return carried_names(standing(names), found, 0.5)


def test_a_name_tells_the_crops_it_was_given_on(before):
    found, names = before
    for name in names:
        item = groups_of(found)[name.item_id]
        assert (name.shown, name.members) == (item["basis"], item["box_ids"])


def test_the_same_groups_need_no_name_again(before):
    found, names = before
    assert carry(names, found).rows == ()
    assert carry(names, found).asked_again == {}
    assert carry(names[:2], found).rows == ()  # what was never named is asked as ever


def test_names_go_over_to_the_groups_of_the_same_crops(line, embedded, before):
    _, names = before
    found = regrouped(line, embedded, seed=5)
    carried = carry(names, found)
    truth = line.true_actions()
    assert carried.rows
    for row in carried.rows:
        item = groups_of(found)[row.item_id]
        assert {truth[box_id] for box_id in item["box_ids"]} == {row.decided}
        assert (row.basis, row.suggested, row.seconds) == (shown_basis(item), CARRIED, 0.0)
        assert row.reviewer == names[0].reviewer
    again = carry([*names, *carried.rows], found)
    assert not {row.item_id for row in again.rows} & {row.item_id for row in carried.rows}


def one_group(found, members, others=()):
    """Today's `group:77` holds these crops; the others are in `group:78`."""
    groups = dict.fromkeys(members, 77) | dict.fromkeys(others, 78)
    crops = pa.table(
        {
            name: [groups.get(box_id) for box_id in found.crops["box_id"].to_pylist()]
            if name == "group"
            else found.crops[name]
            for name in CROPS.names
        },
        schema=CROPS,
    )
    item = next(row for row in found.queue.to_pylist() if row["task"] == "group")
    items = [
        item | {"item_id": f"group:{number}", "basis": f"{number:016x}", "box_ids": list(some)}
        for number, some in ((77, members), (78, others))
        if some
    ]
    return replace(found, crops=crops, queue=pa.Table.from_pylist(items, schema=QUEUE))


def named(names, *said):
    return [replace(name, decided=decided) for name, decided in zip(names, said, strict=False)]


def test_a_group_that_joins_two_of_one_name_has_it_and_of_two_names_is_asked_again(before):
    found, names = before
    both = [*names[0].members, *names[1].members]
    joined = one_group(found, both)
    assert [row.decided for row in carry(named(names, "screw", "screw"), joined).rows] == ["screw"]
    differ = carry(named(names, "screw", "wipe"), joined)
    assert (differ.rows, list(differ.asked_again)) == ((), ["group:77"])
    assert "group:77 is to be named again: it holds crops of earlier groups named screw and wipe" in differ.told()
    mixed = carry(named(names, "mixed", "mixed"), joined)
    assert (mixed.rows, list(mixed.asked_again)) == ((), ["group:77"])


def test_a_group_that_is_split_leaves_its_name_to_the_greater_part_alone(before):
    found, names = before
    members = names[0].members
    assert len(members) == 6
    split = one_group(found, members[:4], members[4:])
    carried = carry(named(names, "screw"), split)
    assert [(row.item_id, row.decided) for row in carried.rows] == [("group:77", "screw")]
    assert list(carried.asked_again) == ["group:78"]
    halves = carry(named(names, "screw"), one_group(found, members[:3], members[3:]))
    assert (halves.rows, sorted(halves.asked_again)) == ((), ["group:77", "group:78"])


def test_few_crops_leave_no_name(before):
    found, names = before
    few = named(names, "screw")[0]
    few = replace(few, basis=f"{few.shown}/{' '.join(few.members[: LEAST_MEMBERS - 1])}")
    carried = carry([few], one_group(found, few.members))
    assert (carried.rows, list(carried.asked_again)) == ((), ["group:77"])


def test_names_of_an_earlier_version_that_tell_no_crops_are_asked_again(line, embedded, before):
    _, names = before
    found = regrouped(line, embedded, seed=5)
    carried = carry([replace(name, basis=name.shown) for name in names], found)
    assert (carried.rows, carried.asked_again) == ((), {})


def test_crops_are_found_again_where_another_detection_moved_them(before):
    found, names = before

    def moved(box_id):
        frame, (x1, y1, x2, y2) = box_of_id(box_id) or ("", (0, 0, 0, 0))
        return f"{frame}#{x1 + 3:.0f}-{y1:.0f}-{x2 + 3:.0f}-{y2:.0f}"

    name = named(names, "screw")[0]
    elsewhere = replace(name, basis=f"{name.shown}/{' '.join(map(moved, name.members))}")
    today = one_group(found, name.members)
    assert [row.decided for row in carry([elsewhere], today).rows] == ["screw"]


def test_the_page_carries_names_over_when_it_is_opened_and_they_can_be_taken_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = write_project(tmp_path)
    groups = [row for row in rows if row["task"] == "group"]
    reviewed = read_reviewed(LINE, "ann")
    assert reviewed.carried.rows == ()
    for row, said in zip(groups, ("screw", "wipe", "NG"), strict=True):
        reviewed.session.answer([given(row["item_id"], said)])
    reviewed.session.export()
    renumber_groups(tmp_path / "data" / LINE)
    again = read_reviewed(LINE, "bob")
    assert len(again.carried.rows) == 3
    assert all("as the group of the same crops was" in text for text in again.carried.told())
    names = {item.item_id: item.decided for item in again.session.page("group", 0, 9).items}
    crops = {row["box_ids"][0]: said for row, said in zip(groups, ("screw", "wipe", "NG"), strict=True)}
    shown = {row.item_id: row.members[0] for row in again.carried.rows}
    assert names == {item: crops[first] for item, first in shown.items()}
    assert read_reviewed(LINE, "bob").carried.rows == ()  # once
    taken_back = again.session.answer([given("group:0", "mixed", seen=0)])
    assert [item.words for item in taken_back]  # bob says otherwise than ann did
    again.session.export()
    rows_now = read_decisions(decisions_file(tmp_path), ("screw", "wipe")).usable
    assert {row.reviewer for row in rows_now if row.suggested == CARRIED} == {"ann"}


def given(item_id, decided, seen=0):
    return Given(item_id, decided, 1.0, seen, settles=False)


def renumber_groups(folder):
    """The groups get other numbers, and one of the crops shown for each is another."""
    for name, schema in (("crops", CROPS), ("templates", TEMPLATES)):
        path = folder / "match" / f"{name}.parquet"
        table = read_table(path, schema)
        groups = [(group + 1) % 3 for group in table["group"].to_pylist()]
        place = schema.get_field_index("group")
        write_table(table.set_column(place, "group", pa.array(groups, pa.int32())), path, schema)
    path = folder / "queue" / "queue.parquet"
    items = read_table(path, QUEUE).to_pylist()
    for item in items:
        if item["task"] == "group":
            number = (int(item["item_id"].removeprefix("group:")) + 1) % 3
            item |= {"item_id": f"group:{number}", "basis": f"{number:016x}", "box_ids": item["box_ids"][:-1]}
        elif item["suggested"].startswith("group:"):
            item["suggested"] = f"group:{(int(item['suggested'].removeprefix('group:')) + 1) % 3}"
    write_table(pa.Table.from_pylist(items, schema=QUEUE), path, QUEUE)
    assert np.unique([item["basis"] for item in items if item["task"] == "group"]).size == 3


def test_a_name_against_still_counts_when_its_number_names_another_group(before):
    """Numbers are used again: what was said of the crops shown under one before holds on."""
    found, names = before
    screw, wipe = named(names, "screw", "wipe")
    today = one_group(found, [*screw.members[:4], *wipe.members[:2]])
    assert list(carry([screw, wipe], today).asked_again) == ["group:77"]
    number_again = replace(
        wipe, decided="NG", basis=f"{'f' * 16}/{' '.join(wipe.members[2:])}", decided_at="2030-01-01T00:00:00+00:00"
    )
    carried = carry([screw, wipe, number_again], today)
    assert (carried.rows, list(carried.asked_again)) == ((), ["group:77"])


def test_a_carried_name_that_is_taken_back_or_removed_stays_so(before):
    found, names = before
    screw = named(names, "screw")[0]
    today = one_group(found, screw.members)
    (row,) = carry([screw], today).rows
    taken_back = replace(row, decided="withdrawn", suggested="", decided_at="2031-01-01T00:00:00+00:00")
    assert carry([screw, row, taken_back], today).rows == ()
    assert carried_names(standing([screw]), today, 0.5, ever=[row]).rows == ()


def test_a_carried_row_that_is_deleted_from_the_file_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named_and_renumbered(tmp_path)
    read_reviewed(LINE, "bob").session.export()
    path = decisions_file(tmp_path)
    kept = [line for line in path.read_text().splitlines(keepends=True) if CARRIED not in line]
    path.write_text("".join(kept))
    assert read_reviewed(LINE, "bob").carried.rows == ()


def test_names_go_over_once_where_another_machines_clock_was_ahead(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named_and_renumbered(tmp_path)
    path = decisions_file(tmp_path)
    rows = read_decisions(path, ("screw", "wipe")).usable
    ahead = [replace(row, decided_at=f"2099{row.decided_at[4:]}") if row.task == "group" else row for row in rows]
    write_decisions(path, ahead)
    for journal in path.parent.glob("journal.sqlite*"):  # it stays on the other machine
        journal.unlink()
    page = read_reviewed(LINE, "bob")
    assert len(page.carried.rows) == 3
    assert all(item.decided for item in page.session.page("group", 0, 9).items)
    page.session.export()
    assert read_reviewed(LINE, "bob").carried.rows == ()


def named_and_renumbered(folder):
    """A line whose groups got names and then other numbers."""
    groups = [row for row in write_project(folder) if row["task"] == "group"]
    reviewed = read_reviewed(LINE, "ann")
    for row, said in zip(groups, ("screw", "wipe", "NG"), strict=True):
        reviewed.session.answer([given(row["item_id"], said)])
    reviewed.session.export()
    renumber_groups(folder / "data" / LINE)
