"""Stage `ingest`: frame table of every recording, and which frames are kept for labelling."""

import csv
import io
from collections import Counter
from dataclasses import astuple, fields
from pathlib import Path

from lineact.files import write_metrics, write_text
from lineact.ingest import REASONS, Ingested, IngestParams, Problem, count_metrics, ingest_videos
from lineact.scale.ingest import ingest_on_workers
from lineact.schema import FRAMES, VIDEOS, write_table
from tasks.compute import cluster_of
from tasks.stage import run_stage


def ingest(params: IngestParams, *, raw: Path, out: Path, line: str | None = None) -> None:
    """Reads every recording and writes videos, frames and problems; a line's settings tell where it is computed."""
    cluster = cluster_of(line)
    if cluster:
        ingest_on_workers(cluster, raw, params)
    ingested = ingest_videos(raw, params)
    metrics = count_metrics(ingested)
    write_table(ingested.videos, out / "videos.parquet", VIDEOS)
    write_table(ingested.frames, out / "frames.parquet", FRAMES)
    write_text(out / "problems.csv", _csv([[f.name for f in fields(Problem)], *map(astuple, ingested.problems)]))
    write_text(out / "plots" / "sifting.csv", _csv(_reasons_by_video(ingested)))
    write_metrics(out, metrics)
    for problem in ingested.problems:
        print(f"ingest: {problem.name}: {problem.kind}: {problem.found}", flush=True)
    print(
        f"ingest: kept {metrics['frames_kept']} of {metrics['frames']} frames, {metrics['videos']} videos", flush=True
    )


def _reasons_by_video(ingested: Ingested) -> list[list[object]]:
    pairs = zip(ingested.frames["video_sha256"].to_pylist(), ingested.frames["reason"].to_pylist(), strict=True)
    counts = Counter(pairs)
    names = zip(ingested.videos["video_sha256"].to_pylist(), ingested.videos["name"].to_pylist(), strict=True)
    rows: list[list[object]] = [["video", "reason", "frames"]]
    rows += [[name, reason, counts[sha256, reason]] for sha256, name in names for reason in REASONS]
    return rows


def _csv(rows: list) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    run_stage(ingest, IngestParams)
