"""`python -m flows.bench_live line=demo [seconds=40] [clip=FILE] [hours=1]`: the runtime beside the plain way.

The line must be trained and exported. A simulated line's clip is a recording that it has not, rendered at 2560 x 1440
and 25 frames/s; another line names one of its own.

Every measurement has a process of its own, which reads this module again: what brings torch is imported where it is
needed, so that it does not count as the runtime's memory.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lineact.bench_live import (
    LiveJob,
    as_the_product,
    in_real_time,
    measured,
    plain_way,
    plain_way_at_640,
    render_clip,
    without_skipping,
)
from lineact.bundle.manifest import read_manifest
from lineact.errors import ConfigError, InputError
from lineact.files import cache_folder
from lineact.live_run import LiveRun
from lineact.settings import from_mapping
from lineact.simulation import SimulateParams
from lineact.video import video_facts

SECONDS = 40.0
HEADINGS = ("", "frames/s", "ratio", "CPU ms a frame", "looked", "classified", "hands a frame", "peak MB")
CODE_VERSION = 1  # raise where the clip changes


def bench_live(line: str, clip: str, seconds: float, hours: float) -> list[list[str]]:
    """Measures all ways on one clip and prints them.

    Args:
        line: its name.
        clip: a video; empty for a rendered one.
        seconds: length of the rendered one.
        hours: of video that is played, as fast as it goes, to see whether memory stays flat; 0 for none.

    Returns:
        The rows printed.

    Raises:
        ConfigError: where there is nothing to render a clip from.
        InputError: where the line is not exported, or the clip is no video.
    """
    from flows.pipeline import artefact_folder
    from flows.versions import bundle_of

    path, told = _clip(line, clip, seconds)
    facts = video_facts(path)
    if facts.duration_s is None:
        raise InputError(f"{path}: expected a video that tells its length, found none; copy it to .mp4")
    bundle = bundle_of(line)
    spec = read_manifest(bundle).classifier
    if len(spec.lags_s) > 1:
        raise ConfigError(
            f"line {line}: expected a classifier of single crops, which the plain way can call, found strips"
        )
    kind = spec.kind
    classifier = artefact_folder("distil" if kind == "student" else "train_teacher", line)
    frames = round(facts.duration_s * facts.fps)
    job = LiveJob(path, bundle, artefact_folder("train_detector", line), (classifier, kind), frames)
    runs = {
        "plain: ultralytics and timm": measured(plain_way, job),
        "plain, at ultralytics' own size": measured(plain_way_at_640, job),
        "lineact": measured(as_the_product, job),
        "lineact, nothing skipped": measured(without_skipping, job),
    }
    live = measured(in_real_time, job)
    plain = next(iter(runs.values()))
    rows = [_row(name, run, plain) for name, run in (runs | {"lineact, at the clip's rate": live}).items()]
    table = Table(title=f"{path.name}: {frames} frames at {facts.fps:g} frames/s, {facts.codec}; {told}")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table)
    console.print(_delays(live))
    if hours:
        console.print(_memory(measured(as_the_product, job.playing(round(hours * 3600 * facts.fps)))))
    return rows


def _clip(line: str, clip: str, seconds: float) -> tuple[Path, str]:
    """The video and what is known of it."""
    from flows.pipeline import stages_of
    from tasks.stage import section_of

    if clip:
        return Path(clip), "nothing is known of how much moves"
    if "simulate" not in stages_of(line):
        raise ConfigError(f"line {line}: expected clip=FILE, a recording of the line, since none can be rendered")
    params = from_mapping(SimulateParams, section_of(line, "simulate"), f"params.yaml: lines.{line}.simulate")
    key = {"code": CODE_VERSION, "seed": params.seed, "station": params.station, "number": params.recordings}
    folder = cache_folder("bench_live", key | {"seconds": seconds, "noise": params.noise})
    return folder / "clip.mp4", f"hands move on {render_clip(folder / 'clip.mp4', params, seconds):.0%} of them"


def _row(name: str, run: LiveRun, plain: LiveRun) -> list[str]:
    figures = [f"{run.frames_per_s:.1f}", f"{run.frames_per_s / plain.frames_per_s:.2f}"]
    figures += [f"{run.cpu_s / run.frames * 1000:.1f}", f"{run.looked / run.frames:.0%}"]
    figures += [f"{run.classified / max(run.hands, 1):.0%}", f"{run.hands / run.frames:.2f}", f"{run.memory_mb:.0f}"]
    return [name, *figures]


def _delays(run: LiveRun) -> str:
    p50, p95, p99 = np.percentile(run.delays_ms, [50, 95, 99])
    words = f"frame arrival to events at the clip's rate: p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms"
    if len(run.calls_ms):
        p50, p95, p99 = np.percentile(run.calls_ms, [50, 95, 99])
        words += f"\nclassifier, {len(run.calls_ms)} calls with two crops meanwhile: p50 {p50:.1f}, p95 {p95:.1f}, "
        words += f"p99 {p99:.1f} ms"
    return words


def _memory(run: LiveRun) -> str:
    return (
        f"{run.frames} frames in {run.seconds:.0f} s ({run.frames_per_s:.1f} frames/s): "
        f"resident memory at most {run.memory_mb:.0f} MB, {run.memory_growth_mb:+.1f} MB over the last three quarters"
    )


def main() -> None:
    """`line=demo [seconds=40] [clip=FILE] [hours=1]`."""
    from flows import command_line

    values = command_line.parse(sys.argv[1:], ("line",), ("seconds", "clip", "hours"))
    try:
        seconds, hours = float(values.get("seconds") or SECONDS), float(values.get("hours") or 0)
    except ValueError as error:
        raise ConfigError(f"seconds and hours: expected numbers, {error}") from error
    if seconds <= 0 or hours < 0:
        raise ConfigError(f"expected seconds above 0 and hours of at least 0, found {seconds:g} and {hours:g}")
    bench_live(values["line"], values.get("clip", ""), seconds, hours)


if __name__ == "__main__":
    from flows import command_line

    command_line.run(main)
