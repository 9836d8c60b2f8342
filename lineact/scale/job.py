"""What a worker does: one recording's part of a stage, from the store and into it."""

import hashlib
import platform
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import lineact
from lineact.errors import InputError, LineactError
from lineact.files import sha256_of_file
from lineact.scale.store import Store

# What decides about a result's bytes beside lineact's own code.
LIBRARIES = ("av", "numpy", "opencv-python-headless", "openvino", "pyarrow", "torch", "torchvision", "transformers")

Work = Callable[[Path, Path], None]  # a recording's file, and the folder that gets what is made of it
Key = Mapping[str, object]


def _code_of(package: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


CODE = _code_of(Path(lineact.__file__).parent)  # as it is when it is loaded: what is edited later does not run here


class Identity(NamedTuple):
    """What a worker must have in common with the stage that asks it.

    Attributes:
        code: hash of lineact's modules.
        versions: of Python and of `LIBRARIES`.
    """

    code: str
    versions: Mapping[str, str]

    def unlike(self, other: "Identity") -> str:
        """In which way another one differs, in words; "" where it does not."""
        told = [] if self.code == other.code else [f"lineact's code {other.code} in place of {self.code}"]
        told += [
            f"{name} {other.versions.get(name, 'none')} in place of {version}"
            for name, version in self.versions.items()
            if other.versions.get(name) != version
        ]
        return ", ".join(told)


@cache
def own_identity() -> Identity:
    """This process's."""
    return Identity(CODE, {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES})


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"


class Introduction(NamedTuple):
    """What a worker tells of itself.

    Attributes:
        identity: see there.
        key: what its answers depend on beside recording and settings: weights, precision, kind of machine.
        problem: why it has no key, in words; "" where it has one.
    """

    identity: Identity
    key: Key
    problem: str = ""


def introduce(asked: Identity, key_of: Callable[[], Key]) -> Introduction:
    """Tells what this worker is; one of another version is not asked for its key.

    Args:
        asked: the stage's.
        key_of: tells the key of this worker's answers.
    """
    own = own_identity()
    if asked.unlike(own):
        return Introduction(own, {})
    try:
        return Introduction(own, key_of())
    except LineactError as error:
        return Introduction(own, {}, str(error))


@dataclass(frozen=True)
class Job:
    """One recording's part of a stage.

    Attributes:
        stage: its name.
        name: the recording's, below its raw folder.
        sha256: of the recording.
        video: its name in the store.
        result: likewise of what is to be made.
        store: see there.
        work: makes it.
        asked: what the worker must be.
        key_of: see `introduce`.
        key: what that must give.
    """

    stage: str
    name: str
    sha256: str
    video: str
    result: str
    store: Store
    work: Work
    asked: Identity
    key_of: Callable[[], Key]
    key: Key


class Answer(NamedTuple):
    """How a job ended on a worker.

    Attributes:
        worker: its address.
        outcome: "stored"; "refused", as the worker is another than asked for; "failed".
        words: why.
    """

    worker: str
    outcome: Literal["stored", "refused", "failed"]
    words: str = ""


def do(job: Job) -> Answer:
    """Does a job, unless its result is in the store.

    Errors are answers: another worker may do better, and the stage names the recording where none does.
    """
    from distributed import get_worker

    worker = get_worker()
    own = introduce(job.asked, job.key_of)
    unlike = job.asked.unlike(own.identity) or own.problem or difference(job.key, own.key)
    if unlike:
        return Answer(worker.address, "refused", unlike)
    try:
        if job.result not in job.store:
            print(f"{job.stage}: {job.name}: begun", flush=True)
            with tempfile.TemporaryDirectory(dir=worker.local_directory) as scratch:
                _make(job, Path(scratch))
            print(f"{job.stage}: {job.name}: stored", flush=True)
    except Exception as error:  # whatever libraries raise: it is told with the recording's name
        words = str(error) if isinstance(error, LineactError) else f"{type(error).__name__}: {error}"
        print(f"{job.stage}: {job.name}: failed: {words}", flush=True)
        return Answer(worker.address, "failed", words)
    return Answer(worker.address, "stored")


def _make(job: Job, scratch: Path) -> None:
    video, made, packed = scratch / "raw" / Path(job.name).name, scratch / "made", scratch / "made.zip"
    video.parent.mkdir()
    made.mkdir()
    job.store.fetch(job.video, video)
    found = sha256_of_file(video)
    if found != job.sha256:
        raise InputError(
            f"{job.store.url}/{job.video}: expected the recording with SHA-256 {job.sha256[:12]}, found {found[:12]}; "
            "remove that file, and run the same command again"
        )
    job.work(video, made)
    with zipfile.ZipFile(packed, "w") as archive:  # not compressed: Parquet and PNG are
        for path in sorted(path for path in made.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(made).as_posix())
    job.store.put(packed, job.result)


def difference(expected: Key, found: Key) -> str:
    """In which way two keys differ, in words; "" where they do not."""
    names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return ", ".join(f"{name} {found.get(name)!r} in place of {expected.get(name)!r}" for name in names)
