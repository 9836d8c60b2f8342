"""The papers' table as Markdown and CSV, and every figure of every pair as CSV."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lineact.compare.choice import CHOICES, Row, ScoredDetector
from lineact.compare.surfaces import Surfaces
from lineact.files import write_csv, write_text

HEADING = "| T_IoU | model | thresholds | accuracy | recall | 1:1 precision | 1:1 recall | boxes |"
RULE = "|---|---|---|---:|---:|---:|---:|---:|"
TABLE = "table.md"
FIGURES = ("accuracy", "recall", "one_to_one_precision", "one_to_one_recall")
COLUMNS = ("chosen_on", "min_iou", "model", "thresholds", *FIGURES, "predicted", "truth")


def markdown(line: str, rows: Sequence[Row], frame_count: int) -> str:
    """The table: a part for each way to choose, the greatest recall of each T_IoU in bold, as in the papers.

    Args:
        line: the line.
        rows: from `table_rows`.
        frame_count: held-out frames.
    """
    parts = [
        f"# Detectors on line {line}\n",
        f"{frame_count} held-out frames, {rows[0].truth_count} hands. Accuracy counts duplicates as right; the "
        "one-to-one figures (1:1) do not.\n",
    ]
    for chosen_on, meaning in CHOICES.items():
        chosen = [row for row in rows if row.chosen_on == chosen_on]
        parts += [f"## Thresholds: {meaning}\n", HEADING, RULE, *(_line(row, chosen) for row in chosen), ""]
    return "\n".join(parts)


def write_report(folder: Path, text: str, detectors: Sequence[ScoredDetector], rows: Sequence[Row]) -> None:
    """Writes table.md, table.csv and surfaces.csv; what is undefined is an empty cell."""
    write_text(folder / TABLE, text)
    write_csv(folder / "table.csv", COLUMNS, (_cells(row) for row in rows))
    header = ("model", "frames", "min_iou", "first_threshold", "second_threshold", *FIGURES, "predicted", "truth")
    surfaces = [
        line
        for detector in detectors
        for frames, figures in (("held_out", detector.held_out), ("validation", detector.validation))
        if figures is not None
        for line in _surface_lines(detector, frames, figures)
    ]
    write_csv(folder / "surfaces.csv", header, surfaces)


def _line(row: Row, group: Sequence[Row]) -> str:
    recalls = [other.recall for other in group if other.min_iou == row.min_iou and other.recall is not None]
    recall = _percent(row.recall)
    if row.recall is not None and row.recall == max(recalls):
        recall = f"**{recall}**"
    cells = (_percent(row.accuracy), recall, _percent(row.one_to_one_precision), _percent(row.one_to_one_recall))
    return f"| {row.min_iou} | {row.title} | {row.thresholds} | {' | '.join(cells)} | {row.predicted_count} |"


def _percent(share: float | None) -> str:
    return "undefined" if share is None else f"{share:.2%}"


def _cells(row: Row) -> tuple[object, ...]:
    figures = [getattr(row, name) for name in FIGURES]
    return (row.chosen_on, row.min_iou, row.name, row.thresholds, *figures, row.predicted_count, row.truth_count)


def _surface_lines(detector: ScoredDetector, frames: str, surfaces: Surfaces) -> Iterator[tuple[object, ...]]:
    columns = [getattr(surfaces, name) for name in FIGURES]
    for index, min_iou in enumerate(surfaces.min_ious):
        for row, first in enumerate(detector.first):
            for column, second in enumerate(detector.second):
                figures = [_cell(values[index, row, column]) for values in columns]
                counts = (surfaces.predicted_count[row, column], surfaces.truth_count)
                yield (detector.name, frames, min_iou, f"{first:.2f}", f"{second:.2f}", *figures, *counts)


def _cell(share: float) -> str:
    return "" if share != share else f"{share:.6f}"  # NaN is unlike itself
