"""Localisers compared: extractor x head x step x share of labelled recordings, on the held-out recordings of a line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from lineact.compare.classifiers.report import as_html
from lineact.evaluate_localizer import EvaluateLocalizerParams, figures_of, measured_on
from lineact.features import FeaturesParams
from lineact.files import write_csv, write_text, write_whole
from lineact.temporal.activitynet import GroundTruth
from lineact.temporal.features.extraction import Extraction, extract_once
from lineact.temporal.features.extractors import NoWeightsError
from lineact.temporal.features.opening import extractor_of
from lineact.temporal.parts import Example, Parts, check_within, parts_of
from lineact.train_localizer import TrainLocalizerParams, state_folder, train
from lineact.training.state import load_seconds

MARKDOWN, HTML, TABLE, PLOT = "report.md", "report.html", "table.csv", "speed.png"
REAL_TIME = 1.0
MARKERS = "os^Dv"
T_IOUS_SHOWN = ("0.1", "0.3", "0.5", "0.7")


@dataclass(frozen=True)
class Station:
    """A line's recordings with what is known of them.

    Attributes:
        line: its name.
        videos: schema VIDEOS.
        raw: folder of the recordings.
        bundle: folder of the released pair.
        truth: segments.
    """

    line: str
    videos: pa.Table
    raw: Path
    bundle: Path
    truth: GroundTruth


@dataclass(frozen=True)
class Choice:
    """What is tried.

    Attributes:
        head: name of its settings, conf/localizer/<head>.yaml.
        features: extractor and clips.
        training: the head's settings, of that extractor and these clips.
        evaluation: how it is scored.
    """

    head: str
    features: FeaturesParams
    training: TrainLocalizerParams
    evaluation: EvaluateLocalizerParams

    @property
    def name(self) -> str:
        """E.g. "student 16/4 actionformer 100% seed 0"."""
        name, clips, training = self.features.extractor.name, self.features.clips, self.training
        return f"{name} {clips.stack}/{clips.step} {self.head} {training.labelled_share:.0%} seed {training.seed}"


@dataclass(frozen=True)
class Trial:
    """What came of a choice on a line.

    Attributes:
        line: the line's name.
        choice: what was tried.
        figures: of the held-out recordings; None where the extractor has no weights.
        marked: why there are none.
    """

    line: str
    choice: Choice
    figures: Mapping[str, float | int | None] | None
    marked: str = ""


def run_trial(station: Station, choice: Choice) -> Trial:
    """Extracts, trains and measures; features and trained heads are kept.

    Raises:
        InputError: where recordings or segments do not fit.
    """
    try:
        extractions = _extractions(station, choice.features)
    except NoWeightsError as error:
        return Trial(station.line, choice, None, str(error))
    parts = _parts(station, choice.training, extractions)
    folder = state_folder(choice.training, parts)
    localizer, _ = train(choice.training, parts, folder)
    train_s = sum(epoch.training_s + epoch.validation_s for epoch in load_seconds(folder))  # kept ones, too
    measured = measured_on(localizer, parts.holdout)
    figures, _ = figures_of(choice.evaluation, measured)
    video_s = sum(one.features.duration_s for one in extractions.values())
    costs = {
        "real_time_factor": sum(one.seconds for one in extractions.values()) / video_s,
        "memory_peak_mb": max(one.peak_memory_mb for one in extractions.values()),
        "train_s": train_s,
        "recordings_train": len(parts.train),
        "recordings_unlabelled": len(parts.unlabelled),
    }
    return Trial(station.line, choice, figures | costs)


def _extractions(station: Station, params: FeaturesParams) -> dict[str, Extraction]:
    extractor = extractor_of(params.extractor, station.bundle)
    names = sorted(station.videos["name"].to_pylist())
    return {name: extract_once(extractor, station.raw / name, name, params.clips) for name in names}


def _parts(station: Station, params: TrainLocalizerParams, extractions: Mapping[str, Extraction]) -> Parts:
    segments = station.truth.segments
    examples = {
        name: Example(extractions[name].features, segments.take(segments.videos == name))
        for name in station.truth.videos
        if name in extractions
    }
    check_within(examples, station.videos)
    return parts_of(examples, station.videos, params.holdout, params.val_share, params.labelled_share)


def write_report(folder: Path, trials: Sequence[Trial], t_ious: str, machine: str) -> None:
    """Writes report.md, report.html (with the picture in it), table.csv and speed.png.

    Args:
        folder: theirs.
        trials: all, in the order of the table.
        t_ious: thresholds of the headline, e.g. "0.1:0.1:0.7".
        machine: its CPU, in words.
    """
    draw_speed(folder / PLOT, trials, t_ious)
    text = markdown(trials, t_ious, machine)
    write_text(folder / MARKDOWN, text)
    write_text(folder / HTML, as_html(text, folder))
    names = sorted({name for trial in trials for name in trial.figures or ()})
    rows = [
        (trial.line, *_columns(trial), *((trial.figures or {}).get(name, "") for name in names), trial.marked)
        for trial in trials
    ]
    write_csv(folder / TABLE, ("line", *COLUMNS, *names, "marked"), rows)


COLUMNS = ("extractor", "weights", "head", "stack", "step", "labelled", "seed")


def _columns(trial: Trial) -> tuple[object, ...]:
    extractor, clips, training = trial.choice.features.extractor, trial.choice.features.clips, trial.choice.training
    head, share = trial.choice.head, training.labelled_share
    return extractor.name, extractor.weights or "", head, clips.stack, clips.step, f"{share:g}", training.seed


def markdown(trials: Sequence[Trial], t_ious: str, machine: str) -> str:
    """The report; the greatest mAP of each line is bold."""
    parts = [
        "# Localisers compared\n",
        "Average precision over the actions on each line's held-out recordings, per cent, at several tIoU; real-time "
        "factor: seconds of extraction (decoding included) for each second of video, under 1 is faster than real time; "
        f"peak memory of the process that extracts. Machine: {machine}.\n",
    ]
    for line in dict.fromkeys(trial.line for trial in trials):
        parts += [f"## {line}\n", *_table([trial for trial in trials if trial.line == line], t_ious)]
    return "\n".join([*parts, f"![speed and precision]({PLOT})\n"])


def _table(trials: Sequence[Trial], t_ious: str) -> list[str]:
    heading = ["extractor", "head", "stack", "step", "labelled", *T_IOUS_SHOWN, f"average {t_ious}"]
    heading += ["real-time factor", "MB", "training, s"]
    done = [trial.figures for trial in trials if trial.figures is not None]
    best = max((figures["map"] or 0.0 for figures in done), default=None)
    lines = [f"| {' | '.join(heading)} |", "|" + "---|" * len(heading)]
    for trial in trials:
        extractor, weights, head, stack, step, _, _ = _columns(trial)
        named = f"{extractor} ({weights})" if weights else f"{extractor}"
        share = f"{trial.choice.training.labelled_share:.0%}"
        lines.append(f"| {named} | {head} | {stack} | {step} | {share} | {' | '.join(_cells(trial, best))} |")
    told = next((figures for figures in done), None)
    counted = [
        f"\n{told['recordings']} held-out recordings with {told['true_segments']} segments, {told['video_s']:.0f} s; "
        f"{max(_teaching(figures) for figures in done)} recordings teach, of which the share labelled has labels.\n"
    ] if told else []  # fmt: skip
    return ["\n".join(lines), *counted]


def _teaching(figures: Mapping[str, float | None]) -> int:
    return int(figures["recordings_train"] or 0) + int(figures["recordings_unlabelled"] or 0)


def _cells(trial: Trial, best: float | None) -> list[str]:
    if trial.figures is None:
        return [f"no weights: {trial.marked.replace('|', '/')}", *[""] * 7]
    figures = trial.figures
    known = [figures.get(f"map_{t_iou}") for t_iou in T_IOUS_SHOWN]  # a line may be scored at others alone
    precisions = ["-" if value is None else f"{100 * value:.1f}" for value in known]
    average = f"{100 * float(figures['map'] or 0):.1f}"
    average = f"**{average}**" if figures["map"] == best else average
    factor, memory_mb, train_s = (
        float(figures[name] or 0) for name in ("real_time_factor", "memory_peak_mb", "train_s")
    )
    return [*precisions, average, f"{factor:.3f}", f"{memory_mb:.0f}", f"{train_s:.0f}"]


def draw_speed(path: Path, trials: Sequence[Trial], t_ious: str) -> None:
    """Average mAP over the real-time factor: a colour for an extractor, a marker for a head, filled with all labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    done = [(trial, trial.figures) for trial in trials if trial.figures is not None]
    extractors = list(dict.fromkeys(trial.choice.features.extractor.name for trial, _ in done))
    heads = list(dict.fromkeys(trial.choice.head for trial, _ in done))
    for trial, figures in done:
        colour = f"C{extractors.index(trial.choice.features.extractor.name) % 10}"
        axes.plot(
            float(figures["real_time_factor"] or 0),
            float(figures["map"] or 0),
            MARKERS[heads.index(trial.choice.head) % len(MARKERS)],
            color=colour,
            fillstyle="full" if trial.choice.training.labelled_share == 1 else "none",
            label=f"{trial.line}: {trial.choice.name}",
        )
    if done:
        figure.legend(loc="outside right upper", fontsize=7)
    axes.axvline(REAL_TIME, color="0.6", linestyle="--")
    axes.set(xlabel="seconds of extraction a second of video (1: real time)", ylabel=f"average mAP {t_ious}")
    axes.set(ylim=(0, 1.05), xscale="log")
    axes.grid(alpha=0.3)
    write_whole(path, partial(figure.savefig, dpi=120))
