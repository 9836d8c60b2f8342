"""Stage `benchmark`: how long the released pair takes on this machine."""

import json
from pathlib import Path

from lineact.benchmark import (
    BenchmarkParams,
    Recording,
    fastest,
    headline,
    judged,
    measure_apart,
    refuse_unsound,
    setups,
    write_latencies,
    write_plots,
)
from lineact.bundle.manifest import read_manifest
from lineact.bundle.networks import at_hand
from lineact.files import write_metrics
from lineact.live_run import event_delays_apart_ms
from lineact.schema import VIDEOS, read_table
from lineact.variants import Labelled, write_variants
from tasks.stage import run_stage


def benchmark(
    params: BenchmarkParams,
    *,
    raw: Path,
    ingest: Path,
    crops: Path,
    detection: Path,
    export: Path,
    machine: Path,
    out: Path,
) -> None:
    """Measures the released setup and all others that this machine has: latency, accuracy, and which are accepted."""
    manifest = read_manifest(export / "bundle")
    description = json.loads((machine / "machine.json").read_text())
    videos = read_table(ingest / "videos.parquet", VIDEOS).to_pylist()
    recordings = [Recording(raw / row["name"], row["frame_count"]) for row in videos[: params.recordings]]
    measurements = []
    wanted, missing = setups(params, at_hand(manifest.setup), description["cores"], manifest.has_int8)
    for setup in wanted:
        measured = measure_apart(params, setup, export / "bundle", recordings, Labelled(crops, detection))
        print(
            f"{setup.name}: classifier p95 {measured.percentile_ms('classifier', 95):.2f} ms, "
            f"frame p95 {measured.percentile_ms('frame', 95):.2f} ms, actions right {measured.accuracy.actions:.3f}, "
            f"within {measured.logits_difference:.2g} of PyTorch's logits "
            f"and {measured.scores_difference:.2g} of its scores",
            flush=True,
        )
        measurements.append(measured)
    of_release = measurements[0]
    refuse_unsound(params, of_release)
    verdicts = judged(params, measurements)
    for name, why in [(one.setup.name, "; ".join(one.reasons)) for one in verdicts if one.reasons] + missing:
        print(f"rejected: {name}: {why}", flush=True)
    best = fastest(verdicts)
    if best is not None and best.setup != of_release.setup:
        print(f"released is {of_release.setup.name}; the fastest accepted is {best.setup.name} (release.setup)")
    delays_ms = event_delays_apart_ms(export / "bundle", recordings[0].path, params.event_frames)
    write_variants(out / "variants.csv", verdicts, missing)
    write_latencies(out / "latency.csv", measurements)
    write_plots(out / "plots", of_release, measurements, f"{description['cpu']}, {description['cores']} cores")
    write_metrics(out, headline(of_release, measurements, delays_ms))


if __name__ == "__main__":
    run_stage(benchmark, BenchmarkParams)
