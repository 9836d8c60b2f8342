"""Finds rows of a long column by their text without an object per row."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

TEXTS_AT_ONCE = 10_000


class Lookup:
    """Rows of a column of texts: 16 bytes a row, where a dict takes more than 150."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        """Takes the column, which must hold no nulls."""
        self._column = column.combine_chunks()
        hashes = np.fromiter(map(hash, _texts(self._column)), np.int64, len(column))
        self._rows = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._rows]

    def rows(self, text: str) -> list[int]:
        """All rows with this text, in order."""
        wanted = hash(text)
        place, found = int(np.searchsorted(self._hashes, wanted)), []
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = int(self._rows[place])
            if self._column[row].as_py() == text:  # two texts may share a hash
                found.append(row)
            place += 1
        return found

    def get(self, text: str) -> int | None:
        """The first row with this text; None where there is none."""
        return next(iter(self.rows(text)), None)

    def __contains__(self, text: str) -> bool:
        """Whether a row has this text."""
        return bool(self.rows(text))

    def __getitem__(self, text: str) -> int:
        """The first row with this text.

        Raises:
            KeyError: where there is none.
        """
        row = self.get(text)
        if row is None:
            raise KeyError(text)
        return row


def _texts(column: pa.Array) -> Iterator[str]:
    for start in range(0, len(column), TEXTS_AT_ONCE):
        yield from column.slice(start, TEXTS_AT_ONCE).to_pylist()
