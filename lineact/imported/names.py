"""Which recording a picture comes from and where in it: told by its file's name."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

LEAST_PICTURES = 5  # names that give fewer pictures to a recording on average are no names of recordings
_NUMBERED = re.compile(r"(?P<recording>.*?)(?P<number>\d+)(\.[^./]*)?", re.DOTALL)
_DIGITS = re.compile(r"(\d+)")


class Place(NamedTuple):
    """Where a picture comes from.

    Attributes:
        recording: its name without the number at its end; "" where names tell nothing.
        number: that number; where names tell nothing, the place in the order of all names.
    """

    recording: str
    number: float


class Places(NamedTuple):
    """Pictures by name.

    Attributes:
        of: name to place.
        told: whether the names told it; else all pictures count as one recording in the order of their names.
    """

    of: dict[str, Place]
    told: bool


def places_of(names: Iterable[str]) -> Places:
    """Reads names such as `morning_0012.jpg`: picture 12 of the recording `morning_`.

    Names without a number at their end, and names of which hardly two begin alike (hashes), tell nothing.

    Args:
        names: paths with slashes, without folders that name a class or a part.
    """
    ordered = sorted(set(names), key=_natural)
    found = {name: _NUMBERED.fullmatch(name) for name in ordered}
    recordings = Counter(match["recording"] for match in found.values() if match)
    if not all(found.values()) or len(ordered) < LEAST_PICTURES * len(recordings):
        return Places({name: Place("", float(index)) for index, name in enumerate(ordered)}, told=False)
    numbered = {name: match for name, match in found.items() if match}
    return Places({name: Place(match["recording"], float(match["number"])) for name, match in numbered.items()}, True)


def _natural(name: str) -> list[tuple[int, str]]:
    """Orders `a2` before `a10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)]
