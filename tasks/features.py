"""Stage `features`: rows in time of every recording, for the localiser."""

from pathlib import Path

from lineact.features import FeaturesParams, extract_line, extraction_metrics
from lineact.files import write_metrics
from lineact.schema import VIDEOS, read_table
from tasks.stage import run_stage


def features(params: FeaturesParams, *, raw: Path, ingest: Path, export: Path, out: Path) -> None:
    """Extracts rows of all recordings."""
    videos = read_table(ingest / "videos.parquet", VIDEOS)
    done = []
    for one in extract_line(params, export / "bundle", videos, raw, out / "rows"):
        done.append(one)
        print(
            f"features: {one.video}: {one.rows} rows, {one.seconds / one.video_s:.3f} s a second of video", flush=True
        )
    write_metrics(out, extraction_metrics(done))


if __name__ == "__main__":
    run_stage(features, FeaturesParams)
