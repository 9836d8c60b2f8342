"""Resident memory of this process."""

from pathlib import Path

PROCESS_STATUS = Path("/proc/self/status")


def memory_peak_mb() -> float:
    """Greatest resident memory of this process so far, 10^6 bytes."""
    if PROCESS_STATUS.is_file():  # getrusage would give the parent's peak where that was greater
        return _status_mb("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def memory_now_mb() -> float:
    """Resident memory of this process, 10^6 bytes; its peak where the system does not tell."""
    return _status_mb("VmRSS") if PROCESS_STATUS.is_file() else memory_peak_mb()


def _status_mb(name: str) -> float:
    line = next(line for line in PROCESS_STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6
