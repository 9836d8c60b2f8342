"""Stage `embed`: a crop and a BLIP-2 embedding for every box."""

from pathlib import Path

import numpy as np

from lineact.embed import EmbedParams, embed_boxes, open_encoder
from lineact.files import write_metrics, write_whole
from lineact.scale.embed import embed_on_workers
from lineact.schema import BOXES, EMBEDDED, read_table, write_table
from tasks.compute import cluster_of
from tasks.stage import run_stage


def embed(params: EmbedParams, *, raw: Path, detect: Path, tiny: Path, out: Path, line: str | None = None) -> None:
    """Writes crops.parquet and embeddings.npy, row by row the same crops; a line's settings tell where."""
    boxes = read_table(detect / "boxes.parquet", BOXES)
    cluster = cluster_of(line)
    if cluster:
        embedded = embed_on_workers(cluster, raw, boxes, params, tiny)
    else:
        embedded = embed_boxes(raw, boxes, params, open_encoder(params, tiny))
    write_table(embedded.crops, out / "crops.parquet", EMBEDDED)
    write_whole(out / "embeddings.npy", lambda path: np.save(path, embedded.embeddings))
    different = len(set(embedded.crops["crop_sha256"].to_pylist()))
    # How many were computed now says something of the cache, not of the result, so it is printed, not written.
    write_metrics(
        out,
        {"crops": embedded.crops.num_rows, "crops_different": different, "dimensions": embedded.embeddings.shape[1]},
    )
    print(f"embed: {embedded.crops.num_rows} crops, {embedded.computed} through the network now", flush=True)


if __name__ == "__main__":
    run_stage(embed, EmbedParams)
