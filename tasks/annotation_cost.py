"""Stage `annotation_cost`: what the line's labels cost a person, against labelling everything by hand."""

import json
from dataclasses import astuple, fields
from pathlib import Path

from lineact.annotation_cost import (
    AnnotationCostParams,
    Cost,
    Effort,
    Material,
    as_markdown,
    cost_metrics,
    cost_table,
    efforts_of,
)
from lineact.decisions import read_decisions
from lineact.files import write_csv, write_metrics, write_text
from lineact.reviewer import SIMULATED
from lineact.schema import BOXES, FRAMES, LABELLED_CROPS, QUEUE, VIDEOS, read_table
from lineact.splits import Holdout
from tasks.stage import run_stage


def annotation_cost(
    params: AnnotationCostParams,
    *,
    line: str,
    ingest: Path,
    detect: Path,
    queue: Path,
    decisions: Path,
    dataset: Path,
    out: Path,
) -> None:
    """Writes plots/cost.md and cost.csv, the table; plots/effort.csv, what each reviewer did; and metrics.json."""
    decided = read_decisions(decisions, params.actions)
    items = read_table(queue / "queue.parquet", QUEUE).to_pylist()
    shown = {(item["item_id"], item["basis"]): len(item["box_ids"]) for item in items if item["task"] == "group"}
    videos = read_table(ingest / "videos.parquet", VIDEOS)
    holdout = Holdout(params.holdout, videos)
    whole = {sha256[:12]: sha256 for sha256 in videos["video_sha256"].to_pylist()}

    def is_held_out(frame: tuple[str, float]) -> bool:
        sha256, pts_s = frame
        return sha256 in whole and holdout.part_of(whole[sha256], pts_s) == "holdout"

    efforts = efforts_of(decided, shown, is_held_out, params.same_iou)
    table = cost_table(efforts, _material(ingest, detect, dataset), params)
    write_csv(
        out / "plots" / "cost.csv",
        ("source", "index", "by_hand", "lineact", "change"),
        ((row.source, row.index, *map(_rounded, (row.by_hand, row.lineact, row.change))) for row in table),
    )
    is_simulated = any(one.reviewer == SIMULATED for one in decided.rows)
    write_text(out / "plots" / "cost.md", as_markdown(line, table, efforts, is_simulated))
    header = [field.name for field in fields(Effort)]
    write_csv(out / "plots" / "effort.csv", header, (astuple(effort) for effort in efforts))
    write_metrics(out, cost_metrics(efforts, table))
    print(f"annotation_cost: {_words(table[-2])}", flush=True)


def _material(ingest: Path, detect: Path, dataset: Path) -> Material:
    boxes = read_table(detect / "boxes.parquet", BOXES).to_pylist()
    metrics = json.loads((dataset / "metrics.json").read_text())
    crops = read_table(dataset / "crops.parquet", LABELLED_CROPS, ("box_id",))
    return Material(
        frames=read_table(ingest / "frames.parquet", FRAMES).num_rows,
        frames_with_boxes=len({(box["video_sha256"], box["pts_s"]) for box in boxes if box["dropped_by"] is None}),
        detector_frames=metrics["frames_train"] + metrics["frames_val"],
        crops=crops.num_rows - metrics["crops_drawn"],
    )


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _words(row: Cost) -> str:
    hand = "no pace was measured" if row.by_hand is None else f"{row.by_hand:.2f} by hand ({row.change or 0:+.1%})"
    return f"{row.lineact:.2f} hours of a person, {hand}"


if __name__ == "__main__":
    run_stage(annotation_cost, AnnotationCostParams)
