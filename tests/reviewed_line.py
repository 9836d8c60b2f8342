"""A project folder whose line waits for review: recordings, boxes, crops and a queue, and no decisions yet."""

from pathlib import Path

import pytest
import yaml

from lineact.embed import embed_boxes
from lineact.schema import BOXES, CROPS, EMBEDDED, FRAMES, QUEUE, TEMPLATES, VIDEOS, write_table
from tests.labelled_line import ACTIONS, Line, colour_encoder, embed_params, match_params, queue_params

LINE = "press_a"


def write_project(folder: Path) -> list[dict]:
    """Writes what the review page and other tools' exchange read; returns the queue's rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = Line(folder / "data" / LINE, recordings=4, cycles=1)
        embedded = embed_boxes(line.raw, line.boxes, embed_params(), colour_encoder())
        matched = line.match(embedded, match_params(group_counts=(3,)))
        queue = line.queue(embedded, matched, queue_params())
    write_table(line.videos, folder / "data" / LINE / "ingest" / "videos.parquet", VIDEOS)
    write_table(line.frames, folder / "data" / LINE / "ingest" / "frames.parquet", FRAMES)
    write_table(embedded.crops, folder / "data" / LINE / "embed" / "crops.parquet", EMBEDDED)
    write_table(line.boxes, folder / "data" / LINE / "detect" / "boxes.parquet", BOXES)
    write_table(matched.crops, folder / "data" / LINE / "match" / "crops.parquet", CROPS)
    write_table(matched.templates, folder / "data" / LINE / "match" / "templates.parquet", TEMPLATES)
    write_table(queue, folder / "data" / LINE / "queue" / "queue.parquet", QUEUE)
    configure(folder)
    return queue.to_pylist()


def configure(folder: Path, **sections: dict) -> None:
    """Writes params.yaml: of a line of real recordings, where no section says otherwise."""
    line = {"dataset": {"actions": list(ACTIONS), "min_iou": 0.5}} | sections
    (folder / "params.yaml").write_text(yaml.safe_dump({"lines": {LINE: line}}))


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
