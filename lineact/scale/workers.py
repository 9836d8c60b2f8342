"""A stage's shards given to the workers of a Dask cluster, and their results as they come."""

import hashlib
import json
import logging
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lineact.errors import ConfigError, InputError
from lineact.scale import DaskParams
from lineact.scale.job import Answer, Introduction, Job, Key, Work, difference, do, introduce, own_identity
from lineact.scale.store import Store, shards_folder, video_name

if TYPE_CHECKING:
    from distributed import Client, Future

TICK_S = 1.0  # how often it is looked whether workers are still there
KEPT = "what is stored by now is kept: run the same command again"


@dataclass(frozen=True)
class Shard:
    """A recording's part of a stage.

    Attributes:
        name: the recording's, below its raw folder.
        path: its file.
        sha256: of its content.
        settings: what the result depends on beside the recording and the worker's own key.
        work: what a worker does with it.
    """

    name: str
    path: Path
    sha256: str
    settings: Key
    work: Work


@dataclass
class _Asked:
    """A job on its way: where it failed, and to which workers it is open (None: to all)."""

    job: Job
    failed: dict[str, str] = field(default_factory=dict)
    open_to: set[str] | None = None


@contextmanager
def workers_for(params: DaskParams, stage: str, key_of: Callable[[], Key]) -> Iterator["Workers"]:
    """The workers that have the stage's resource; at least one runs this process' code and libraries.

    Args:
        params: where the cluster is.
        stage: "ingest", "detect" or "embed".
        key_of: tells, on a worker, what its answers depend on beside recording and settings.

    Raises:
        InputError: where the scheduler, or a worker with the resource, is not there in time.
        ConfigError: where all workers are of other versions, or those that are not would answer differently.
    """
    from distributed import Client

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # tracebacks about what is told in a line here
    try:
        client = Client(params.scheduler, timeout=params.wait_s, name=f"lineact-{stage}")
    except (OSError, ValueError) as error:
        raise InputError(
            f"compute.dask.scheduler: expected a Dask scheduler at {params.scheduler}, found none within "
            f"{params.wait_s:g} s ({type(error).__name__}); start one (`dask scheduler`), or set LINEACT_COMPUTE=local"
        ) from error
    with client:
        workers = Workers(client, params, stage, key_of)
        workers.introduce()
        yield workers


class Workers:
    """See `workers_for`.

    Attributes:
        key: what all of them say of their answers, see `key_of` there.
        store: through what results pass.
    """

    def __init__(self, client: "Client", params: DaskParams, stage: str, key_of: Callable[[], Key]) -> None:
        self.key: Key = {}
        self.store = Store.at(params.store)
        self._client, self._params, self._stage, self._key_of = client, params, stage, key_of
        self._resource = getattr(params.resources, stage)
        self._refused: dict[str, str] = {}
        self._alone_since_s: float | None = None

    def introduce(self) -> None:
        """Asks every worker what it is, and leaves out those of another version; see `workers_for`."""
        good: dict[str, Introduction] = {}
        for worker, told in self._introductions().items():
            unlike = own_identity().unlike(told.identity) if isinstance(told, Introduction) else str(told)
            if unlike:
                self._refuse(worker, unlike)
            elif told.problem:
                raise InputError(f"worker {worker}: {told.problem}")
            else:
                good[worker] = told
        if not good:
            raise self._none_fits()
        first = min(good)
        self.key = good[first].key
        for worker, told in good.items():
            unlike = difference(self.key, told.key)
            if unlike:
                raise ConfigError(
                    f"workers of {self._resource} would answer differently: {worker} has {unlike} of {first}; give "
                    f"the two kinds resources of different names, and compute.dask.resources.{self._stage} one of them"
                )

    def _introductions(self) -> dict[str, Introduction]:
        while not (fitting := self._fitting()):
            self._wait_for_workers()
            time.sleep(TICK_S)
        self._alone_since_s = None
        return self._client.run(
            introduce, own_identity(), self._key_of, workers=sorted(fitting), on_error="return"
        )  # an exception in the place of what a worker should have told

    def results(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, Path]]:
        """Gives out the shards whose results are not stored, and waits for them.

        Yields:
            Each shard with a folder of what was made of it, as they come; it goes when the next is asked for.

        Raises:
            InputError: where a shard failed on every worker, the recording is named; where no worker is left in time,
                or the scheduler goes. What is stored by then is kept.
        """
        asked = {shard.sha256: (shard, self._job_of(shard)) for shard in shards}
        stored = {sha256 for sha256, (_, job) in asked.items() if job.result in self.store}
        missing = [job for sha256, (_, job) in asked.items() if sha256 not in stored]
        print(
            f"{self._stage}: {len(missing)} of {len(asked)} recordings to go on workers of {self._resource}, the "
            "others are stored",
            flush=True,
        )
        for job in missing:
            self.store.put(asked[job.sha256][0].path, job.video)
        for sha256 in stored:
            yield from self._fetched(*asked[sha256])
        for number, (job, worker) in enumerate(self._done(missing), 1):
            print(f"{self._stage}: {job.name}: by {worker}, {number} of {len(missing)}", flush=True)
            yield from self._fetched(*asked[job.sha256])

    def _job_of(self, shard: Shard) -> Job:
        depends = json.dumps({"settings": shard.settings, "worker": self.key}, sort_keys=True, default=str)
        digest = hashlib.sha256(depends.encode()).hexdigest()[:32]
        return Job(
            stage=self._stage,
            name=shard.name,
            sha256=shard.sha256,
            video=video_name(shard.sha256, shard.path.suffix),
            result=f"{shards_folder(self._stage, shard.sha256)}/{digest}.zip",
            store=self.store,
            work=shard.work,
            asked=own_identity(),
            key_of=self._key_of,
            key=self.key,
        )

    def _fetched(self, shard: Shard, job: Job) -> Iterator[tuple[Shard, Path]]:
        with tempfile.TemporaryDirectory() as scratch:
            packed, made = Path(scratch) / "made.zip", Path(scratch) / "made"
            self.store.fetch(job.result, packed)
            try:
                with zipfile.ZipFile(packed) as archive:
                    archive.extractall(made)  # a name that leads out of the folder is made to stay in it
            except (zipfile.BadZipFile, EOFError) as error:
                raise InputError(
                    f"{self.store.url}/{job.result}: expected what a worker packed, found something else ({error}); "
                    "remove that file, and run the same command again"
                ) from error
            yield shard, made

    def _done(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, str]]:
        """The jobs as their results are stored, and by which worker."""
        from distributed import wait
        from distributed.client import FuturesCancelledError

        running: dict[Future, _Asked] = {}
        for job in jobs:
            self._submit(_Asked(job), running)
        while running:
            try:
                finished = wait(list(running), timeout=TICK_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                finished = set()
            except FuturesCancelledError as error:  # the client does so where it loses the scheduler
                raise self._scheduler_gone() from error
            for future in finished:
                asked = running.pop(future)
                answer = self._answer_of(future, asked.job)
                if answer.outcome == "stored":
                    yield asked.job, answer.worker
                    continue
                if answer.outcome == "refused":
                    self._refuse(answer.worker, answer.words)
                else:
                    print(f"{self._stage}: {asked.job.name}: failed on {answer.worker}: {answer.words}", flush=True)
                    asked.failed[answer.worker] = answer.words
                self._submit(asked, running)
            self._mind_workers(running)

    def _submit(self, asked: _Asked, running: "dict[Future, _Asked]") -> None:
        """Gives a job to the workers that may still do it."""
        fitting = self._fitting()
        open_to = fitting - self._refused.keys() - asked.failed.keys()
        if fitting and not open_to:
            raise self._failed_everywhere(asked) if asked.failed else self._none_fits()
        asked.open_to = None if open_to == fitting else open_to
        future = self._client.submit(
            do,
            asked.job,
            key=f"{self._stage}-{asked.job.name}-{uuid.uuid4().hex}",
            workers=sorted(open_to) if asked.open_to is not None else None,
            resources={self._resource: 1},
            pure=False,
        )
        running[future] = asked

    def _answer_of(self, future: "Future", job: Job) -> Answer:
        from distributed import KilledWorker

        if future.status == "cancelled":
            raise self._scheduler_gone()
        error = future.exception()
        if isinstance(error, KilledWorker):
            raise InputError(
                f"{self._stage}: recording {job.name}: every worker that had it was killed, the last one "
                f"{error.last_worker.address}; see its log (too little memory?). {KEPT.capitalize()}"
            )
        if error is not None:
            raise InputError(f"{self._stage}: recording {job.name}: a worker answered {error!r}; {KEPT}")
        return future.result()

    def _mind_workers(self, running: "dict[Future, _Asked]") -> None:
        """Waits with a limit where no worker is left; opens to others what only workers that went might do."""
        fitting = self._fitting()
        if not fitting:
            self._wait_for_workers()
            return
        self._alone_since_s = None
        for future, asked in list(running.items()):
            if asked.open_to is not None and not asked.open_to & fitting:
                del running[future]
                future.cancel()
                self._submit(asked, running)

    def _fitting(self) -> set[str]:
        """Addresses of the workers that have the stage's resource."""
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"] if self._client.status == "running" else None
        except OSError:
            workers = None
        if workers is None:
            raise self._scheduler_gone()
        return {address for address, one in workers.items() if one["resources"].get(self._resource, 0) >= 1}

    def _wait_for_workers(self) -> None:
        now_s = time.monotonic()
        if self._alone_since_s is None:
            self._alone_since_s = now_s
            print(f"{self._stage}: waiting for a worker of {self._resource}", flush=True)
        if now_s - self._alone_since_s > self._params.wait_s:
            raise InputError(
                f"{self._stage}: expected a worker of {self._resource} (compute.dask.resources.{self._stage}) at "
                f"{self._params.scheduler}, found none for {self._params.wait_s:g} s; start one (`dask worker "
                f'{self._params.scheduler} --resources "{self._resource}=1"`); {KEPT}'
            )

    def _refuse(self, worker: str, words: str) -> None:
        self._refused[worker] = words
        print(f"{self._stage}: worker {worker} is refused: {words}", flush=True)

    def _none_fits(self) -> ConfigError:
        listed = "\n  ".join(f"{worker}: {words}" for worker, words in sorted(self._refused.items()))
        return ConfigError(
            f"{self._stage}: expected a worker of {self._resource} with this checkout's code and libraries, found only "
            f"others; bring them to the same commit and requirements.lock, and start them again:\n  {listed}"
        )

    def _failed_everywhere(self, asked: _Asked) -> InputError:
        listed = "\n  ".join(f"{worker}: {words}" for worker, words in sorted(asked.failed.items()))
        return InputError(
            f"{self._stage}: recording {asked.job.name}: failed on every worker of {self._resource}; {KEPT}:\n  "
            f"{listed}"
        )

    def _scheduler_gone(self) -> InputError:
        return InputError(
            f"{self._stage}: the Dask scheduler at {self._params.scheduler} went away; start it again; {KEPT}"
        )
