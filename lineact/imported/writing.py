"""Writes imported pictures as a line's data set: tables of crops, the detector's pictures, and what came of them."""

from collections import Counter
from dataclasses import astuple, fields
from pathlib import Path

from lineact.decisions import NG
from lineact.files import write_csv, write_metrics
from lineact.imported import PARTS, Part, Problem
from lineact.imported.parts import ImportedParts
from lineact.imported.reading import Picture, Reading
from lineact.schema import LABELLED_CROPS, table_of, write_table


def write_crops(parts: ImportedParts, dataset: Path) -> None:
    """Writes crops.parquet (train, val) and holdout_crops.parquet."""
    rows = {part: _rows(parts, part) for part in PARTS}
    write_table(table_of(rows["train"] + rows["val"], LABELLED_CROPS), dataset / "crops.parquet", LABELLED_CROPS)
    write_table(table_of(rows["holdout"], LABELLED_CROPS), dataset / "holdout_crops.parquet", LABELLED_CROPS)


def write_report(reading: Reading, parts: ImportedParts, actions: tuple[str, ...], out: Path) -> None:
    """Writes metrics.json, problems.csv (what is left out and why) and recordings.csv."""
    header = [field.name for field in fields(Problem)]
    left_out = [*reading.problems, *(Problem(name, "a copy of another picture") for name in reading.repeated)]
    write_csv(out / "problems.csv", header, ([_as_text(cell) for cell in astuple(problem)] for problem in left_out))
    of_recording: dict[str, Counter[Part]] = {}
    for part in PARTS:
        for picture in parts.of[part]:
            of_recording.setdefault(parts.place_of(picture).recording, Counter())[part] += 1
    hashes = parts.recordings()
    recordings = [
        (_as_text(name), hashes[name], *(of_recording[name][part] for part in PARTS)) for name in sorted(of_recording)
    ]
    write_csv(out / "recordings.csv", ("recording", "video_sha256", *PARTS), recordings)
    counts = {part: Counter(hand.action for one in parts.of[part] for hand in one.hands) for part in PARTS}
    metrics: dict[str, float | int | None] = {f"crops_{part}": counts[part].total() for part in PARTS}
    metrics |= {f"crops_{part}_{action}": counts[part][action] for part in PARTS for action in (*actions, NG)}
    metrics |= {f"pictures_{part}": len(parts.of[part]) for part in PARTS}
    write_metrics(
        out,
        metrics
        | {
            "pictures_guard": parts.guard,
            "pictures_repeated": len(reading.repeated),
            "pictures_bad": len(reading.problems),
            "recordings": len(recordings) if parts.places.told else None,
        },
    )


def _as_text(name: str) -> str:
    """A foreign name as a spreadsheet's text: one that begins like a formula would be run by who opens the table."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def tell(reading: Reading, parts: ImportedParts, stage: str) -> None:
    """Prints what a user should know of the split, and what is left out."""
    for problem in reading.problems:
        print(f"{stage}: {problem.name}: {problem.found}; left out", flush=True)
    if parts.chosen:
        by = "their names" if parts.places.told else "their order: their names tell no recordings"
        print(f"{stage}: {' and '.join(parts.chosen)} chosen among the pictures by {by}", flush=True)


def _rows(parts: ImportedParts, part: Part) -> list[dict]:
    hashes = parts.recordings()
    return [row for picture in parts.of[part] for row in _rows_of(picture, parts, part, hashes)]


def _rows_of(picture: Picture, parts: ImportedParts, part: Part, hashes: dict[str, str]) -> list[dict]:
    place = parts.place_of(picture)
    rows = []
    for number, (hand, png) in enumerate(zip(picture.hands, picture.pngs, strict=True)):
        box_id = picture.listed.name if len(picture.hands) == 1 else f"{picture.listed.name}#{number}"
        box = dict(zip(("x1", "y1", "x2", "y2"), hand.box_xyxy_px, strict=True))
        frame = {"video_sha256": hashes[place.recording], "pts_s": place.number, "box_id": box_id}
        rows.append(frame | box | {"action": hand.action, "split": part, "decided_by": "person", "crop_png": png})
    return rows
