"""What DVC keeps of a recording: objects of all versions ever made, here and in the remotes, and the run cache."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from lineact.forget.trained import Files

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

DIRECTORY = ".dir"  # how the hash of a folder's listing ends
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Out(NamedTuple):
    """A version of an output, or of imported data.

    Attributes:
        path: of the file or folder.
        md5: DVC's hash of it.
    """

    path: str
    md5: str


class Objects:
    """DVC's cache and remotes, and which versions of which paths they were made for."""

    def __init__(self) -> None:
        """Reads DVC's settings, the run cache, and every version of dvc.lock and raw.dvc that git knows."""
        from dvc.repo import Repo

        self._repo = Repo()
        self.cache: HashFileDB = self._repo.cache.local
        self.remotes: dict[str, HashFileDB] = {}
        self.unreachable: dict[str, str] = {}
        for name in self._repo.config["remote"]:
            try:
                odb = self._repo.cloud.get_remote_odb(name)
                odb.exists("0" * 32)  # asks
                self.remotes[name] = odb
            except Exception as error:  # each kind of store has errors of its own
                self.unreachable[name] = str(error)
        self._runs = Path(self._repo.cache.legacy.path) / "runs"
        self.outs = (
            set(_outs_of_git()) | set(_outs_on_disk()) | {out for _, outs in self._cached_runs() for out in outs}
        )

    def listing(self, md5: str) -> dict[str, str]:
        """Path to hash of a folder's files; empty of a single file, or where the listing is nowhere any more."""
        if not md5.endswith(DIRECTORY):
            return {}
        for odb in (self.cache, *self.remotes.values()):
            path = odb.oid_to_path(md5)
            if odb.fs.exists(path):
                with odb.fs.open(path, "rb") as stream:
                    return {entry["relpath"]: entry["md5"] for entry in json.load(stream)}
        return {}

    def files_of(self, md5: str) -> Files:
        """Files of a folder's version, as they lie in the cache; those that are not there are left out."""
        found = {name: Path(self.cache.oid_to_path(one)) for name, one in self.listing(md5).items()}
        return {name: path for name, path in found.items() if path.is_file()}

    def reached_by(self, outs: Iterable[Out]) -> set[str]:
        """Hashes of all objects of these versions."""
        reached: set[str] = set()
        for md5 in {out.md5 for out in outs}:
            reached |= {md5, *self.listing(md5).values()}
        return reached

    def remove(self, doomed: Iterable[str]) -> dict[str, int]:
        """Removes objects, here and in every remote that answers.

        Listings go last: whoever was killed before finds by them what is still to go.

        Returns:
            How many were there, by place: "cache", or the remote's name.
        """
        places = {"cache": self.cache, **self.remotes}
        removed = dict.fromkeys(places, 0)
        for md5 in sorted(doomed, key=lambda md5: md5.endswith(DIRECTORY)):
            for place, odb in places.items():
                if odb.exists(md5):
                    odb.delete(md5)
                    removed[place] += 1
        return removed

    def forget_runs(self, paths: set[str]) -> int:
        """Removes entries of the run cache that would bring back one of these outputs; how many."""
        gone = [path for path, outs in self._cached_runs() if any(out.path in paths for out in outs)]
        for path in gone:
            path.unlink()
        return len(gone)

    def _cached_runs(self) -> Iterator[tuple[Path, list[Out]]]:
        for path in self._runs.glob("*/*/*") if self._runs.is_dir() else ():
            yield path, list(_outs_of_stage(_mapping(path.read_bytes())))


def md5_of(path: Path) -> str:
    """DVC's hash of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _outs_on_disk() -> Iterator[Out]:
    for path in (Path("dvc.lock"), *Path("data").glob("*/raw.dvc")):
        if path.is_file():
            yield from _outs_in(path.as_posix(), path.read_bytes())


def _outs_of_git() -> Iterator[Out]:
    """Of every commit of every branch, tag and experiment; none where this is no checkout of git."""
    asked = ["git", "log", "--all", "--raw", "--no-abbrev", "--format=", "--", "dvc.lock", "data/*/raw.dvc"]
    told = subprocess.run(asked, capture_output=True, text=True)
    versions = {tuple(line.split()[i] for i in (3, 5)) for line in told.stdout.splitlines() if line.startswith(":")}
    for blob, path in versions:
        read = subprocess.run(["git", "cat-file", "blob", blob], capture_output=True)
        if read.returncode == 0:  # a deleted file is told as zeros
            yield from _outs_in(path, read.stdout)


def _outs_in(path: str, content: bytes) -> Iterator[Out]:
    values = _mapping(content)
    if path.endswith(".dvc"):
        below = Path(path).parent
        outs = values.get("outs") or []
        yield from (Out((below / out["path"]).as_posix(), out["md5"]) for out in outs if "md5" in out)
        return
    for stage in (values.get("stages") or {}).values():
        yield from _outs_of_stage(stage)


def _outs_of_stage(stage: dict[str, Any]) -> Iterator[Out]:
    yield from (Out(out["path"], out["md5"]) for out in stage.get("outs") or [] if "md5" in out)


def _mapping(content: bytes) -> dict[str, Any]:
    try:
        values = yaml.load(content, Loader=_LOADER)  # noqa: S506 - the safe loader, in C where it is there
    except yaml.YAMLError:  # DVC, killed while it writes, leaves a part
        return {}
    return values if isinstance(values, dict) else {}
