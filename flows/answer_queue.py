"""Answers a line's review queue from a file of annotations, instead of a person at the review page.

    python -m flows.answer_queue line=bottle_bench annotations=annotations.json

Appends to data/<line>/review/decisions.csv, as of when the file was written; running it twice adds nothing.
"""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from flows import command_line
from flows.pipeline import refuse_without_recordings
from lineact.annotations import AnnotatedTruth, read_annotations
from lineact.dataset import DatasetParams
from lineact.dataset.today import today_of
from lineact.decisions import NG, Decision, frame_item, read_decisions, standing, write_decisions
from lineact.errors import InputError
from lineact.looks import stamped
from lineact.review.journal import stamp
from lineact.reviewer import Reviewer, SecondsParams, answer_queue
from lineact.schema import BOXES, FRAMES, QUEUE, VIDEOS, empty_table, read_table, table_of
from lineact.settings import from_mapping
from lineact.splits import Holdout
from tasks.stage import section_of

NAME = "annotations"
MIN_GROUP_PURITY = 0.8  # under this share of one label a group is "mixed"


def answer_from_annotations(line: str, annotations: Path) -> int:
    """Decides what the annotations know: groups and crops by time, frames by their boxes, queued or not.

    Args:
        line: its name; its queue must be there.
        annotations: see `lineact.annotations`.

    Returns:
        How many decisions were added.

    Raises:
        InputError: where the queue is missing or the annotations do not fit the line.
    """
    folder = Path("data") / line
    params = from_mapping(DatasetParams, section_of(line, "dataset"), f"lines.{line}.dataset")
    frames = read_table(folder / "ingest" / "frames.parquet", FRAMES)
    videos = read_table(folder / "ingest" / "videos.parquet", VIDEOS)
    queue = read_table(folder / "queue" / "queue.parquet", QUEUE)
    truth = AnnotatedTruth(read_annotations(annotations, params.actions), videos, frames)
    seconds = SecondsParams(group=0.0, crop=0.0, audit=0.0, box=0.0)
    reviewer = Reviewer(NAME, (*params.actions, NG), 0.0, 0.0, MIN_GROUP_PURITY, seconds, 0, params.accepted_by)
    boxes = read_table(folder / "detect" / "boxes.parquet", BOXES)
    answers = answer_queue(queue, boxes, truth, reviewer).decisions
    queued = {decision.item_id for decision in answers}
    others = [frame for frame in truth.frames if frame_item(*frame) not in queued]
    answers += answer_queue(_items_of(others), empty_table(BOXES), truth, reviewer).decisions
    if not answers:
        raise InputError(f"{annotations}: answers no item of the queue of {line}")

    path = folder / "review" / "decisions.csv"
    decided = read_decisions(path, params.actions) if path.is_file() else None
    if decided and decided.bad:
        bad = decided.bad[0]
        raise InputError(f"{path}: row {bad.row}, column {bad.column!r}: {bad.found}; mend it, so that it is kept")
    earlier = decided.usable if decided else []
    # the last that was read from the file, although a person may have settled it otherwise since
    known = set({row.item_id: _content(row) for row in earlier if row.reviewer == NAME}.values())
    added = [decision for decision in answers if _content(decision) not in known]
    written_at = stamp(datetime.fromtimestamp(annotations.stat().st_mtime, UTC))
    added = [replace(decision, decided_at=written_at) for decision in added]
    today = today_of(queue, boxes, frames, Holdout(params.holdout, videos), params.min_iou)
    made_under = today.stamp(standing([*earlier, *added]), params.accepted_by)
    write_decisions(path, [*earlier, *stamped(added, made_under)])
    return len(added)


def _items_of(frames: list[tuple[str, float]]) -> pa.Table:
    items = [
        {
            "item_id": frame_item(*frame),
            "task": "box",
            "priority": priority,
            "suggested": "",
            "reason": "annotated",
            "basis": "",
            "video_sha256": frame[0],
            "pts_s": frame[1],
            "box_ids": [],
            "holdout": False,
        }
        for priority, frame in enumerate(frames)
    ]
    return table_of(items, QUEUE)


def _content(decision: Decision) -> tuple[str, str, str]:
    return decision.item_id, decision.decided, decision.shown


def main() -> None:
    """The command."""
    values = command_line.parse(sys.argv[1:], ("line", "annotations"))
    refuse_without_recordings(values["line"])
    added = answer_from_annotations(values["line"], Path(values["annotations"]))
    print(f"{added} decisions added to data/{values['line']}/review/decisions.csv by {NAME!r}; next: flows.retrain")


if __name__ == "__main__":
    command_line.run(main)
