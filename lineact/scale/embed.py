"""The stage `embed` on a cluster: workers cut the crops and embed them, this process puts them together."""

import hashlib
import json
import shutil
import tempfile
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.embed import (
    Embedded,
    EmbedParams,
    Encoder,
    boxes_by_recording,
    cut_crops,
    embed_boxes,
    embed_crops,
    open_encoder,
    vectors_folder,
)
from lineact.errors import InputError
from lineact.files import write_whole
from lineact.scale import DaskParams
from lineact.scale.job import Key
from lineact.scale.store import VECTORS, Store, shards_folder
from lineact.scale.workers import Shard, workers_for
from lineact.schema import EMBEDDED, table_of, write_table

CROPS = "crops.parquet"
_PLACE = ("pts_s", "box_id", "x1", "y1", "x2", "y2")  # of a box: all that its crop depends on


def embed_on_workers(cluster: DaskParams, raw: Path, boxes: pa.Table, params: EmbedParams, tiny: Path) -> Embedded:
    """As `lineact.embed.embed_boxes`, but the crops are cut and embedded by workers.

    Args:
        cluster: where they are.
        raw: the folder of recordings.
        boxes: schema BOXES.
        params: the settings.
        tiny: folder of the embedded weights; below the folder in which a worker was started, where it is relative.

    Raises:
        LineactError: see `embed_boxes`, `workers_for` and `Workers.results`.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        workers_for(cluster, "embed", partial(key_of, params, tiny)) as workers,
    ):
        cut: dict[str, Path] = {}
        for shard, made in workers.results(_shards(raw, boxes, params, tiny, workers.store, workers.key)):
            cut[shard.sha256] = Path(shutil.move(made / CROPS, Path(scratch) / f"{shard.sha256}.parquet"))
            _fetch_vectors(workers.store, shard.sha256, params, workers.key)
        return embed_boxes(raw, boxes, params, Encoder(_asked_elsewhere, workers.key), cut)


def _shards(raw: Path, boxes: pa.Table, params: EmbedParams, tiny: Path, store: Store, key: Key) -> list[Shard]:
    shards = []
    for path, of_video in boxes_by_recording(raw, boxes):
        sha256 = of_video["video_sha256"][0].as_py()
        places = json.dumps(of_video.select(_PLACE).to_pydict(), sort_keys=True)
        settings = {
            "boxes": hashlib.sha256(places.encode()).hexdigest(),
            "context": params.context,
            "crop_px": params.crop_px,
        }
        work = partial(embed_on_worker, boxes=of_video, params=params, tiny=tiny, store=store, key=key)
        name = path.relative_to(raw).as_posix() if raw.is_dir() else path.name
        shards.append(Shard(name, path, sha256, settings, work))
    return shards


def _fetch_vectors(store: Store, sha256: str, params: EmbedParams, key: Key) -> None:
    """Puts what the store knows of a recording's vectors into the cache."""
    folder = vectors_folder(sha256, params, key)
    for name in store.names(_kept_vectors(sha256, params, key)):
        here = folder / Path(name).name
        if not here.is_file():
            write_whole(here, partial(store.copy, name))


def _kept_vectors(sha256: str, params: EmbedParams, key: Key) -> str:
    """Where the store has a recording's vectors, whatever boxes they are of."""
    return f"{shards_folder(VECTORS, sha256)}/{vectors_folder(sha256, params, key).name}"


def _asked_elsewhere(crops_rgb: np.ndarray) -> np.ndarray:
    raise InputError(
        f".lineact/cache: expected the vectors of all crops, {len(crops_rgb)} are not there; run the same command again"
    )


@cache  # a worker loads the weights once
def _opened(params: EmbedParams, tiny: Path) -> Encoder:
    return open_encoder(params, tiny)


def key_of(params: EmbedParams, tiny: Path) -> Key:
    """What this worker's vectors depend on."""
    return _opened(params, tiny).key


def embed_on_worker(
    video: Path, folder: Path, *, boxes: pa.Table, params: EmbedParams, tiny: Path, store: Store, key: Key
) -> None:
    """Writes the crops of a recording's boxes; their vectors go into the store, where known ones come from.

    Args:
        video: the recording.
        folder: gets the table of crops.
        boxes: schema BOXES, all of this recording.
        params: the settings.
        tiny: see `embed_on_workers`.
        store: where vectors are kept.
        key: this worker's.
    """
    rows = cut_crops(video, boxes, params)
    write_table(table_of(rows, EMBEDDED), folder / CROPS, EMBEDDED)
    kept = _kept_vectors(boxes["video_sha256"][0].as_py(), params, key)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        vectors = Path(scratch)
        for name in store.names(kept):
            store.fetch(name, vectors / Path(name).name)
        embed_crops(vectors, rows, params, _opened(params, tiny).forward)
        for path in sorted(vectors.glob("*.npz")):
            store.put(path, f"{kept}/{path.name}")
