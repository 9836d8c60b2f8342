"""Stage `machine`: describes the machine, so that a benchmark is repeated where it changes."""

from pathlib import Path

from lineact.files import write_json, write_metrics
from lineact.machine import MachineParams, describe_machine
from tasks.stage import run_stage


def machine(params: MachineParams, *, out: Path) -> None:
    """Writes CPU, instruction sets, cores, memory, system, library versions and host name."""
    description = describe_machine(params)
    write_json(out / "machine.json", description)
    write_metrics(out, {"cores": description["cores"], "memory_gib": description["memory_gib"]})


if __name__ == "__main__":
    run_stage(machine, MachineParams)
