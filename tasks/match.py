"""Stage `match`: groups of similar crops, their templates, and each crop's similarity to them."""

from pathlib import Path

import numpy as np

from lineact.files import write_metrics
from lineact.match import MatchParams, count_metrics, match_crops
from lineact.match_plots import write_plots
from lineact.schema import CROPS, EMBEDDED, TEMPLATES, VIDEOS, read_table, write_table
from lineact.splits import Holdout, of_harvests
from tasks.stage import run_stage


def match(params: MatchParams, *, ingest: Path, embed: Path, out: Path) -> None:
    """Writes each crop's group, similarity and status, the templates, and plots of both."""
    embedded = read_table(embed / "crops.parquet", EMBEDDED)
    embeddings = np.load(embed / "embeddings.npy")
    videos = read_table(ingest / "videos.parquet", VIDEOS)
    # harvested crops make no groups: names that a person gave before stay with the crops that they were given to
    trains = Holdout(params.holdout, videos).mask(embedded, "train") & ~of_harvests(videos, embedded)
    matched = match_crops(embedded["box_id"].to_pylist(), embeddings, trains, params)
    metrics = count_metrics(matched)
    write_table(matched.crops, out / "crops.parquet", CROPS)
    write_table(matched.templates, out / "templates.parquet", TEMPLATES)
    write_plots(out / "plots", matched, embedded, params.min_similarity)
    write_metrics(out, metrics)
    print(
        f"match: {metrics['groups']} groups, {metrics['accepted']} crops accepted, {metrics['rejected']} rejected",
        flush=True,
    )


if __name__ == "__main__":
    run_stage(match, MatchParams)
