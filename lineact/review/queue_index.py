"""A queue of any length, so held that a page of it is found at once: columns, not rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineact.decisions import MIXED, TASKS
from lineact.lookup import Lookup

STRETCH_S = 60.0  # after the most doubtful crops comes one from each such stretch of a recording in turn
FIRST_ITEMS = 40  # so many of an action are the most doubtful ones, whatever they show
UNNAMED = ""  # the action of crops for which nothing is suggested


@dataclass(frozen=True)
class ItemSet:
    """Items that are looked at together, in the order of looking.

    Attributes:
        task: "group", "crop", "audit" or "box".
        action: what is suggested for each of its crops, "" where nothing is.
        rows: rows of the queue, int64.
    """

    task: str
    action: str
    rows: np.ndarray

    @property
    def name(self) -> str:
        """What tells it from the line's others."""
        return f"{self.task}/{self.action}" if self.task == "crop" else self.task


@dataclass
class QueueIndex:
    """A queue by priority.

    Attributes:
        table: schema QUEUE.
        similarity: of each item's first crop to the nearest template, -1 to 1; NaN where it has none.
        row_of: item id to row.
    """

    table: pa.Table
    similarity: np.ndarray
    row_of: Lookup = field(init=False)
    tasks: np.ndarray = field(init=False)  # place in TASKS, of each row
    _suggested: pa.DictionaryArray = field(init=False)
    _turns: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.row_of = Lookup(self.table["item_id"])
        self.tasks = pc.index_in(self.table["task"], value_set=pa.array(TASKS)).to_numpy().astype(np.int8)
        asked = pc.if_else(pc.equal(self.table["task"], "crop"), self.table["suggested"], "")
        self._suggested = asked.combine_chunks().dictionary_encode()
        self._turns = _turns(self.table)

    @property
    def groups(self) -> list[str]:
        """Item ids of the groups."""
        return self.table["item_id"].take(np.flatnonzero(self.tasks == TASKS.index("group"))).to_pylist()

    def items(self, rows: Sequence[int]) -> list[dict]:
        """Rows of schema QUEUE."""
        return self.table.take(pa.array(rows, pa.int64())).to_pylist()

    def sets(self, actions: Sequence[str], names: Mapping[str, str]) -> list[ItemSet]:
        """Groups, the crops of each action, those without a suggestion, frames, the audit; empty sets are left out.

        Crops of an action begin with the most doubtful ones; the rest comes from all stretches of time in turn.

        Args:
            actions: labels that may be suggested.
            names: item id of a group to its name.
        """
        label_of = [_named(text, names, actions) for text in self._suggested.dictionary.to_pylist()]
        labels = np.array(label_of, object)[self._suggested.indices.to_numpy()]
        crops = self.tasks == TASKS.index("crop")
        sets = [self._of_task("group")]
        for action in (*actions, UNNAMED):
            sets.append(ItemSet("crop", action, self._doubtful_first(np.flatnonzero(crops & (labels == action)))))
        sets += [self._of_task("box"), self._of_task("audit")]  # what certifies comes when nothing else changes labels
        return [one for one in sets if len(one.rows)]

    def _of_task(self, task: str) -> ItemSet:
        return ItemSet(task, UNNAMED, np.flatnonzero(self.tasks == TASKS.index(task)))

    def _doubtful_first(self, rows: np.ndarray) -> np.ndarray:
        first, rest = rows[:FIRST_ITEMS], rows[FIRST_ITEMS:]
        return np.concatenate([first, rest[np.argsort(self._turns[rest], kind="stable")]])


def _named(suggested: str, names: Mapping[str, str], actions: Sequence[str]) -> str:
    name = names.get(suggested, MIXED)
    return name if name in actions else UNNAMED


def _turns(queue: pa.Table) -> np.ndarray:
    """How many crops of more doubt the item's stretch of its recording has, int64."""
    videos = pc.fill_null(queue["video_sha256"], "").combine_chunks().dictionary_encode().indices.to_numpy()
    stretches = (np.nan_to_num(queue["pts_s"].to_numpy()) // STRETCH_S).astype(np.int64)
    stretch = videos.astype(np.int64) * (1 + stretches.max(initial=0)) + stretches
    order = np.argsort(stretch, kind="stable")
    starts = np.flatnonzero(np.diff(stretch[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(order)))
    turns = np.empty(len(order), np.int64)
    turns[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return turns
