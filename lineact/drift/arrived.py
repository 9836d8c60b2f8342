"""Which of a station's videos came since somebody looked, by the files' own times."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from lineact.errors import InputError
from lineact.video import find_videos

SETTLED = timedelta(seconds=60)  # a file that was written to since may still grow
REACH = timedelta(hours=24)  # before the newest one: a look is no work of days


class Arrived(NamedTuple):
    """A video.

    Attributes:
        path: of it.
        at: when it was last written to, UTC.
    """

    path: Path
    at: datetime


def arrived_since(folder: Path, since: datetime | None, now: datetime) -> list[Arrived]:
    """Videos that were written after a time and are finished, of the newest 24 hours.

    A file of the future (a clock that was set) is left for when its time has come: it would hide all that comes before.

    Args:
        folder: of what a station keeps.
        since: time of the newest one that was looked at, UTC; None for all.
        now: UTC.

    Returns:
        Them, the oldest first.

    Raises:
        InputError: where there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected the folder of what the station keeps, found nothing there; mount it, or mend "
            "drift.videos in the line's file"
        )
    found = [one for one in _written(folder) if one.at <= now - SETTLED and (since is None or one.at > since)]
    found.sort(key=lambda one: (one.at, one.path))
    return [one for one in found if one.at > found[-1].at - REACH]


def _written(folder: Path) -> list[Arrived]:
    found = []
    try:
        paths = find_videos(folder)
    except InputError:  # none is kept yet
        return []
    for path in paths:
        try:
            found.append(Arrived(path, datetime.fromtimestamp(path.stat().st_mtime, UTC)))
        except FileNotFoundError:  # a station removes what it kept long enough
            continue
    return found
