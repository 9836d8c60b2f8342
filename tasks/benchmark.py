"""Stage `benchmark`: how long the released pair takes on this machine."""

import json
from pathlib import Path

from lineact.benchmark import (
    BenchmarkParams,
    Recording,
    fastest,
    headline,
    measure_apart,
    refuse_unsound,
    setups,
    write_latencies,
    write_plots,
)
from lineact.bundle.manifest import read_manifest
from lineact.files import write_metrics
from lineact.schema import VIDEOS, read_table
from tasks.stage import run_stage


def benchmark(params: BenchmarkParams, *, raw: Path, ingest: Path, export: Path, machine: Path, out: Path) -> None:
    """Measures call and frame latencies of the released setup and of all others that this machine has."""
    released = read_manifest(export / "bundle").setup
    description = json.loads((machine / "machine.json").read_text())
    videos = read_table(ingest / "videos.parquet", VIDEOS).to_pylist()
    recordings = [Recording(raw / row["name"], row["frame_count"]) for row in videos[: params.recordings]]
    measurements = []
    for setup in setups(params, released, description["cores"]):
        measured = measure_apart(params, setup, export / "bundle", recordings)
        print(
            f"{setup.name}: classifier p95 {measured.percentile_ms('classifier', 95):.2f} ms, "
            f"frame p95 {measured.percentile_ms('frame', 95):.2f} ms, "
            f"within {measured.logits_difference:.2g} of PyTorch's logits "
            f"and {measured.scores_difference:.2g} of its scores",
            flush=True,
        )
        measurements.append(measured)
    of_release = measurements[0]
    refuse_unsound(params, of_release)
    best = fastest(params, measurements)
    if best is not None and best is not of_release:
        print(f"released is {released.name}; the fastest that answers right is {best.setup.name} (release.setup)")
    write_latencies(out / "latency.csv", measurements)
    write_plots(out / "plots", of_release, measurements, f"{description['cpu']}, {description['cores']} cores")
    write_metrics(out, headline(of_release, measurements))


if __name__ == "__main__":
    run_stage(benchmark, BenchmarkParams)
