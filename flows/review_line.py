"""A line as the review page reads it: its queue, what was found, and what is decided so far."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.gate import decisions_of, found_of, is_simulated, params_of
from flows.pipeline import refuse_without_recordings
from flows.review_quality import Quality
from lineact.dataset.awaiting import asks_audits, likely_audits
from lineact.dataset.labels import Found
from lineact.decisions import Decision, Decisions, box_of_id
from lineact.errors import InputError
from lineact.files import sha256_of_file
from lineact.review.carried import Carried, carried_names
from lineact.review.export import journal_path, read_written
from lineact.review.journal import Journal
from lineact.review.pictures import Crops, Frames
from lineact.review.queue_index import QueueIndex
from lineact.review.session import Session
from lineact.review.state import ReviewState
from lineact.schema import sorted_by

VERSION_DIGITS = 16


class StaleError(InputError):
    """What a page shows, or the command has read, is not the line's queue any more."""


@dataclass(frozen=True)
class Reviewed:
    """A line under review.

    Attributes:
        line: its name.
        actions: without NG.
        reviewer: who answers.
        simulated: whether decisions.csv is written by a stage.
        decisions: decisions.csv.
        queue: the queue's file.
        version: tells this queue and its crops from others.
        templates: item id of a group to the box ids of its templates, the medoid first.
        crops: of queue and templates.
        frames: of the recordings.
        session: the reviewer's.
        quality: what is certified so far.
        carried: names that earlier groups left to those of today, saved when the line was read.
    """

    line: str
    actions: tuple[str, ...]
    reviewer: str
    simulated: bool
    decisions: Path
    queue: Path
    version: str
    templates: dict[str, list[str]]
    crops: Crops
    frames: Frames
    session: Session
    quality: Quality
    carried: Carried

    def box_of(self, item_id: str) -> tuple[float, ...] | None:
        """The box that a crop's item asks about, in pixels of its frame; None of another item."""
        place = box_of_id(self.session.item(item_id)["item_id"])
        return place[1] if place else None

    def refuse_another_page(self, version: str) -> None:
        """Answers must be to what is shown.

        Args:
            version: of the queue that the page shows.

        Raises:
            StaleError: where that is another one than was read, or it was made anew since.
        """
        self.refuse_another_queue()
        if version != self.version:
            raise StaleError(
                "this page shows an earlier queue: reload it (F5), then answer what it shows. What was answered is kept"
            )

    def refuse_another_queue(self) -> None:
        """What is told must be of today's queue.

        Raises:
            StaleError: where the queue was made anew since it was read.
        """
        if _version_of(self.queue) != self.version:
            raise StaleError(
                f"{self.queue}: the queue was made anew while this page was open; stop the command and start it again. "
                "What was answered is kept"
            )

    def what_comes_next(self) -> str:
        """See `Quality.what_comes_next`."""
        try:
            self.refuse_another_queue()
        except StaleError as error:
            return str(error)
        return self.quality.what_comes_next()


def read_reviewed(line: str, reviewer: str) -> Reviewed:
    """Reads what the page shows.

    Raises:
        InputError: where the queue is missing, or does not fit the crops; where decisions.csv or the journal cannot be
            read.
        ConfigError: where the line is unknown.
    """
    folder = Path("data") / line
    path = folder / "queue" / "queue.parquet"
    if "/" in line or not path.is_file():
        refuse_without_recordings(line)  # the command named below would refuse an unknown line in turn
        raise InputError(
            f"{path}: expected the review queue of line {line!r}, found nothing; "
            f"run `python -m flows.label_line line={line}`"
        )
    params = params_of(line)
    actions = params.actions
    version = _version_of(path)
    try:
        found = found_of(line)
        found = replace(found, queue=sorted_by(found.queue, "priority"))
        crops = _crops_of(folder / "embed" / "crops.parquet", found)
    except InputError as error:
        raise InputError(
            f"{error}; where the queue is not of these crops, run `python -m flows.label_line line={line}`"
        ) from error
    decisions = decisions_of(line)
    simulated = is_simulated(line)
    read_written(decisions, actions)  # a broken file is told now, not at the first answer
    frames = Frames(folder / "raw")
    state = ReviewState(
        QueueIndex(found.queue, _similarity_of(found)),
        found.placed_boxes,
        actions,
        params.min_iou,
        decisions,
        Journal(Path(":memory:") if simulated else journal_path(decisions)),
        reviewer,
    )
    if asks_audits(params.policy):
        state.ask_audits(likely_audits(found.asked, params.max_label_error))
    quality = Quality(line, found)
    session = Session(
        state,
        lambda item: frames.size_wh_px(item["video_sha256"], item["pts_s"]),
        quality.settings_now,
        quality.stamp,
        quality.asked_audits if asks_audits(params.policy) else None,
    )
    carried = Carried((), {}) if simulated else _carry_names(session, found, params.min_iou)
    return Reviewed(
        line,
        actions,
        reviewer,
        simulated,
        decisions,
        path,
        version,
        _templates_of(found),
        crops,
        frames,
        session,
        quality,
        carried,
    )


def _carry_names(session: Session, found: Found, min_iou: float) -> Carried:
    carried: list[Carried] = []

    def rows(decisions: Decisions) -> Sequence[Decision]:
        carried.append(carried_names(decisions, found, min_iou, session.ever_given()))
        return carried[0].rows

    session.add(rows)
    return carried[0]


def _version_of(path: Path) -> str:
    if not path.is_file():
        return ""
    stat = path.stat()
    return _hash_of(path.absolute(), stat.st_ino, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _hash_of(path: Path, _inode: int, _written_ns: int, _size: int) -> str:
    """A file's hash, read again where the file is another one: the same queue may be copied or checked out anew."""
    return sha256_of_file(path)[:VERSION_DIGITS]


def _crops_of(path: Path, found: Found) -> Crops:
    shown = pc.list_flatten(found.queue.filter(pc.not_equal(found.queue["task"], "box"))["box_ids"])
    wanted = pa.concat_arrays([*shown.chunks, *found.templates["box_id"].chunks])
    return Crops(path, found.embedded["box_id"], wanted)


def _templates_of(found: Found) -> dict[str, list[str]]:
    templates: dict[str, list[str]] = {}
    for row in sorted_by(found.templates, "group", "rank").to_pylist():
        templates.setdefault(f"group:{row['group']}", []).append(row["box_id"])
    return templates


def _similarity_of(found: Found) -> np.ndarray:
    """Of each item's crop, NaN where it has none."""
    rows = pc.index_in(found.queue["item_id"], value_set=found.crops["box_id"].combine_chunks())
    return pc.fill_null(found.crops["similarity"].take(rows), float("nan")).to_numpy()
