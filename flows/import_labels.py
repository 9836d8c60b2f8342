"""Takes over what was labelled in Label Studio or CVAT, or a COCO or YOLO data set, as decisions of a line.

    python -m flows.import_labels line=demo format=cvat from=annotations.xml [reviewer=NAME] [numbered_from=0]

Adds to data/<line>/review/decisions.csv; the same file twice adds nothing. Files that are not of an export of
`flows.export_labels` count where their pictures are frames of the line's recordings, called <recording>_<number>.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from flows import command_line
from flows.gate import decisions_of, is_simulated
from flows.pipeline import refuse_without_recordings
from lineact.dataset import DatasetParams
from lineact.dataset.today import today_of
from lineact.decisions import Decisions
from lineact.errors import ConfigError, InputError
from lineact.exchange import Heard
from lineact.exchange.coco import read_coco
from lineact.exchange.cvat import read_cvat
from lineact.exchange.decide import KnownLine, Result, Unsaid, decide
from lineact.exchange.label_studio import read_label_studio
from lineact.exchange.merge import Merged, add_imported
from lineact.exchange.yolo import read_yolo
from lineact.schema import BOXES, FRAMES, QUEUE, VIDEOS, read_table
from lineact.settings import from_mapping
from lineact.splits import Holdout
from tasks.stage import section_of

READERS: dict[str, Callable[[Path, KnownLine], Heard]] = {
    "label_studio": lambda path, _: read_label_studio(path),
    "cvat": lambda path, _: read_cvat(path),
    "coco": lambda path, _: read_coco(path),
    "yolo": lambda path, known: read_yolo(path, known.size_of_stem),
}
NAMED = 3  # so many of the pictures that wait are named


def import_labels(line: str, form: str, path: Path, reviewer: str, numbered_from: int) -> tuple[Result, Merged]:
    """Reads a file and writes decisions.csv; all of it or nothing.

    Args:
        line: its name; its queue must be there.
        form: one of READERS.
        path: the tool's file; of YOLO the folder with data.yaml.
        reviewer: who decided, where the file does not tell.
        numbered_from: see `KnownLine`.

    Returns:
        What the file says, and what of it was added.

    Raises:
        ConfigError: on an unknown format, or a simulated line, whose decisions are a stage's output.
        InputError: where the file is broken or does not fit the line, or a table is missing.
    """
    if form not in READERS:
        raise ConfigError(f"format={form}: expected one of {', '.join(READERS)}")
    params = from_mapping(DatasetParams, section_of(line, "dataset"), f"params.yaml: lines.{line}.dataset")
    if is_simulated(line):
        raise ConfigError(
            f"line {line!r} is simulated: its decisions are the stage simulate_review's; import on a real line"
        )
    folder = Path("data") / line
    videos = read_table(folder / "ingest" / "videos.parquet", VIDEOS)
    frames = read_table(folder / "ingest" / "frames.parquet", FRAMES)
    queue = read_table(folder / "queue" / "queue.parquet", QUEUE)
    known = KnownLine(videos, frames, queue, numbered_from)
    if not path.exists():
        raise InputError(f"{path}: expected what {form} exported, found nothing there")
    changed = datetime.fromtimestamp(_changed_s(path), UTC).isoformat(timespec="seconds")
    result = decide(READERS[form](path, known), known, params.actions, Unsaid(reviewer or form, changed), path)

    boxes = read_table(folder / "detect" / "boxes.parquet", BOXES)
    today = today_of(queue, boxes, frames, Holdout(params.holdout, videos), params.min_iou)

    def stamp(decisions: Decisions) -> str:
        return today.stamp(decisions, params.accepted_by)

    return result, add_imported(decisions_of(line), params.actions, result.decisions, stamp)


def _changed_s(path: Path) -> float:
    """When a file, or the newest one in a folder, was written: seconds since 1970."""
    return max(one.stat().st_mtime for one in (path, *(path.rglob("*") if path.is_dir() else ())))


def _told(line: str, result: Result, merged: Merged) -> list[str]:
    lines = [f"{merged.added} decisions added to {decisions_of(line)}, {merged.known} were there already"]
    for items, words in (
        (merged.outdated, "the same reviewer decided later than the file says; that holds"),
        (merged.disputed, "reviewers now answer differently; they wait until somebody settles them (make review)"),
        (
            [f"row {bad.row}: {bad.found}" for bad in merged.decisions.bad],
            "rows there are unusable and stay as they are",
        ),
        (result.unknown, "are not in today's queue; they count where they fit a frame or box of today"),
        (result.waiting, "wait"),
    ):
        if items:
            more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
            lines.append(f"{len(items)} {words}: {'; '.join(items[:NAMED])}{more}")
    return lines


def main() -> None:
    """The command."""
    values = command_line.parse(sys.argv[1:], ("line", "format", "from"), ("reviewer", "numbered_from"))
    refuse_without_recordings(values["line"])
    number = values.get("numbered_from") or "0"
    if not number.isdecimal():
        raise ConfigError(f"numbered_from={number}: expected the number of a recording's first frame, e.g. 0 or 1")
    arguments = values["line"], values["format"], Path(values["from"]), values.get("reviewer") or "", int(number)
    for line in _told(values["line"], *import_labels(*arguments)):
        print(f"import_labels: {line}")
    print(f"next: python -m flows.retrain line={values['line']}")


if __name__ == "__main__":
    command_line.run(main)
