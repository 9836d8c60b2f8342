"""A project folder whose line waits for review: recordings, boxes, crops and a queue, and no decisions yet."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from lineact.decisions import EMPTY, NG
from lineact.embed import embed_boxes
from tests.labelled_line import (
    ACTIONS,
    Line,
    colour_encoder,
    dataset_params,
    embed_params,
    match_params,
    queue_params,
    section_of,
)

LINE = "press_a"


def write_project(folder: Path) -> list[dict]:
    """Writes what the review page and other tools' exchange read; returns the queue's rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = Line(folder / "data" / LINE, recordings=4, cycles=1)
        embedded = embed_boxes(line.raw, line.boxes, embed_params(), colour_encoder())
        matched = line.match(embedded, match_params(group_counts=(3,)))
        queue = line.queue(embedded, matched, queue_params())
    line.write(folder / "data" / LINE, embedded, matched, queue)
    configure(folder)
    return queue.to_pylist()


def configure(folder: Path, **sections: dict) -> None:
    """Writes params.yaml: of a line of real recordings, where no section says otherwise."""
    line = {"dataset": section_of(dataset_params())} | sections
    (folder / "params.yaml").write_text(yaml.safe_dump({"lines": {LINE: line}}))


def answers_of(rows: list[dict]) -> dict[str, str]:
    """What is said of each item: of a group and its crops one label, of a frame that no hand is there.

    Every label that matching takes is right by it.
    """
    names = dict(zip([row["item_id"] for row in rows if row["task"] == "group"], (*ACTIONS, NG), strict=True))
    return {
        row["item_id"]: EMPTY if row["task"] == "box" else names.get(row["suggested"] or row["item_id"], NG)
        for row in rows
    }


def decisions_file(folder: Path) -> Path:
    """What the page writes."""
    return folder / "data" / LINE / "review" / "decisions.csv"


def journal_file(folder: Path) -> Path:
    """Where the page keeps every answer first."""
    return decisions_file(folder).with_name("journal.sqlite")


def forget_decisions(folder: Path) -> None:
    """Makes the line one that nobody has reviewed."""
    for path in decisions_file(folder).parent.glob("*"):
        path.unlink()


@contextmanager
def queue_made_anew(folder: Path) -> Iterator[None]:
    """The queue's file has other bytes meanwhile."""
    path = folder / "data" / LINE / "queue" / "queue.parquet"
    before = path.read_bytes()
    pq.write_table(pq.read_table(path), path, compression="none")
    assert path.read_bytes() != before
    try:
        yield
    finally:
        path.write_bytes(before)
