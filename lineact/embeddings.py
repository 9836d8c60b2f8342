"""Embeddings of a long line, read from their file as far as they are asked for."""

import mmap
from pathlib import Path

import numpy as np

from lineact.errors import InputError

ROWS_AT_ONCE = 1024
READ_AT_ONCE = 128  # rows that lie apart bring their neighbours with them


class Embeddings:
    """float32, N x D, in a file of numpy's: rows take memory no longer than they are used."""

    def __init__(self, path: Path) -> None:
        """Opens the file; what takes its place later is not read.

        Raises:
            InputError: where it is missing, or no table of numbers.
        """
        try:
            self._mapped = np.load(path, mmap_mode="r")
        except FileNotFoundError as error:
            raise InputError(f"{path}: expected embeddings of an earlier stage, found none; run `dvc repro`") from error
        except (ValueError, EOFError) as error:
            raise InputError(f"{path}: expected embeddings, found something else ({error}); run `dvc repro`") from error

    def __len__(self) -> int:
        """N."""
        return len(self._mapped)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Some rows."""
        wanted = np.arange(len(self))[rows]
        read = np.empty((len(wanted), self._mapped.shape[1]), self._mapped.dtype)
        for start in range(0, len(wanted), READ_AT_ONCE):
            read[start : start + READ_AT_ONCE] = self._mapped[wanted[start : start + READ_AT_ONCE]]
            self._mapped.base.madvise(mmap.MADV_DONTNEED)  # what a map has read counts as memory while it is open
        return read


def mean_of(embeddings: np.ndarray | Embeddings, wanted: np.ndarray) -> np.ndarray:
    """Mean of the wanted rows: D; where D is above 1 the same bits as numpy's of all at once.

    Args:
        embeddings: float, N x D.
        wanted: bool, N, some of them true.
    """
    total = np.zeros_like(embeddings[:1][0])
    for start in range(0, len(embeddings), ROWS_AT_ONCE):
        rows = embeddings[start : start + ROWS_AT_ONCE][wanted[start : start + ROWS_AT_ONCE]]
        total = np.add.reduce(np.concatenate([total[None], rows]), axis=0)
    return np.true_divide(total, wanted.sum(), dtype=total.dtype)
