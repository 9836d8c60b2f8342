"""What machines pass to each other: files in a folder that all see, or in an object store (fsspec)."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineact.errors import InputError, LineactError
from lineact.files import write_whole

VIDEOS = "videos"
VECTORS = "vectors"  # of crops, see `lineact.scale.embed`
KINDS = ("ingest", "detect", "embed", VECTORS)  # of what is made of a recording: stages' results, and these


@dataclass(frozen=True)
class Store:
    """Files by name below one address. A file is there whole or not at all, and is never replaced.

    Attributes:
        url: an absolute folder, or e.g. "s3://bucket/folder".
    """

    url: str

    @staticmethod
    def at(url: str) -> "Store":
        """The store at an address; a relative folder is made absolute, since workers run elsewhere."""
        return Store(url.rstrip("/") if "://" in url else str(Path(url).expanduser().resolve()))

    def __contains__(self, name: str) -> bool:
        """Whether a file is there.

        Raises:
            InputError: where the store does not answer; so do all methods here.
        """
        with self._reached(name) as (files, root):
            return bool(files.isfile(f"{root}/{name}"))

    def put(self, file: Path, name: str) -> None:
        """Copies a file into the store, unless one of this name is there."""
        if name in self:
            return
        with self._reached(name) as (files, root):
            if self._is_folder:
                write_whole(Path(root) / name, lambda temporary: shutil.copyfile(file, temporary))
            else:
                files.put_file(str(file), f"{root}/{name}")  # object stores show an upload when it is whole

    def fetch(self, name: str, file: Path) -> None:
        """Makes a file of the store readable as `file`, whose folder exists: as a link where the store is a folder."""
        if self._is_folder and name in self:
            file.symlink_to(Path(self.url) / name)
        else:
            self.copy(name, file)

    def copy(self, name: str, file: Path) -> None:
        """Copies a file of the store to `file`, whose folder exists."""
        if name not in self:
            raise InputError(
                f"{self.url}/{name}: expected a file, found none; does this machine see the same store as the others?"
            )
        with self._reached(name) as (files, root):
            files.get_file(f"{root}/{name}", str(file))

    def names(self, folder: str) -> list[str]:
        """Names of all files below a folder of the store, sorted."""
        with self._reached(folder) as (files, root):
            found = [path.removeprefix(f"{root}/") for path in files.find(f"{root}/{folder}")]
        return sorted(name for name in found if "/.tmp-" not in name)

    def remove(self, name: str) -> int:
        """Removes a file, or all below a folder; gives the number of files."""
        count = len(self.names(name))
        if count:
            with self._reached(name) as (files, root):
                files.rm(f"{root}/{name}", recursive=True)
        return count

    @property
    def _is_folder(self) -> bool:
        return "://" not in self.url

    @contextmanager
    def _reached(self, name: str) -> Iterator[tuple[Any, str]]:
        """The file system, and the path of this store there."""
        from fsspec.core import url_to_fs

        try:
            files, root = url_to_fs(self.url)
            files.invalidate_cache()  # others write, too
            yield files, root.rstrip("/")
        except LineactError:
            raise
        except Exception as error:  # each kind of store has errors of its own
            raise InputError(
                f"{self.url}/{name}: expected a store that answers, found {type(error).__name__}: "
                f"{' '.join(str(error).split())}; check compute.dask.store and the credentials in the environment"
            ) from error


def video_name(sha256: str, suffix: str) -> str:
    """Where a recording lies in a store."""
    return f"{VIDEOS}/{sha256}{suffix.lower()}"


def shards_folder(stage: str, sha256: str) -> str:
    """Where what a stage made of a recording lies in a store."""
    return f"{stage}/{sha256}"


def forget_recording(store: Store, sha256: str) -> int:
    """Removes a recording and all that was made of it; gives the number of files."""
    removed = sum(store.remove(shards_folder(kind, sha256)) for kind in KINDS)
    videos = [name for name in store.names(VIDEOS) if name.startswith(f"{VIDEOS}/{sha256}")]
    return removed + sum(store.remove(name) for name in videos)
