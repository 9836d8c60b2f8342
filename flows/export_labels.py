"""Writes a line's queue, or its finished labels, for Label Studio, CVAT, or as COCO or YOLO.

    python -m flows.export_labels line=demo format=label_studio to=DIR [what=queue]

`what`: `queue` (what still waits for a decision, with suggestions), `frames` or `crops` (the finished data set).
"""

import sys
from functools import partial
from pathlib import Path

from flows import command_line
from flows.gate import decisions_of
from flows.pipeline import refuse_without_recordings
from lineact.dataset.frames import PlacedBoxes
from lineact.decisions import NG
from lineact.errors import ConfigError, InputError
from lineact.exchange import UNDECIDED
from lineact.exchange.folders import WRITERS
from lineact.exchange.merge import decisions_so_far
from lineact.exchange.pictures import (
    PictureSet,
    crops_of_queue,
    draw_crops,
    draw_labelled,
    frames_of_queue,
    labelled_frames,
)
from lineact.exchange.waiting import waiting_items
from lineact.files import write_whole
from lineact.review.answers import labels_of
from lineact.schema import BOXES, EMBEDDED, FRAMES, HOLDOUT_BOXES, LABELLED_CROPS, QUEUE, read_table
from tasks.stage import section_of

BOXES_ALONE = ("coco", "yolo")  # formats that have no place for the label of a whole picture
WHAT = ("queue", "frames", "crops")


def export_labels(line: str, form: str, what: str, to: Path) -> str:
    """Writes the folder, whole or not at all.

    Args:
        line: its name.
        form: one of `lineact.exchange.folders.WRITERS`.
        what: one of WHAT.
        to: a folder that is not there yet, or empty.

    Returns:
        What was written and what was left out, in words.

    Raises:
        ConfigError: on an unknown format, an unknown `what`, or a format that cannot hold it.
        InputError: where something is in the folder, or an earlier stage's table is missing.
    """
    if form not in WRITERS:
        raise ConfigError(f"format={form}: expected one of {', '.join(WRITERS)}")
    if what not in WHAT:
        raise ConfigError(f"what={what}: expected one of {', '.join(WHAT)}")
    if (what, form) == ("crops", "coco"):
        raise ConfigError(
            "what=crops: COCO holds boxes on frames, no labelled crops; choose format=yolo, or what=frames"
        )
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise InputError(f"{to}: expected a new or empty folder, found something in it; name another")
    if what == "queue":
        sets, left_out = _queue_sets(line, form)
    elif what == "frames":
        sets, left_out = _frame_set(line)
    else:
        sets, left_out = [_crop_set(line)], ""
    if not sets:
        raise InputError(f"line {line!r}: expected something to export, found nothing{left_out}")
    write_whole(to, partial(_write, form, sets))
    return f"{', '.join(f'{one.count} {one.name}' for one in sets)} in {to}{left_out}"


def _write(form: str, sets: list[PictureSet], folder: Path) -> None:
    folder.mkdir()
    WRITERS[form](sets, folder)


def _queue_sets(line: str, form: str) -> tuple[list[PictureSet], str]:
    """What waits for a decision, and words for what the format cannot hold."""
    folder = Path("data") / line
    settings = section_of(line, "dataset")
    actions = tuple(settings["actions"])
    queue = read_table(folder / "queue" / "queue.parquet", QUEUE).to_pylist()
    _refuse_reserved(actions)
    boxes = PlacedBoxes(read_table(folder / "detect" / "boxes.parquet", BOXES))
    waiting = waiting_items(queue, decisions_so_far(decisions_of(line), actions), boxes, settings["min_iou"])
    frames = [item for item in waiting if item["task"] == "box"]
    crops = [item for item in waiting if item["task"] in ("crop", "audit")]
    groups = [item for item in waiting if item["task"] == "group"]
    embedded = read_table(folder / "embed" / "crops.parquet", EMBEDDED, ("box_id", "crop_png"))
    pngs = dict(zip(*(embedded[name].to_pylist() for name in embedded.column_names), strict=True))
    labels = (*labels_of("box", actions), UNDECIDED)
    sets = [
        PictureSet("frames", labels, len(frames), partial(frames_of_queue, frames, folder / "raw")),
        PictureSet("crops", tuple(labels_of("crop", actions)), len(crops), partial(crops_of_queue, crops, pngs)),
        PictureSet("groups", tuple(labels_of("group", actions)), len(groups), partial(crops_of_queue, groups, pngs)),
    ]
    there = [one for one in sets if one.count]
    done = f"; {len(queue) - len(waiting)} items are decided already" if len(waiting) < len(queue) else ""
    if form not in BOXES_ALONE:
        return there, done
    lost = ", ".join(f"{one.count} {one.name}" for one in there if not one.has_boxes)
    lack = f"; not {lost}, which {form} cannot hold: take label_studio, cvat or `make review`" if lost else ""
    return [one for one in there if one.has_boxes], lack + done


def _frame_set(line: str) -> tuple[list[PictureSet], str]:
    folder = Path("data") / line
    actions = tuple(section_of(line, "dataset")["actions"])
    chosen, left_out = labelled_frames(
        folder / "dataset" / "detection",
        read_table(folder / "ingest" / "frames.parquet", FRAMES),
        read_table(folder / "dataset" / "crops.parquet", LABELLED_CROPS),
        read_table(folder / "dataset" / "holdout.parquet", HOLDOUT_BOXES),
    )
    words = f"; not {left_out} frames on which a hand has no action" if left_out else ""
    frames = PictureSet("frames", (*actions, NG), len(chosen), partial(draw_labelled, chosen, folder / "raw"))
    return [frames] if chosen else [], words


def _crop_set(line: str) -> PictureSet:
    actions = tuple(section_of(line, "dataset")["actions"])
    crops = read_table(Path("data") / line / "dataset" / "crops.parquet", LABELLED_CROPS)
    return PictureSet("crops", (*actions, NG), len(crops), partial(draw_crops, crops))


def _refuse_reserved(actions: tuple[str, ...]) -> None:
    if UNDECIDED in actions:
        raise ConfigError(f"action {UNDECIDED!r}: expected another name, since boxes without an action are called so")


def main() -> None:
    """The command."""
    values = command_line.parse(sys.argv[1:], ("line", "format", "to"), ("what",))
    refuse_without_recordings(values["line"])
    said = export_labels(values["line"], values["format"], values.get("what") or WHAT[0], Path(values["to"]))
    print(f"export_labels: {said}")


if __name__ == "__main__":
    command_line.run(main)
