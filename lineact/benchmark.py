"""How long the released pair takes on this machine: per call and per frame, with decoding, preparing and selecting."""

import concurrent.futures
import itertools
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lineact.bundle import load_bundle
from lineact.bundle.networks import Precision, Runtime, Setup, supported_precisions
from lineact.bundle.pair import Bundle
from lineact.bundle.processing import read_png
from lineact.call_time import call_time_ms
from lineact.errors import InputError
from lineact.files import write_csv, write_whole
from lineact.process_memory import memory_peak_mb
from lineact.variants import Accuracy, Judged, Labelled, VariantLimits, accuracy_of, judge
from lineact.video import Frame, read_frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PARTS = ("classifier", "pair", "detector", "decode", "frame")
PERCENTILES = (50, 95, 99)
LACKING: dict[Runtime, str] = {
    "openvino": "this CPU has no such arithmetic",
    "onnxruntime": "the networks are stored in f32",
    "tensorrt": "no onnxruntime with TensorRT and its GPU here",
}


@dataclass(frozen=True)
class BenchmarkParams:
    """Settings of the stage `benchmark`.

    Attributes:
        runtimes: to compare.
        precisions: to compare, where runtime and CPU have them.
        threads: to compare, up to the machine's cores.
        recordings: from so many recordings, the first by name, frames are taken.
        frames: measured frames of each combination, over all these recordings.
        every: of the decoded frames one in so many goes through the pair: hands differ more from one to the next.
        calls_per_frame: calls of the classifier with one crop, and with two, after each frame: spread so, they meet the
            same disturbances as the frames do.
        event_frames: frames that are played at their own rate, to measure how long it takes from a frame to its events.
        variants: what a variant must keep to.
        warmup: frames, with their calls, before the measured ones.
        logits_tolerance: precision -> greatest difference of a sample's logit from PyTorch's with which it may run.
        scores_tolerance: likewise, of a detected box's score.
    """

    runtimes: tuple[Runtime, ...]
    precisions: tuple[Precision, ...]
    threads: tuple[int, ...]
    recordings: int
    frames: int
    every: int
    calls_per_frame: int
    event_frames: int
    warmup: int
    variants: VariantLimits
    logits_tolerance: dict[str, float]
    scores_tolerance: dict[str, float]

    def __post_init__(self) -> None:
        if not (self.runtimes and self.precisions and self.threads):
            raise ValueError("runtimes, precisions and threads must each name at least one")
        if (
            min(*self.threads, self.recordings, self.frames, self.every, self.calls_per_frame, self.event_frames) < 1
            or self.warmup < 0
        ):
            raise ValueError("threads, recordings and all numbers of frames and calls must be at least 1, warmup 0")
        for name in ("logits_tolerance", "scores_tolerance"):
            without = set(self.precisions) - set(getattr(self, name))
            if without:
                raise ValueError(f"{name} must name every precision, found none for {', '.join(sorted(without))}")


@dataclass(frozen=True)
class Recording:
    """A video that `ingest` accepted.

    Attributes:
        path: the file.
        frame_count: frames that can be read; what lies behind them may be broken.
    """

    path: Path
    frame_count: int


@dataclass(frozen=True)
class Measurement:
    """One setup's figures.

    Attributes:
        setup: what ran.
        durations_ms: per part of `PARTS`, float64. "classifier" is one call with one crop, scaling and softmax
            included; "pair" likewise with two; "detector" one call with one frame, scaling and suppression included;
            "decode" one frame out of the file; "frame" decoding, detecting, cropping and classifying all its hands.
        hands: found per measured frame.
        accuracy: on the line's validation data.
        logits_difference: from PyTorch's on the bundle's sample crops.
        scores_difference: of boxes on its sample frames, likewise.
        load_ms: until the pair is ready.
        memory_peak_mb: of the process that did nothing else, 10^6 bytes.
    """

    setup: Setup
    durations_ms: dict[str, np.ndarray]
    hands: np.ndarray
    accuracy: Accuracy
    logits_difference: float
    scores_difference: float
    load_ms: float
    memory_peak_mb: float

    def percentile_ms(self, part: str, percent: float) -> float:
        """Percentile of a part's durations."""
        return float(np.percentile(self.durations_ms[part], percent))


def setups(
    params: BenchmarkParams, released: Setup, cores: int, has_int8: bool
) -> tuple[list[Setup], list[tuple[str, str]]]:
    """The released setup and all other combinations that can run here; the names of those that cannot, and why.

    Raises:
        InputError: where the released precision has no tolerance.
    """
    if released.precision not in set(params.logits_tolerance) & set(params.scores_tolerance):
        raise InputError(
            f"benchmark: expected logits_tolerance and scores_tolerance of the released precision "
            f"{released.precision}, found none; name them in the line's file"
        )
    found: list[Setup] = [released]
    missing: list[tuple[str, str]] = []
    for runtime, precision in itertools.product(params.runtimes, params.precisions):
        if precision not in supported_precisions(runtime):
            missing.append((f"{runtime}_{precision}", LACKING[runtime]))
            continue
        if precision == "int8" and not has_int8:
            missing.append((f"{runtime}_int8", "the bundle has no such networks: export.calibration_crops is 0"))
            continue
        found += [Setup(runtime, precision, threads) for threads in params.threads if threads <= cores]
    missing += [(f"{threads} threads", f"more than {cores} cores") for threads in params.threads if threads > cores]
    return list(dict.fromkeys(found)), missing


def measure_apart(
    params: BenchmarkParams, setup: Setup, bundle: Path, recordings: Sequence[Recording], labelled: Labelled
) -> Measurement:
    """Measures one setup in a process of its own, so that its peak of memory is its own, too."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(measure, params, setup, bundle, list(recordings), labelled).result()


def measure(
    params: BenchmarkParams, setup: Setup, bundle: Path, recordings: Sequence[Recording], labelled: Labelled
) -> Measurement:
    """Measures one setup.

    Args:
        params: how much.
        setup: what runs the networks.
        bundle: the released pair's folder.
        recordings: videos of the line.
        labelled: what it is scored on.

    Raises:
        InputError: where the recordings have no frames.
    """
    started_s = time.perf_counter()
    pair = load_bundle(bundle, setup)
    load_ms = (time.perf_counter() - started_s) * 1000
    durations_ms: dict[str, list[float]] = {part: [] for part in PARTS}
    hands = []
    samples_rgb = [read_png(bundle / sample.file) for sample in pair.manifest.crops]
    shifted_rgb = [*samples_rgb[1:], samples_rgb[0]]
    crops_rgb = itertools.cycle([np.stack(two) for two in zip(samples_rgb, shifted_rgb, strict=True)])
    for index, (frame, decode_ms) in enumerate(_some_frames(params, recordings)):
        detector_ms, rest_ms, count = _time_frame(pair, frame.image_rgb)
        calls_ms, pairs_ms = np.array(
            [
                [call_time_ms(partial(pair.classify, next(crops_rgb)[:count])) for count in (1, 2)]
                for _ in range(params.calls_per_frame)
            ]
        ).T
        if index >= params.warmup:
            durations_ms["decode"].append(decode_ms)
            durations_ms["detector"].append(detector_ms)
            durations_ms["classifier"] += calls_ms.tolist()
            durations_ms["pair"] += pairs_ms.tolist()
            durations_ms["frame"].append(decode_ms + detector_ms + rest_ms)
            hands.append(count)
    if not hands:
        raise InputError(
            f"{recordings[0].path.parent}: expected more than {params.warmup * params.every} frames, found fewer; "
            "lower benchmark.warmup or benchmark.every, or add recordings"
        )
    arrays = {part: np.array(values) for part, values in durations_ms.items()}
    return Measurement(
        setup,
        arrays,
        np.array(hands),
        accuracy_of(pair, labelled, params.variants),
        pair.logits_difference(),
        pair.scores_difference(),
        load_ms,
        memory_peak_mb(),
    )


def refuse_unsound(params: BenchmarkParams, measured: Measurement) -> None:
    """Stops a release whose setup answers otherwise than PyTorch.

    Raises:
        InputError: with differences and tolerances.
    """
    if not _is_sound(params, measured):
        raise InputError(f"release.setup {measured.setup.name}: {_told(params, measured)}; release with precision f32")


def _told(params: BenchmarkParams, measured: Measurement) -> str:
    precision = measured.setup.precision
    return (
        f"expected logits within {params.logits_tolerance[precision]:g} and "
        f"scores within {params.scores_tolerance[precision]:g} of PyTorch's, found "
        f"{measured.logits_difference:.3g} and {measured.scores_difference:.3g}"
    )


def judged(params: BenchmarkParams, measurements: Sequence[Measurement]) -> list[Judged]:
    """Says of each measured variant whether it is accepted, and why not."""
    figures = [
        Judged(
            each.setup,
            each.accuracy,
            each.percentile_ms("pair", 99),
            each.percentile_ms("frame", 50),
            each.percentile_ms("frame", 95),
            () if _is_sound(params, each) else (_told(params, each),),
        )
        for each in measurements
    ]
    return judge(figures, params.variants)


def fastest(verdicts: Sequence[Judged]) -> Judged | None:
    """The accepted one with the lowest median of a whole frame; None without any.

    The median, because another program's burst of work hits one setting's p95 and spares another's.
    """
    return min((one for one in verdicts if not one.reasons), key=lambda one: one.frame_p50_ms, default=None)


def _is_sound(params: BenchmarkParams, measured: Measurement) -> bool:
    return (
        measured.logits_difference <= params.logits_tolerance[measured.setup.precision]
        and measured.scores_difference <= params.scores_tolerance[measured.setup.precision]
    )


def headline(
    released: Measurement, measurements: Sequence[Measurement], event_delays_ms: np.ndarray
) -> dict[str, float]:
    """The stage's metrics: the released setup's by plain names, every setup's p95 by its name."""
    metrics = {
        f"{part}_p{percent}_ms": released.percentile_ms(part, percent) for part in PARTS for percent in PERCENTILES
    }
    metrics |= {f"event_p{percent}_ms": float(np.percentile(event_delays_ms, percent)) for percent in PERCENTILES}
    metrics |= {
        "frames_per_s": 1000 / float(released.durations_ms["frame"].mean()),
        "hands_per_frame": float(released.hands.mean()),
        "frames": len(released.hands),
        "threads": released.setup.threads,
        "load_ms": released.load_ms,
        "memory_peak_mb": released.memory_peak_mb,
        "logits_difference": released.logits_difference,
        "scores_difference": released.scores_difference,
    }
    for each in measurements:
        metrics[f"{each.setup.name}_classifier_p95_ms"] = each.percentile_ms("classifier", 95)
        metrics[f"{each.setup.name}_action_accuracy"] = each.accuracy.actions
        metrics[f"{each.setup.name}_frame_p95_ms"] = each.percentile_ms("frame", 95)
        metrics[f"{each.setup.name}_logits_difference"] = each.logits_difference
        metrics[f"{each.setup.name}_scores_difference"] = each.scores_difference
    return metrics


def write_latencies(path: Path, measurements: Sequence[Measurement]) -> None:
    """Writes one CSV row per setup and part."""
    names = [f"p{percent}_ms" for percent in PERCENTILES]
    rows: list[Sequence[object]] = []
    for each in measurements:
        setup = each.setup
        for part in PARTS:
            values_ms = each.durations_ms[part]
            figures = [*(each.percentile_ms(part, percent) for percent in PERCENTILES), float(values_ms.mean())]
            figures += [each.load_ms, each.memory_peak_mb]
            rows.append(
                [setup.runtime, setup.precision, setup.threads, part, len(values_ms)]
                + [f"{value:.3f}" for value in figures]
                + [f"{each.logits_difference:.2e}", f"{each.scores_difference:.2e}"]
            )
    header = ["runtime", "precision", "threads", "part", "count", *names]
    header += ["mean_ms", "load_ms", "memory_peak_mb", "logits_difference", "scores_difference"]
    write_csv(path, header, rows)


def write_plots(folder: Path, released: Measurement, measurements: Sequence[Measurement], machine: str) -> None:
    """Writes the distributions of latencies: cdf.csv (of the released setup) and cdf.png (of all).

    Args:
        folder: the stage's plots.
        released: the setup of the release.
        measurements: all setups.
        machine: the CPU's name, for the heading.
    """
    rows = [
        (part, f"{percent / 100:.2f}", f"{np.percentile(released.durations_ms[part], percent):.3f}")
        for part in PARTS
        for percent in range(101)
    ]
    write_csv(folder / "cdf.csv", ("part", "share", "ms"), rows)
    _draw(folder / "cdf.png", released, measurements, machine)


def _some_frames(params: BenchmarkParams, recordings: Sequence[Recording]) -> Iterator[tuple[Frame, float]]:
    """Frames and how long each took to decode, from each recording the same number."""
    wanted = params.frames + params.warmup
    taken = 0
    for index, recording in enumerate(recordings):
        share = -(-(wanted - taken) // (len(recordings) - index))  # what an earlier, short recording lacks is made up
        frames = _timed(read_frames(recording.path))
        stop = min(share * params.every, recording.frame_count)
        for frame, decode_ms in itertools.islice(frames, 0, stop, params.every):
            taken += 1
            yield frame, decode_ms


def _timed(frames: Iterator[Frame]) -> Iterator[tuple[Frame, float]]:
    while True:
        started_s = time.perf_counter()
        frame = next(frames, None)
        if frame is None:
            return
        yield frame, (time.perf_counter() - started_s) * 1000


def _time_frame(pair: Bundle, image_rgb: np.ndarray) -> tuple[float, float, int]:
    """Milliseconds of detecting, milliseconds of the rest, number of hands: what `Bundle.recognise` does, in two."""
    started_s = time.perf_counter()
    boxes_xyxy_px, _ = pair.detect(image_rgb)
    detected_s = time.perf_counter()
    pair.classify(pair.crops(image_rgb, boxes_xyxy_px))
    ended_s = time.perf_counter()
    return (detected_s - started_s) * 1000, (ended_s - detected_s) * 1000, len(boxes_xyxy_px)


def _draw(path: Path, released: Measurement, measurements: Sequence[Measurement], machine: str) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    figure.suptitle(machine)
    parts, frames = figure.subplots(1, 2, sharey=True)
    for part in PARTS:
        _step(parts, released.durations_ms[part], part)
    parts.set(title=f"parts of a frame, {released.setup.name}", ylabel="share of calls", ylim=(0, 1.02))
    for each in measurements:
        _step(frames, each.durations_ms["frame"], each.setup.name)
    frames.set(title="whole frame, by setting")
    for axes in (parts, frames):
        axes.set(xlabel="milliseconds", xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.grid(alpha=0.3, which="major")
        axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=4 if axes is parts else 2)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))


def _step(axes: "Axes", values_ms: np.ndarray, label: str) -> None:
    ordered = np.sort(values_ms)
    axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", label=label)
