"""Names of groups that go over to groups of today which show the same crops: another grouping numbers them anew.

The row of a group's name tells, behind the hash of what was shown, the crops that were shown. A name goes over to the
group of today that holds most of them, where these crops say one thing: no crop shown under another name, or under
"mixed", lies in that group too. Otherwise the group is asked again. Each name that goes over is a row of its own, of
the reviewer who gave it, so that it can be seen, answered otherwise and taken back.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow.compute as pc

from lineact.attach import attach
from lineact.dataset.labels import Found
from lineact.decisions import MIXED, Decision, Decisions, agreed, words_on
from lineact.groups import CARRIED, shown_basis
from lineact.review.journal import stamp

LEAST_MEMBERS = 3  # of the crops that were shown so many at least lie in the group of today


@dataclass(frozen=True)
class Carried:
    """What became of the names of earlier groups.

    Attributes:
        rows: names that go over, as decisions on groups of today.
        asked_again: groups of today that hold crops of earlier groups and have no name of them, with the reason.
    """

    rows: tuple[Decision, ...]
    asked_again: dict[str, str]

    def told(self) -> list[str]:
        """Sentences."""
        over = (f"{row.item_id} is named {row.decided}, as the group of the same crops was" for row in self.rows)
        return [*over, *(f"{item_id} is to be named again: it {why}" for item_id, why in self.asked_again.items())]


def carried_names(decisions: Decisions, found: Found, min_iou: float, ever: Iterable[Decision] = ()) -> Carried:
    """Which groups of today that nobody named have a name all the same.

    Args:
        decisions: those made so far.
        found: the tables.
        ever: rows that were given once, in `decisions` yet or not: what somebody removed there stays removed.
        min_iou: a crop that was shown is found again at this IoU, see `attach`.
    """
    items = found.queue.filter(pc.equal(found.queue["task"], "group")).to_pylist()
    today = {item["item_id"]: item for item in items}
    given = [row for row in decisions.usable if row.task == "group"]  # withdrawn ones too: a name taken back stays so
    settled = {row.item_id for row in [*given, *ever] if _shown_today(row, today)}
    settled |= {words[-1].item_id for words in decisions.disputed}
    earlier = [row for row in _last_words(given) if not _shown_today(row, today)]
    if not earlier:
        return Carried((), {})
    group_of = _groups_of({box_id for row in earlier for box_id in row.members}, found, min_iou)
    counts = [Counter(group_of[box_id] for box_id in row.members if box_id in group_of) for row in earlier]
    rows, asked_again = [], {}
    for item_id in sorted(today.keys() - settled):
        said = [(count[item_id], row, count) for row, count in zip(earlier, counts, strict=True) if count[item_id]]
        if not said:
            continue
        said.sort(key=lambda one: -one[0])
        reason = _against(item_id, said)
        if reason:
            asked_again[item_id] = reason
        else:
            rows.append(_carried(today[item_id], said[0][1]))
    return Carried(tuple(rows), asked_again)


def _shown_today(row: Decision, today: Mapping[str, dict]) -> bool:
    return row.task == "group" and row.item_id in today and today[row.item_id]["basis"] == row.shown


def _last_words(given: Iterable[Decision]) -> list[Decision]:
    """Names that stand of what was shown: numbers are used again, so a later row may tell of other crops."""
    of_shown: dict[tuple[str, str], list[Decision]] = {}
    for row in given:
        of_shown.setdefault((row.item_id, row.shown), []).append(row)
    words = [words_on(rows) for rows in of_shown.values()]
    return [word for said in words for word in (said if not agreed(said) else said[-1:])]


def _against(item_id: str, said: list[tuple[int, Decision, Counter[str]]]) -> str:
    """Why a group of today has no name of earlier ones; "" where it has."""
    names = sorted({row.decided for _, row, _ in said})
    if names != [said[0][1].decided] or names == [MIXED]:
        return f"holds crops of earlier groups named {' and '.join(names)}"
    count, row, counts = said[0]
    if count < LEAST_MEMBERS or 2 * count <= len(row.members):
        return f"holds {count} of the {len(row.members)} crops that were shown as {row.decided}"
    return "" if counts.most_common(1)[0][0] == item_id else "holds the smaller part of an earlier group"


def _carried(item: dict, row: Decision) -> Decision:
    now = stamp(datetime.now(UTC))
    return Decision(item["item_id"], "group", CARRIED, row.decided, row.reviewer, now, 0.0, shown_basis(item))


def _groups_of(members: set[str], found: Found, min_iou: float) -> Mapping[str, str]:
    """Item id of today's group of each crop that was shown; of those that are found again."""
    again = attach(sorted(members), found.placed_boxes, min_iou)
    wanted = set(again.values())
    group_of = {
        box_id: f"group:{group}"
        for box_id, group in zip(found.crops["box_id"].to_pylist(), found.crops["group"].to_pylist(), strict=True)
        if box_id in wanted and group is not None
    }
    return {member: group_of[box_id] for member, box_id in again.items() if box_id in group_of}
