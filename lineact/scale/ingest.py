"""The stage `ingest` on a cluster: workers read the recordings, and the cache is filled with their tables."""

import shutil
from functools import partial
from pathlib import Path

from lineact.errors import InputError
from lineact.files import sha256_of_file, write_text, write_whole
from lineact.ingest import (
    WRITTEN_LAST,
    IngestParams,
    ingest_key,
    ingest_recording,
    ingested_folder,
    is_ingested,
)
from lineact.scale import DaskParams
from lineact.scale.job import Key
from lineact.scale.workers import Shard, workers_for
from lineact.video import find_videos

UNUSABLE = "unusable.txt"


def ingest_on_workers(cluster: DaskParams, raw: Path, params: IngestParams) -> None:
    """Puts every recording's tables into the cache, where `lineact.ingest.ingest_videos` finds them.

    A file that a worker cannot read is left to it: it is read, and told, as without a cluster.

    Args:
        cluster: where the workers are.
        raw: a folder with videos at any depth, or one video.
        params: the settings.

    Raises:
        LineactError: see `workers_for` and `Workers.results`.
    """
    root = raw if raw.is_dir() else raw.parent
    shards: dict[str, Shard] = {}
    for path in find_videos(raw):
        sha256, name = sha256_of_file(path), path.relative_to(root).as_posix()
        if sha256 in shards or is_ingested(ingested_folder(name, sha256, params)):
            continue
        work = partial(read_on_worker, name=name, told_as=str(path), sha256=sha256, params=params)
        shards[sha256] = Shard(name, path, sha256, ingest_key(name, params), work)
    if not shards:
        return
    with workers_for(cluster, "ingest", key_of) as workers:
        for shard, made in workers.results(shards.values()):
            if (made / UNUSABLE).is_file():
                continue
            folder = ingested_folder(shard.name, shard.sha256, params)
            for file in sorted(made.iterdir(), key=lambda file: file.name == WRITTEN_LAST):
                write_whole(folder / file.name, partial(shutil.copyfile, file))


def key_of() -> Key:
    """Tables depend on nothing of a worker but its versions, which are compared anyway."""
    return {}


def read_on_worker(video: Path, folder: Path, *, name: str, told_as: str, sha256: str, params: IngestParams) -> None:
    """Writes a recording's tables, or why it cannot be used.

    Args:
        video: the file here.
        folder: gets the result.
        name: see `ingest_recording`; likewise `sha256` and `params`.
        told_as: the file's path on the stage's machine, for people.
    """
    try:
        ingest_recording(video, name, sha256, params, folder)
    except InputError as error:
        write_text(folder / UNUSABLE, str(error))
        return
    problems = folder / WRITTEN_LAST
    write_text(problems, problems.read_text().replace(str(video), told_as))
