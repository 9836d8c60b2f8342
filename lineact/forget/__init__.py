"""What is left of a recording beside its file: in caches, in a person's answers, in what was trained on it."""

from typing import NamedTuple


class Recording(NamedTuple):
    """A recording that is to be forgotten.

    Attributes:
        sha256: of its file.
        names: what it is called in its lines: path below the raw folder, with and without the suffix.
    """

    sha256: str
    names: frozenset[str]

    @property
    def key(self) -> str:
        """How ids of frames and boxes, and names of pictures, begin."""
        return self.sha256[:12]
