"""Resident memory of this process."""

from contextlib import suppress
from pathlib import Path

PROCESS_STATUS = Path("/proc/self/status")
FORGET = Path("/proc/self/clear_refs")


def memory_peak_mb() -> float:
    """Greatest resident memory of this process so far, or since `forget_memory_peak`, 10^6 bytes."""
    if PROCESS_STATUS.is_file():  # getrusage would give the parent's peak where that was greater
        return _status_mb("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def forget_memory_peak() -> None:
    """From here on the peak is that of what follows, where the system can forget: Linux."""
    # Some containers do not let a process write there: the peak then is the process's.
    with suppress(OSError):
        FORGET.write_text("5")


def memory_now_mb() -> float:
    """Resident memory of this process, 10^6 bytes; its peak where the system does not tell."""
    return _status_mb("VmRSS") if PROCESS_STATUS.is_file() else memory_peak_mb()


def _status_mb(name: str) -> float:
    line = next(line for line in PROCESS_STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6
