"""Stage `queue`: what a person should see, most doubtful first."""

from collections import Counter
from pathlib import Path

from lineact.decisions import TASKS
from lineact.files import write_metrics
from lineact.queue import PLACED, Labelled, QueueParams, build_queue
from lineact.schema import BOXES, CROPS, EMBEDDED, FRAMES, QUEUE, TEMPLATES, VIDEOS, read_table, write_table
from lineact.splits import Holdout, harvests_of
from tasks.stage import run_stage


def queue(params: QueueParams, *, ingest: Path, detect: Path, embed: Path, match: Path, out: Path) -> None:
    """Writes the queue."""
    videos = read_table(ingest / "videos.parquet", VIDEOS)
    labelled = Labelled(
        frames=read_table(ingest / "frames.parquet", FRAMES),
        boxes=read_table(detect / "boxes.parquet", BOXES),
        embedded=read_table(embed / "crops.parquet", EMBEDDED, PLACED),
        crops=read_table(match / "crops.parquet", CROPS),
        templates=read_table(match / "templates.parquet", TEMPLATES),
        harvests=harvests_of(videos),
    )
    holdout = Holdout(params.holdout, videos)
    items = build_queue(labelled, holdout, params)
    write_table(items, out / "queue.parquet", QUEUE)
    counts = Counter(zip(items["task"].to_pylist(), items["holdout"].to_pylist(), strict=True))
    metrics: dict[str, float | int | None] = {f"items_{task}": counts[task, False] for task in TASKS}
    metrics |= {"items_box_holdout": counts["box", True], "items": items.num_rows}
    write_metrics(out, metrics)
    print("queue: " + ", ".join(f"{name} {count}" for name, count in metrics.items()), flush=True)


if __name__ == "__main__":
    run_stage(queue, QueueParams)
