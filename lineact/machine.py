"""What this machine is: a latency belongs to a machine."""

import os
import platform
import socket
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from lineact.errors import ConfigError

CPU_INFO = Path("/proc/cpuinfo")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
INSTRUCTION_SETS = (  # what the runtimes choose their kernels by; names as Linux has them
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni",
    "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve",
)  # fmt: skip


@dataclass(frozen=True)
class MachineParams:
    """Settings of the stage `machine`.

    Attributes:
        libraries: distributions whose versions decide how fast a frame is.
    """

    libraries: tuple[str, ...]


def describe_machine(params: MachineParams) -> dict[str, Any]:
    """Describes the machine; the same machine gives the same description.

    Returns:
        host, cpu, architecture, instruction_sets, cores (that this process may use), memory_gib (whole), os, kernel,
        python, libraries.

    Raises:
        ConfigError: where a named library is not installed.
    """
    import psutil

    cpu_info = CPU_INFO.read_text() if CPU_INFO.is_file() else ""
    return {
        "host": socket.gethostname(),
        "cpu": cpu_model(cpu_info) or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "instruction_sets": instruction_sets(cpu_info),
        "cores": usable_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "os": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in sorted(params.libraries)},
    }


def cpu_model(cpu_info: str) -> str:
    """The first "model name" of /proc/cpuinfo; "" where there is none (other systems, most ARM)."""
    return _field(cpu_info, "model name")


def instruction_sets(cpu_info: str) -> list[str]:
    """Those of `INSTRUCTION_SETS` that the CPU has, in that order."""
    flags = set((_field(cpu_info, "flags") or _field(cpu_info, "Features")).split())
    return [name for name in INSTRUCTION_SETS if name in flags]


def usable_cores() -> int:
    """Cores that this process may use: its affinity, cut by the container's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(affinity, quota_cores(CPU_QUOTA.read_text()) or affinity) if CPU_QUOTA.is_file() else affinity


def quota_cores(cpu_max: str) -> int | None:
    """Whole cores of a container's quota, at least 1.

    Args:
        cpu_max: content of cgroup v2's cpu.max: "<quota or max> <period>", microseconds.
    """
    quota, period = cpu_max.split()
    return None if quota == "max" else max(round(int(quota) / int(period)), 1)


def _field(cpu_info: str, name: str) -> str:
    for line in cpu_info.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError as error:
        raise ConfigError(
            f"machine.libraries: expected installed libraries, found no {library}; run `make setup` or take it out"
        ) from error
