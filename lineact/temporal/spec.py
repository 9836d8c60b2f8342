"""What a localiser is and needs, whichever of the two learners made it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lineact.errors import InputError
from lineact.temporal.activitynet import rows_of
from lineact.temporal.features import ClipParams, Features
from lineact.temporal.features.extraction import Extractor, maker_of
from lineact.temporal.features.opening import ExtractorParams
from lineact.temporal.heads import DecodeParams, PyramidParams
from lineact.temporal.segments import Row, Segments, segments_of
from lineact.temporal.spot import SpotParams


@dataclass(frozen=True)
class LocalizerSpec:
    """What a localiser is, and what it needs.

    Attributes:
        labels: its actions, K.
        extractor: what makes rows of videos.
        clips: how these are cut.
        head: settings of ActionFormer or TemporalMaxer; None of SPOT.
        spot: settings of SPOT; None of the others.
        decode: what becomes of the network's answers.
        mean: of each number over the training rows, D.
        scale: standard deviation of each, D, above 0.
        longest_rows: rows of the longest video that it learnt with.
        made_by: what made these rows, weights included, see `maker_of`; empty where nobody told.
    """

    labels: tuple[str, ...]
    extractor: ExtractorParams
    clips: ClipParams
    head: PyramidParams | None
    spot: SpotParams | None
    decode: DecodeParams
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    longest_rows: int
    made_by: str

    def __post_init__(self) -> None:
        if (self.head is None) == (self.spot is None):
            raise ValueError("expected settings of head or of spot, one of them null")

    @property
    def inputs(self) -> int:
        """Numbers of a row, D."""
        return len(self.mean)

    def rows(self, values: np.ndarray) -> torch.Tensor:
        """A video's rows as a network takes them: T x D, float32."""
        mean, scale = (np.array(numbers, np.float32) for numbers in (self.mean, self.scale))
        return torch.from_numpy((values - mean) / scale)

    def check_width(self, features: Features) -> None:
        """Refuses rows of another width than those that it learnt with.

        Raises:
            InputError: naming both.
        """
        if features.values.shape[1] != self.inputs:
            raise InputError(
                f"{features.video}: expected features of {self.inputs} numbers, as the localiser learnt with, "
                f"found {features.values.shape[1]}; extract them with the bundle that it belongs to"
            )

    def check_maker(self, extractor: Extractor) -> None:
        """Refuses an extractor that is not the one whose rows it learnt with: other rows mean something else.

        Raises:
            InputError: naming the way out.
        """
        if self.made_by and (found := maker_of(extractor)) != self.made_by:
            raise InputError(
                f"expected the {self.extractor.name} whose rows the localiser learnt with ({self.made_by[:12]}), found "
                f"another one ({found[:12]}); take both of one run of the line, or train the localiser again: "
                "`python -m flows.retrain line=NAME`"
            )


def learnt_spec(
    labels: tuple[str, ...],
    extractor: ExtractorParams,
    clips: ClipParams,
    learner: PyramidParams | SpotParams,
    decode: DecodeParams,
    seen: Sequence[Features],
) -> LocalizerSpec:
    """The spec of a localiser that learns with these videos' rows.

    Args:
        labels: actions to find.
        extractor: what made the rows.
        clips: how they were cut.
        learner: the network's settings.
        decode: what becomes of its answers.
        seen: rows of all videos that teach.

    Raises:
        InputError: where rows were not all made by the same.
    """
    mean, scale = statistics_of([one.values for one in seen])
    longest_rows = max(len(one.times_s) for one in seen)
    makers = {one.made_by for one in seen}
    if len(makers) > 1:
        raise InputError(
            f"expected rows that one extractor made, found those of {len(makers)} (with other weights); extract all "
            "videos with the same one"
        )
    head, spot = (learner, None) if isinstance(learner, PyramidParams) else (None, learner)
    return LocalizerSpec(labels, extractor, clips, head, spot, decode, mean, scale, longest_rows, made_by=makers.pop())


def in_windows(
    features: Features, window_rows: int, margin_rows: int, segments_in: Callable[[Features], Segments]
) -> Segments:
    """Segments of a video of any length, in falling order of scores; each is that of the window in which it lies best.

    Args:
        features: of the video.
        window_rows: that are looked at together.
        margin_rows: at a window's ends, less than half of it, whose segments are the neighbouring window's.
        segments_in: finds segments in at most `window_rows` rows.
    """
    rows, times_s = len(features.times_s), features.times_s
    if rows <= window_rows:
        return segments_in(features)
    found: list[Row] = []
    begins = [*range(0, rows - window_rows, window_rows - 2 * margin_rows), rows - window_rows]
    for number, begin in enumerate(begins):
        end = begin + window_rows
        first_s = times_s[begin] - features.step_s / 2 if begin else 0.0
        last_s = times_s[end - 1] + features.step_s / 2 if end < rows else features.duration_s
        own_from_s = times_s[begins[number - 1] + window_rows - margin_rows] if begin else 0.0
        own_to_s = times_s[end - margin_rows] if end < rows else np.inf
        part = Features(features.video, times_s[begin:end] - first_s, features.values[begin:end], last_s - first_s)
        for video, start_s, end_s, label, score in rows_of(segments_in(part)):
            if own_from_s <= first_s + (start_s + end_s) / 2 < own_to_s:
                found.append((video, first_s + start_s, first_s + end_s, label, score))
    return segments_of(sorted(found, key=lambda row: -row[4]))


def statistics_of(videos: Sequence[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each number over all rows; a number that never changes is scaled by 1."""
    rows = np.concatenate(videos).astype(np.float64)
    spread = rows.std(axis=0)
    return tuple(rows.mean(axis=0).tolist()), tuple(np.where(spread > 1e-6, spread, 1.0).tolist())
