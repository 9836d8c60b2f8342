"""Stages split by recording over the workers of a Dask cluster; the stage itself puts their results together.

A recording is a shard. Each shard's result is kept in a store that all machines see, under a key of what it depends on,
and is written once: a killed worker costs the shard it was at. The stage fills its cache from the store and then goes
on as it does without a cluster, so that its outputs are the same bytes.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ResourceParams:
    """What a worker must offer (`dask worker --resources "GPU=1"`) to get a stage's shards; each takes one of it.

    Attributes:
        ingest: name of the resource.
        detect: likewise.
        embed: likewise.
    """

    ingest: str
    detect: str
    embed: str

    def __post_init__(self) -> None:
        for stage in ("ingest", "detect", "embed"):
            if not getattr(self, stage).strip():
                raise ValueError(f"{stage} must name a resource such as CPU or GPU, found nothing")


@dataclass(frozen=True)
class DaskParams:
    """Where the cluster is.

    Attributes:
        scheduler: its scheduler's address, e.g. "tcp://10.0.0.5:8786".
        store: through what recordings and results pass between machines: a folder that all of them see at the same
            place, or s3://bucket/folder. Credentials come from the environment.
        resources: see `ResourceParams`.
        wait_s: how long a scheduler, or a worker with the resource, is waited for, seconds.
    """

    scheduler: str
    store: str
    resources: ResourceParams
    wait_s: float

    def __post_init__(self) -> None:
        if "://" not in self.scheduler:
            raise ValueError(f"scheduler: expected an address such as tcp://10.0.0.5:8786, found {self.scheduler!r}")
        if not self.store.strip():
            raise ValueError("store: expected a folder or s3://bucket/folder, found nothing")
        if not self.wait_s > 0:
            raise ValueError(f"wait_s must be above 0, found {self.wait_s}")


@dataclass(frozen=True)
class ComputeParams:
    """Where the stages ingest, detect and embed are computed. No stage tracks it: no result depends on it.

    Attributes:
        engine: "local", in the stage's own process, or "dask".
        dask: settings of that engine; there where it is chosen.
    """

    engine: Literal["local", "dask"]
    dask: DaskParams | None = None

    def __post_init__(self) -> None:
        if self.engine == "dask" and self.dask is None:
            raise ValueError("engine is 'dask', so expected a section dask, found none; `override /compute: dask`")
