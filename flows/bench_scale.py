"""`python -m flows.bench_scale line=demo [workers=1,2] [detector=motion]`: one process beside workers.

In one run, on this machine: the stages ingest, detect and embed in their own process, then on so many workers of a Dask
cluster, each time from nothing. What they write must be the same bytes.
"""

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import yaml
from rich.console import Console
from rich.table import Table

from flows import command_line
from flows.local_cluster import ROOT, LocalCluster
from flows.pipeline import CONF, refuse_without_recordings
from lineact.bench_label import empty_cache
from lineact.errors import ConfigError, LineactError
from lineact.files import sha256_of_tree
from lineact.video import find_videos, video_facts
from tasks.configure import compose_line

WORKERS = (1, 2)
# of each stage: the earlier stage's folder that it reads, and its embedded weights
STAGES = {"ingest": ("", ""), "detect": ("ingest", "grounding_dino"), "embed": ("detect", "blip2_vision")}
HEADINGS = ("", *(f"{stage} s" for stage in STAGES), "all s", "CPU s", "video s/s", "ratio", "bytes")


@dataclass(frozen=True)
class Way:
    """One way to compute the stages, measured.

    Attributes:
        name: in the table.
        seconds: wall time by stage, the start of its process included.
        cpu_s: processor time of the stages' processes and the workers, which other work on the machine changes least.
        written: hash of the stages' folders.
    """

    name: str
    seconds: dict[str, float]
    cpu_s: float
    written: str


def bench_scale(line: str, counts: tuple[int, ...], detector: str) -> list[list[str]]:
    """Measures and prints.

    Args:
        line: with recordings under data/<line>/raw.
        counts: of workers.
        detector: in place of the line's own; "" for that.

    Returns:
        The rows printed.

    Raises:
        LineactError: where there is no recording, or a stage fails.
    """
    raw = (Path("data") / line / "raw").resolve()
    facts = [video_facts(path) for path in find_videos(raw)]
    video_s = sum(fact.duration_s or 0.0 for fact in facts)
    sections = compose_line(CONF, line, [f"detector={detector}"] if detector else [])
    with empty_cache() as folder:
        ways = [measured(folder / "local", "one process", line, raw, sections, {"engine": "local"})]
        for count in counts:
            ways.append(_on_workers(folder / f"workers_{count}", count, line, raw, sections))
    rows = [_row(way, ways[0], video_s) for way in ways]
    table = Table(title=f"{raw}: {len(facts)} recordings, {video_s:.0f} s of video, {os.cpu_count()} cores")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 140).print(table)
    return rows


def _on_workers(folder: Path, count: int, line: str, raw: Path, sections: dict) -> Way:
    (folder / "models").mkdir(parents=True)
    with LocalCluster(folder) as cluster:
        for number in range(count):
            cluster.start_worker(f"worker_{number}")
        compute = {
            "engine": "dask",
            "dask": {
                "scheduler": cluster.address,
                "store": str(folder / "store"),
                "resources": dict.fromkeys(STAGES, "CPU"),
                "wait_s": 120.0,
            },
        }
        name = f"{count} worker{'s' if count > 1 else ''}"
        way = measured(folder, name, line, raw, sections, compute)
        of_workers = [psutil.Process(process.pid).cpu_times() for process in cluster.processes.values()]
        return replace(way, cpu_s=way.cpu_s + sum(times.user + times.system for times in of_workers))


def measured(folder: Path, name: str, line: str, raw: Path, sections: dict, compute: dict) -> Way:
    """Runs the stages as DVC does, in a folder of their own, and takes the time.

    Args:
        folder: gets what they write.
        name: of the way.
        line: its name.
        raw: the recordings.
        sections: of params.yaml.
        compute: that section.

    Raises:
        LineactError: where a stage fails; its words are told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump({"lines": {line: sections | {"compute": compute}}}))
    environment = {name: value for name, value in os.environ.items() if name != "LINEACT_COMPUTE"}
    seconds = {}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for stage, (reads, weights) in STAGES.items():
        command = [sys.executable, "-m", f"tasks.{stage}", "--line", line, "--raw", str(raw), "--out", stage]
        command += [f"--{reads}", reads] if reads else []
        command += ["--tiny", str(ROOT / "models/foundation/tiny" / weights)] if weights else []
        started_s = time.monotonic()
        done = subprocess.run(
            command, cwd=folder, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        seconds[stage] = time.monotonic() - started_s
        if done.returncode:
            raise LineactError(f"{name}: {stage} failed: {done.stderr.strip()}")
        print(f"{name}: {stage} took {seconds[stage]:.1f} s", flush=True)  # the table comes minutes later
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Way(name, seconds, cpu_s, " ".join(sha256_of_tree(folder / stage) for stage in STAGES))


def _row(way: Way, local: Way, video_s: float) -> list[str]:
    whole_s = sum(way.seconds.values())
    ratio = sum(local.seconds.values()) / whole_s
    same = "the same" if way.written == local.written else "OTHER"
    figures = [f"{whole_s:.1f}", f"{way.cpu_s:.1f}", f"{video_s / whole_s:.1f}", f"{ratio:.2f}", same]
    return [way.name, *(f"{seconds:.1f}" for seconds in way.seconds.values()), *figures]


def main() -> None:
    """`line=demo [workers=1,2] [detector=motion]`."""
    values = command_line.parse(sys.argv[1:], ("line",), ("workers", "detector"))
    refuse_without_recordings(values["line"])
    counts = command_line.names_of(values.get("workers") or ",".join(map(str, WORKERS)))
    if not all(count.isdecimal() and int(count) > 0 for count in counts):
        raise ConfigError(f"workers={','.join(counts)}: expected numbers of workers such as 1,2")
    bench_scale(values["line"], tuple(map(int, counts)), values.get("detector", ""))


if __name__ == "__main__":
    command_line.run(main)
