"""Whether this machine's clock can be right: events carry its time."""

from datetime import UTC, datetime
from pathlib import Path

from lineact.bundle.manifest import MANIFEST
from lineact.bundle.provenance import read_provenance
from lineact.runtime.outputs.json_lines import last_event

TOLERANCE_S = 120.0  # clocks of other machines differ by less


def clock_problems(now_s: float, folder: Path, out: Path | None) -> list[str]:
    """What cannot be if the clock is right.

    Args:
        now_s: what it says, seconds since 1970.
        folder: the bundle's: it was made before now.
        out: folder of a camera's events, which ended before now; None where the events tell a recording's time.

    Returns:
        A line for each; none where nothing speaks against the clock.
    """
    provenance = read_provenance(folder)
    earlier = {"the bundle's files are from": (folder / MANIFEST).stat().st_mtime}
    if provenance is not None and provenance.registered_at:
        earlier["the bundle was registered at"] = datetime.fromisoformat(provenance.registered_at).timestamp()
    event = last_event(out) if out is not None else None
    if event is not None:
        earlier["the last event ended at"] = datetime.fromisoformat(str(event["end_utc"])).timestamp()
    return [
        f"this machine's clock says {_utc(now_s)}, but {what} {_utc(at_s)}: events get wrong times; set the clock"
        for what, at_s in earlier.items()
        if now_s < at_s - TOLERANCE_S
    ]


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
