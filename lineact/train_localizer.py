"""Trains a line's localiser on its recordings' features: when each action begins and ends."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from lineact.files import cache_folder, write_metrics
from lineact.splits import HoldoutParams
from lineact.temporal.activitynet import GroundTruth
from lineact.temporal.features import ClipParams
from lineact.temporal.features.opening import ExtractorParams
from lineact.temporal.heads import DecodeParams, PyramidParams
from lineact.temporal.parts import Parts, parts_of, read_examples
from lineact.temporal.spot import SpotParams
from lineact.training.settings import FitParams

if TYPE_CHECKING:
    from lineact.temporal.localizer import AnyLocalizer
    from lineact.training.state import EpochRecord

CODE_VERSION = 3  # raise where the same settings would give another localiser


@dataclass(frozen=True)
class TrainLocalizerParams:
    """Settings of the stage `train_localizer`.

    Attributes:
        actions: to find.
        holdout: what is held out.
        val_share: share of the training recordings that validates, 0 to below 1; 0: they validate themselves.
        labelled_share: share of those left whose segments are used, above 0 to 1, at least three recordings.
        extractor: what made the features.
        clips: how they were cut.
        learner: which of the two below; the other one is null.
        head: ActionFormer or TemporalMaxer.
        spot: SPOT, which learns from recordings without segments, too.
        decode: what becomes of its answers.
        fit: the loop; a batch is of videos.
        noise: standard deviation of what is added to each number in training, in standard deviations of it.
        seed: of weights, order and noise.
    """

    actions: tuple[str, ...]
    holdout: HoldoutParams
    val_share: float
    labelled_share: float
    extractor: ExtractorParams
    clips: ClipParams
    learner: Literal["pyramid", "spot"]
    head: PyramidParams | None
    spot: SpotParams | None
    decode: DecodeParams
    fit: FitParams
    noise: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.val_share < 1 or not 0 < self.labelled_share <= 1:
            raise ValueError(
                "val_share must be 0 to below 1, labelled_share above 0 to 1, found "
                f"{self.val_share}, {self.labelled_share}"
            )
        if (self.head is not None, self.spot is not None) != (self.learner == "pyramid", self.learner == "spot"):
            raise ValueError(f"expected settings of the learner {self.learner} alone, head for pyramid, spot for spot")
        if self.spot is not None and self.fit.epochs != (wanted := len(self.spot.pretrains)):
            raise ValueError(
                f"fit.epochs must be spot's pretrain_epochs + train_epochs, {wanted}, found {self.fit.epochs}"
            )


def train_localizer(
    params: TrainLocalizerParams, features: Path, videos: pa.Table, truth: GroundTruth, out: Path
) -> None:
    """Trains; a killed training goes on where it was, a finished one is only copied.

    Args:
        params: settings.
        features: folder of rows, of the stage `features`.
        videos: schema VIDEOS.
        truth: segments of recordings, at least of some.
        out: gets the localiser, metrics.json and plots/.

    Raises:
        InputError: where features or segments are missing, do not fit, or lack an action.
    """
    from lineact.training.state import finish_once

    if told := left_out(params.actions, truth):
        print(f"train_localizer: {told}", flush=True)
    parts = parts_of(
        read_examples(features, videos, truth), videos, params.holdout, params.val_share, params.labelled_share
    )
    folder = state_folder(params, parts)
    finish_once(folder, out, lambda finished: _finish(params, parts, folder, finished))


def left_out(actions: tuple[str, ...], truth: GroundTruth) -> str | None:
    """Which segments nobody learns and nothing measures, in words; None where there are none."""
    others = Counter(truth.segments.labels[~np.isin(truth.segments.labels, np.array(actions))].tolist())
    if not others:
        return None
    named = ", ".join(f"{count} of {label}" for label, count in sorted(others.items()))
    return f"leaves segments out whose label is no action of the line ({', '.join(actions)}): {named}"


def state_folder(params: TrainLocalizerParams, parts: Parts) -> Path:
    """Where a training's state is kept, so that a killed one goes on."""
    seen = [[one.digest for one in part] for part in (parts.train, parts.unlabelled, parts.val)]
    return cache_folder("train_localizer", {"code": CODE_VERSION, "params": asdict(params), "seen": seen})


def train(params: TrainLocalizerParams, parts: Parts, folder: Path) -> "tuple[AnyLocalizer, list[EpochRecord]]":
    """Trains on the parts of a line.

    Args:
        params: settings.
        parts: examples.
        folder: of the training's state.

    Raises:
        InputError: where segments cannot be, or lack an action.
    """
    from lineact.temporal.spot.training import SpotTraining, train_spot
    from lineact.temporal.training import LocalizerTraining, train_localizer

    rows = params.extractor, params.clips
    if params.head is not None:
        training = LocalizerTraining(params.head, params.decode, params.fit, params.noise, params.seed)
        return train_localizer(training, params.actions, *rows, parts.train, parts.val, folder)
    assert params.spot is not None  # by __post_init__
    spot = SpotTraining(params.spot, params.decode, params.fit, params.noise, params.seed)
    return train_spot(spot, params.actions, *rows, parts.train, parts.unlabelled, parts.val, folder)


def _finish(params: TrainLocalizerParams, parts: Parts, folder: Path, finished: Path) -> None:
    from lineact.temporal.localizer import save_localizer
    from lineact.training.report import write_curves

    localizer, history = train(params, parts, folder)
    save_localizer(finished, localizer)
    write_curves(finished / "plots", history)
    write_metrics(
        finished,
        {
            "recordings_train": len(parts.train),
            "recordings_unlabelled": len(parts.unlabelled),
            "recordings_val": len(parts.val),
            "segments_train": sum(len(one.truth) for one in parts.train),
            "parameters": sum(weight.numel() for weight in localizer.network.parameters()),
            "val_accuracy": history[-1].val_accuracy,
            "val_macro_f1": history[-1].val_macro_f1,
        },
    )
