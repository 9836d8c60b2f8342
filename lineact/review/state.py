"""What is decided, asked and left, kept up to date with journal and decisions.csv without reading all of them anew."""

import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from lineact.attach import Boxes, answered_items
from lineact.dataset.asked import asked_of
from lineact.decisions import (
    MIXED,
    NG,
    TASKS,
    WITHDRAWN,
    BadRow,
    Decision,
    Decisions,
    agreed,
    box_of_id,
    decided_at,
    standing,
    words_on,
)
from lineact.queue import suggestion_of
from lineact.review.export import not_written, read_written
from lineact.review.journal import Journal
from lineact.review.queue_index import ItemSet, QueueIndex

PACE_ANSWERS = 200  # a reviewer's pace is the mean of so many last answers
LEAST_ANSWERS = 3  # fewer tell no pace


@dataclass(frozen=True)
class Shown:
    """An item of the queue as a person sees it.

    Attributes:
        item_id: the queue's item.
        task: "group", "crop", "audit" or "box".
        reason: why it is asked.
        holdout: whether it measures the line.
        box_ids: crops to show; of a frame: its boxes.
        group: item id of the group whose templates are like the crop; "" for an audit, which asks without a hint.
        similarity: of the crop to them, -1 to 1; None where there is none.
        suggested: a label, or "" where there is none; of a frame its boxes, see `text_of_boxes`. A group that has a
            name is called by it. Always "" for an audit.
        decided: the decision that answers it, "" where it waits.
        mine: what this reviewer says of it, "" where nothing.
        words: where reviewers say different things: (reviewer, what) of each.
        seen: how many rows it has, a group for the crops of today: an answer tells what its page showed.
        seen_mine: how many of them are this reviewer's.
        outdated: what was decided of this group before other crops were shown, "" where nothing was.
        asked: whether somebody should decide it, or has.
    """

    item_id: str
    task: str
    reason: str
    holdout: bool
    box_ids: list[str]
    group: str
    similarity: float | None
    suggested: str
    decided: str
    mine: str
    words: list[tuple[str, str]]
    seen: int
    seen_mine: int
    outdated: str
    asked: bool


@dataclass(frozen=True)
class Progress:
    """How far the review is.

    Attributes:
        total: items of the queue that are asked.
        decided: of these have a decision that stands.
        unasked: further items: random crops that nobody needs to decide.
        disputed: item ids that reviewers answer differently.
        waiting: task to how many items wait.
        seconds_left: at the reviewer's own pace, of the tasks whose pace is known; None where none is.
        unknown: items that wait in the other tasks.
    """

    total: int
    decided: int
    unasked: int
    disputed: list[str]
    waiting: dict[str, int]
    seconds_left: float | None
    unknown: int


@dataclass
class ReviewState:
    """A queue with all that was answered.

    Attributes:
        queue: the queue.
        boxes: which crops' decisions answer.
        actions: without NG.
        min_iou: at which a decision answers a box found again elsewhere.
        decisions: decisions.csv.
        journal: the line's.
        reviewer: who looks.
        certifying: random crops that certify the labels.
        changes: grows with every row that is taken in.
        naming: likewise with those that may change which labels there are: all but looks at crops that certify.
    """

    queue: QueueIndex
    boxes: Boxes
    actions: tuple[str, ...]
    min_iou: float
    decisions: Path
    journal: Journal
    reviewer: str
    bad: tuple[BadRow, ...] = ()
    pending: int = 0
    changes: int = 0
    naming: int = 0
    certifying: frozenset[str] = frozenset()
    _read: tuple = ()
    _seen_up_to: int = 0
    _rows: dict[str, list[Decision]] = field(default_factory=dict)
    _words: dict[str, list[Decision]] = field(default_factory=dict)
    _of_frame: dict[str, set[str]] = field(default_factory=dict)
    _disputes: set[str] = field(default_factory=set)
    _answers: dict[str, str] = field(default_factory=dict)  # item of today to the id in its decision
    _decided: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    _needless: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # random crops, decided or not
    _pace: dict[str, deque[float]] = field(default_factory=dict)
    _sets: list[ItemSet] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.certifying = frozenset(asked_of(self.queue.table).certifying)
        self._needless = np.zeros(self.queue.table.num_rows, bool)

    def refresh(self) -> None:
        """Takes in what was answered since, here or elsewhere.

        Raises:
            InputError: where decisions.csv cannot be read.
        """
        read = (_stat_of(self.decisions), self.journal.written_up_to)
        if read != self._read:
            written = read_written(self.decisions, self.actions)
            self.bad = written.bad
            self._rows, self._words, self._of_frame, self._answers, self._pace, self._sets = {}, {}, {}, {}, {}, []
            self._disputes = set()
            self._decided = np.zeros(self.queue.table.num_rows, bool)
            self.changes += 1
            self.naming += 1
            pending, self._seen_up_to = self.journal.rows_after(read[1])
            new = not_written(written, pending)
            self.pending = len(new)
            self._take([*written.usable, *new])
            self._read = read
        else:
            new, self._seen_up_to = self.journal.rows_after(self._seen_up_to)
            self.pending += len(new)
            self._take(new)

    def _take(self, rows: Iterable[Decision]) -> None:
        changed = {}
        for row in rows:
            self.changes += 1
            self.naming += row.item_id not in self.certifying
            self._rows.setdefault(row.item_id, []).append(row)
            changed[row.item_id] = row.task
            if row.reviewer == self.reviewer and row.decided != WITHDRAWN and row.seconds:  # taken back, imported: 0 s
                self._pace.setdefault(row.task, deque(maxlen=PACE_ANSWERS)).append(row.seconds)
        frames: set[str] = set()
        for item_id, task in changed.items():
            self._words[item_id] = words_on(self._rows[item_id])
            if task in ("crop", "audit"):
                place = box_of_id(item_id)
                frame = place[0] if place else item_id
                self._of_frame.setdefault(frame, set()).add(item_id)
                frames.add(frame)
            else:
                bases = self._bases([item_id]) if task == "group" else {}
                self._answer([item_id], answered_items(self._words[item_id][-1:], bases, self.boxes, self.min_iou))
        for frame in frames:
            self._attach(frame)
        if "group" in changed.values():
            self._sets = []

    def _attach(self, frame: str) -> None:
        """Which boxes of today the decisions on one frame's crops answer."""
        ids = sorted(self._of_frame[frame])
        words = [self._words[item_id][-1] for item_id in ids if self._words[item_id]]
        if all(item_id in self.boxes for item_id in ids):
            self._answer(ids, {word.item_id: word.item_id for word in words})
            return
        self.naming += 1  # another row on the frame may change what these answer
        today = answered_items(words, {}, self.boxes, self.min_iou)
        self._answer([*ids, *(box_id for box_id, _ in self.boxes.on(frame))], today)

    def _answer(self, touched: Iterable[str], today: dict[str, str]) -> None:
        for item_id in touched:
            self._answers.pop(item_id, None)
        self._answers |= {item: answering for answering, item in today.items()}
        for item_id in {*touched, *today.values()}:
            row = self.queue.row_of.get(item_id)
            if row is None:
                continue
            words = self._words_for(item_id)
            said = agreed(words)
            self._decided[row] = bool(words) and said
            (self._disputes.discard if said else self._disputes.add)(item_id)

    def _bases(self, item_ids: Sequence[str]) -> dict[str, str]:
        known = [item_id for item_id in item_ids if item_id in self.queue.row_of]
        items = self.queue.items([self.queue.row_of[item_id] for item_id in known])
        return {item["item_id"]: item["basis"] for item in items}

    def _words_for(self, item_id: str) -> list[Decision]:
        return self._words.get(self._answers.get(item_id, ""), [])

    @property
    def names(self) -> dict[str, str]:
        """Item id of each group to the name that stands."""
        said = {item_id: self._words_for(item_id) for item_id in self.queue.groups}
        stand = {item_id: words[-1].decided for item_id, words in said.items() if words and agreed(words)}
        return {item_id: name for item_id, name in stand.items() if name != MIXED}

    @property
    def sets(self) -> list[ItemSet]:
        """Items that are looked at together."""
        if not self._sets:
            self._sets = self.queue.sets([*self.actions, NG], self.names)
        return self._sets

    @property
    def has_audits(self) -> bool:
        """Whether the queue has random crops."""
        return bool((self.queue.tasks == TASKS.index("audit")).any())

    def ask_audits(self, item_ids: Iterable[str]) -> None:
        """Of the undecided random crops these alone are asked from now on."""
        self._needless = self.queue.tasks == TASKS.index("audit")
        self._needless[[self.queue.row_of[item_id] for item_id in item_ids]] = False

    @property
    def _waits(self) -> np.ndarray:
        return ~(self._decided | self._needless)

    def asked_in(self, items: ItemSet) -> int:
        """How many of a set are asked, or decided."""
        return int((self._decided | ~self._needless)[items.rows].sum())

    def waiting_in(self, items: ItemSet) -> int:
        """How many of a set are asked and undecided."""
        return int(self._waits[items.rows].sum())

    def next_waiting(self, items: ItemSet, start: int) -> int | None:
        """Place in a set of the first item that waits from `start` on, then from its beginning; None where none is."""
        open_places = np.flatnonzero(self._waits[items.rows])
        if not len(open_places):
            return None
        return int(open_places[np.searchsorted(open_places, start) % len(open_places)])

    def progress(self) -> Progress:
        """How far the review is."""
        unasked = int((self._needless & ~self._decided).sum())
        counts = np.bincount(self.queue.tasks[self._waits], minlength=len(TASKS))
        waiting = {task: int(count) for task, count in zip(TASKS, counts, strict=True)}
        pace = {task: statistics.fmean(told) for task, told in self._pace.items() if len(told) >= LEAST_ANSWERS}
        known = [task for task in TASKS if waiting[task] and task in pace]
        return Progress(
            total=len(self._decided) - unasked,
            decided=int(self._decided.sum()),
            unasked=unasked,
            disputed=sorted(self._disputes, key=self.queue.row_of.__getitem__),
            waiting=waiting,
            seconds_left=sum(waiting[task] * pace[task] for task in known) if known else None,
            unknown=sum(waiting[task] for task in TASKS if task not in pace),
        )

    def show(self, rows: Sequence[int]) -> list[Shown]:
        """Items as a person sees them.

        Args:
            rows: of the queue.
        """
        names = self.names
        return [self._shown(item, row, names) for item, row in zip(self.queue.items(rows), rows, strict=True)]

    def _shown(self, item: dict, row: int, names: dict[str, str]) -> Shown:
        item_id = item["item_id"]
        words, rows = self._words_for(item_id), self._rows_for(item_id)
        if item["task"] == "group":  # under the same id other pictures were shown before
            rows = [one for one in rows if one.shown == item["basis"]]
        disputed = bool(words) and not agreed(words)
        before = self._words.get(item_id, [])
        hint = item["task"] == "crop" and item["suggested"].startswith("group:")
        similarity = float(self.queue.similarity[row])
        return Shown(
            item_id=item_id,
            task=item["task"],
            reason=item["reason"],
            holdout=item["holdout"],
            box_ids=item["box_ids"],
            group=item["suggested"] if hint else "",
            similarity=None if np.isnan(similarity) else round(similarity, 3),
            suggested=suggestion_of(item, names),
            decided=words[-1].decided if words and not disputed else "",
            mine=mine.decided if (mine := self.my_word(item_id)) else "",
            words=[(word.reviewer, word.decided) for word in words] if disputed else [],
            seen=len(rows),
            seen_mine=sum(one.reviewer == self.reviewer for one in rows),
            outdated=before[-1].decided if before and not words else "",
            asked=bool(self._decided[row] or not self._needless[row]),
        )

    def _rows_for(self, item_id: str) -> list[Decision]:
        return self._rows.get(self._answers.get(item_id, item_id), [])

    def decisions_now(self) -> Decisions:
        """What stands of all rows."""
        return standing([row for rows in self._rows.values() for row in rows], self.bad)

    def row_id(self, item_id: str) -> str:
        """The item id that a new row of an item gets: of a crop found again a little elsewhere the earlier one."""
        return self._answers.get(item_id, item_id)

    def newest(self, item_id: str) -> datetime | None:
        """When an item was decided last; None where it never was. Other machines' clocks may be ahead."""
        rows = [*self._rows_for(item_id), *self._rows.get(item_id, [])]  # a group's: of other pictures too
        return max(map(decided_at, rows), default=None)

    def my_word(self, item_id: str) -> Decision | None:
        """What this reviewer says of an item."""
        return next((word for word in self._words_for(item_id) if word.reviewer == self.reviewer), None)


def _stat_of(path: Path) -> tuple[int, int, int] | None:
    if not path.is_file():
        return None
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
