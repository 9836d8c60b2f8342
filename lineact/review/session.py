"""One reviewer at one line: pages of items, answers that are saved before they count, and decisions.csv at the end."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import RLock

from lineact.dataset.awaiting import AskedAudits
from lineact.decisions import DISAGREEMENT, WITHDRAWN, Decision, Decisions, standing
from lineact.errors import LineactError
from lineact.looks import stamped
from lineact.review.answers import Answer, decision_of
from lineact.review.export import Exported, export_decisions
from lineact.review.journal import later_than
from lineact.review.queue_index import ItemSet
from lineact.review.state import Progress, ReviewState, Shown

DISPUTED = "disagreements"  # the set of items that reviewers answer differently
AUDITS = "audit"  # the set of the random crops


class UnknownItemError(Exception):
    """The queue has no such item, or no such set."""


class UnseenError(Exception):
    """An item has rows that the page which answers it has not shown."""


@dataclass(frozen=True)
class Given:
    """An answer to one item.

    Attributes:
        item_id: of the queue.
        decided: see `lineact.review.answers.Answer`.
        seconds: how long it took.
        seen: rows of the item that the page showed: this reviewer's, or all of them where it settles a disagreement.
        settles: whether it settles one.
    """

    item_id: str
    decided: str
    seconds: float
    seen: int
    settles: bool


@dataclass(frozen=True)
class Page:
    """Some items of a set.

    Attributes:
        place: of the first one in its set.
        total: items of the set.
        waiting: of these are asked and undecided.
        items: from `place` on.
    """

    place: int
    total: int
    waiting: int
    items: list[Shown]


class Session:
    """Safe to be used by several threads."""

    def __init__(
        self,
        state: ReviewState,
        size_of: Callable[[dict], tuple[int, int]],
        settings_now: Callable[[], str],
        stamp_after: Callable[[Decisions], str],
        audits_after: Callable[[Decisions], AskedAudits] | None,
    ) -> None:
        """Takes what answers and shows.

        Args:
            state: what is decided.
            size_of: width and height in pixels of the frame of a `box` item.
            settings_now: see `DatasetParams.accepted_by`; somebody may change them while the page is open.
            stamp_after: of looks at random crops after some decisions, see `lineact.looks`.
            audits_after: which random crops are still asked after some decisions; None where none ever is. It is asked
                where random crops are looked at, or nothing else is left: it may label all crops anew.
        """
        self._state = state
        self._size_of = size_of
        self._settings_now, self._stamp_after = settings_now, stamp_after
        self._stamp, self._stamp_of = "", (-1, "")  # that of the state's `naming` and of settings
        self._audits_after = audits_after
        self._audits_up_to = -1  # the state's `changes` when they were told last
        self._lock = RLock()
        self.certified = ""  # the certificate in words, as far as it is known to be met
        if audits_after is None:
            state.ask_audits([])

    def overview(self) -> tuple[ReviewState, Progress, list[tuple[ItemSet, int, int]]]:
        """What was answered, how far it is, and each set with how many of its items are asked, and how many wait."""
        with self._lock:
            state = self._state
            state.refresh()
            if not any(state.progress().waiting.values()):
                self._ask_audits()
            return state, state.progress(), [(one, state.asked_in(one), state.waiting_in(one)) for one in state.sets]

    def _ask_audits(self) -> None:
        """Learns which random crops are asked, where anything was answered since."""
        state = self._state
        if self._audits_after is None or not state.has_audits or self._audits_up_to == state.changes:
            return
        self._audits_up_to = state.changes
        with suppress(
            LineactError, OSError, ValueError
        ):  # "quality" and "finish" tell it; what is answered is saved all the same
            audits = self._audits_after(state.decisions_now())
            state.ask_audits(audits.items)
            self.certified = audits.certified

    def item(self, item_id: str) -> dict:
        """A row of the queue.

        Raises:
            UnknownItemError: where it has no such item.
        """
        if item_id not in self._state.queue.row_of:
            raise UnknownItemError(f"unknown item {item_id!r}")
        return self._state.queue.items([self._state.queue.row_of[item_id]])[0]

    def page(self, name: str, place: int, count: int) -> Page:
        """Items of a set.

        Args:
            name: of the set, or "disagreements".
            place: of the first one, from 0; before the beginning or behind the end is the nearest page.
            count: how many.

        Raises:
            UnknownItemError: where there is no such set.
        """
        with self._lock:
            self._state.refresh()
            if name == AUDITS:
                self._ask_audits()
            rows, waiting = self._rows_of(name)
            place = max(min(place, (len(rows) - 1) // count * count), 0)
            return Page(place, len(rows), waiting, self._state.show(rows[place : place + count]))

    def next_waiting(self, name: str, place: int, count: int) -> Page:
        """The page with the first undecided item from a place on, pages being of `count`; else as `page`."""
        with self._lock:
            self._state.refresh()
            if name == AUDITS:
                self._ask_audits()
            found = None
            if name != DISPUTED:
                found = self._state.next_waiting(self._set(name), place)
            return self.page(name, place if found is None else found // count * count, count)

    def _rows_of(self, name: str) -> tuple[list[int], int]:
        if name == DISPUTED:
            rows = [self._state.queue.row_of[item] for item in self._state.progress().disputed]
            return rows, len(rows)
        items = self._set(name)
        return items.rows.tolist(), self._state.waiting_in(items)

    def _set(self, name: str) -> ItemSet:
        for one in self._state.sets:
            if one.name == name:
                return one
        raise UnknownItemError(f"no items are called {name!r}; there are {', '.join(s.name for s in self._state.sets)}")

    def show(self, item_ids: Sequence[str]) -> list[Shown]:
        """Items as they are now."""
        with self._lock:
            self._state.refresh()
            return self._state.show([self._state.queue.row_of[item_id] for item_id in item_ids])

    def answer(self, given: Sequence[Given]) -> list[Shown]:
        """Saves answers, all or none. What says nothing new (the reply to an earlier try was lost) adds no row.

        Returns:
            The items as they are then.

        Raises:
            UnknownItemError: where the queue has no such item.
            ValueError: on an unusable answer.
            UnseenError: where another window answered an item meanwhile.
            FullDiskError: where there is no room.
        """
        made = [self._decision(one) for one in given]

        def rows() -> list[Decision]:
            self._state.refresh()
            new = [row for one, decision in zip(given, made, strict=True) for row in self._new_row(one, decision)]
            return stamped(new, self._stamp_with(new)) if any(row.task == "audit" for row in new) else new

        with self._lock:
            self._state.journal.add(rows)
            shown = self.show([one.item_id for one in given])
            if any(item.task == "audit" for item in shown):
                self._ask_audits()
            return shown

    def _decision(self, given: Given) -> Decision:
        item = self.item(given.item_id)
        size_wh_px = self._size_of(item) if item["task"] == "box" and given.decided != WITHDRAWN else None
        answer = Answer(given.decided, self._state.reviewer, given.seconds)
        return decision_of(item, answer, self._state.actions, size_wh_px)

    def _new_row(self, given: Given, decision: Decision) -> list[Decision]:
        mine = self._state.my_word(given.item_id)
        settles = given.settles
        if decision.decided == WITHDRAWN:
            if mine is None:
                return []
            settles = mine.suggested == DISAGREEMENT
        elif mine and mine.decided == decision.decided and (mine.suggested == DISAGREEMENT or not given.settles):
            return []
        (item,) = self._state.show([self._state.queue.row_of[given.item_id]])
        if given.seen != (item.seen if given.settles else item.seen_mine):
            said = ", ".join(f"{who}: {what}" for who, what in item.words) or item.mine or item.decided or "taken back"
            raise UnseenError(f"answered in another window meanwhile ({said})")
        suggested = DISAGREEMENT if settles else decision.suggested
        row = replace(decision, item_id=self._state.row_id(given.item_id), suggested=suggested)
        newest = self._state.newest(given.item_id)
        return [later_than(row, newest) if newest else row]

    def _stamp_with(self, new: Sequence[Decision]) -> str:
        """The stamp of looks that are saved together with these rows: as if they came last."""
        if any(row.item_id not in self._state.certifying for row in new):
            return self._stamp_after(standing([*self._state.decisions_now().usable, *new]))
        now = self._state.naming, self._settings_now()
        if self._stamp_of != now:
            self._stamp, self._stamp_of = self._stamp_after(self._state.decisions_now()), now
        return self._stamp

    def add(self, make: Callable[[Decisions], Sequence[Decision]]) -> None:
        """Saves rows that nobody answered on this page.

        Args:
            make: gives them after all decisions so far; nobody else writes meanwhile.

        Raises:
            FullDiskError: where there is no room.
        """

        def rows() -> Sequence[Decision]:
            self._state.refresh()
            newest = self._state.newest
            made = [(row, newest(row.item_id)) for row in make(self._state.decisions_now())]
            return [later_than(row, last) if last else row for row, last in made]

        with self._lock:
            self._state.journal.add(rows)

    def ever_given(self) -> list[Decision]:
        """All rows that were answered here, in decisions.csv still or not."""
        return self._state.journal.rows_after(0)[0]

    def decisions(self) -> Decisions:
        """All that was answered, in decisions.csv yet or not."""
        with self._lock:
            self._state.refresh()
            return self._state.decisions_now()

    def export(self) -> Exported:
        """Writes decisions.csv; see `export_decisions`."""
        with self._lock:
            return export_decisions(self._state.decisions, self._state.actions, self._state.journal)
