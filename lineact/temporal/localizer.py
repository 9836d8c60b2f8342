"""A trained head with all that turns a video's features into segments, as a folder of safetensors and JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lineact.errors import ConfigError, InputError
from lineact.files import write_json, write_whole
from lineact.settings import from_mapping
from lineact.temporal.activitynet import rows_of
from lineact.temporal.features import ClipParams, Features
from lineact.temporal.features.opening import ExtractorParams
from lineact.temporal.heads import DecodeParams, PyramidParams
from lineact.temporal.heads.decode import decode
from lineact.temporal.heads.pyramid import Pyramid, padded
from lineact.temporal.heads.targets import points_of
from lineact.temporal.segments import Row, Segments, segments_of
from lineact.temporal.spot.localizer import SpotLocalizer, SpotSpec, build_spot

WINDOW_ROWS = 2048  # longer videos are looked at in windows: attention grows with the square of their rows
MARGIN_ROWS = 256  # at a window's ends, whose segments are the neighbouring window's
SPEC, WEIGHTS = "localizer.json", "localizer.safetensors"


@dataclass(frozen=True)
class LocalizerSpec:
    """What a localiser is, and what it needs.

    Attributes:
        labels: its actions, K.
        inputs: numbers of a row, D.
        extractor: what makes rows of videos.
        clips: how these are cut.
        head: the network's settings.
        decode: what becomes of its answers.
        mean: of each number over the training rows, D.
        scale: standard deviation of each, D, above 0.
    """

    labels: tuple[str, ...]
    inputs: int
    extractor: ExtractorParams
    clips: ClipParams
    head: PyramidParams
    decode: DecodeParams
    mean: tuple[float, ...]
    scale: tuple[float, ...]


class Localizer:
    """Finds when actions happen.

    Attributes:
        spec: what it is.
        network: trained; in evaluation mode.
    """

    def __init__(self, spec: LocalizerSpec, network: Pyramid) -> None:
        self.spec = spec
        self.network = network

    def rows(self, values: np.ndarray) -> torch.Tensor:
        """A video's rows as the network takes them: T x D, float32."""
        mean, scale = (np.array(numbers, np.float32) for numbers in (self.spec.mean, self.spec.scale))
        return torch.from_numpy((values - mean) / scale)

    @torch.inference_mode()
    def segments(self, features: Features) -> Segments:
        """Segments of a video, in falling order of scores.

        Raises:
            InputError: where the features are of another kind than those that it learnt with.
        """
        if features.values.shape[1] != self.spec.inputs:
            raise InputError(
                f"{features.video}: expected features of {self.spec.inputs} numbers, as the localiser learnt with, "
                f"found {features.values.shape[1]}; extract them with the bundle that it belongs to"
            )
        return in_windows(features, self._segments)

    def _segments(self, features: Features) -> Segments:
        batch, mask = padded([self.rows(features.values)], self.network.granularity)
        return decode(
            self.network(batch, mask),
            points_of(batch.shape[1], self.spec.head.levels),
            self.spec.labels,
            features,
            self.spec.decode,
        )


def in_windows(features: Features, segments_in: Callable[[Features], Segments]) -> Segments:
    """Segments of a video of any length, in falling order of scores; each is that of the window in which it lies best.

    Args:
        features: of the video.
        segments_in: finds segments in at most `WINDOW_ROWS` rows.
    """
    rows, times_s = len(features.times_s), features.times_s
    if rows <= WINDOW_ROWS:
        return segments_in(features)
    found: list[Row] = []
    for begin in range(0, rows - 2 * MARGIN_ROWS, WINDOW_ROWS - 2 * MARGIN_ROWS):
        end = min(begin + WINDOW_ROWS, rows)
        first_s = times_s[begin] - features.step_s / 2 if begin else 0.0
        last_s = times_s[end - 1] + features.step_s / 2 if end < rows else features.duration_s
        own_from_s = times_s[begin + MARGIN_ROWS] if begin else 0.0
        own_to_s = times_s[end - MARGIN_ROWS] if end < rows else np.inf
        part = Features(features.video, times_s[begin:end] - first_s, features.values[begin:end], last_s - first_s)
        for video, start_s, end_s, label, score in rows_of(segments_in(part)):
            if own_from_s <= first_s + (start_s + end_s) / 2 < own_to_s:
                found.append((video, first_s + start_s, first_s + end_s, label, score))
    return segments_of(sorted(found, key=lambda row: -row[4]))


AnyLocalizer = Localizer | SpotLocalizer


def build_network(spec: LocalizerSpec) -> Pyramid:
    """The network of a spec, with random weights."""
    return Pyramid(spec.head, spec.inputs, len(spec.labels))


def save_localizer(folder: Path, localizer: AnyLocalizer) -> None:
    """Writes a localiser into a folder, which is made where it is missing."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in localizer.network.state_dict().items()}
    write_whole(folder / WEIGHTS, partial(save_file, tensors))
    write_json(folder / SPEC, asdict(localizer.spec))


def load_localizer(folder: Path) -> AnyLocalizer:
    """Reads what `save_localizer` wrote.

    Raises:
        InputError: where files are missing or do not fit each other.
    """
    expected = f"{folder}: expected a localiser, {SPEC} and {WEIGHTS}"
    way_out = "train it again with `dvc repro`"
    try:
        values = json.loads((folder / SPEC).read_text())
        localizer = _untrained(values, str(folder / SPEC))
        localizer.network.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError as error:
        raise InputError(f"{expected}; found no {Path(str(error.filename)).name}; {way_out}") from error
    except (ValueError, RuntimeError, ConfigError, SafetensorError) as error:
        raise InputError(f"{expected}; found something else ({error}); {way_out}") from error
    localizer.network.eval()
    return localizer


def _untrained(values: dict[str, Any], where: str) -> AnyLocalizer:
    if "spot" in values:
        of_spot = from_mapping(SpotSpec, values, where)
        return SpotLocalizer(of_spot, build_spot(of_spot))
    spec = from_mapping(LocalizerSpec, values, where)
    return Localizer(spec, build_network(spec))


def statistics_of(videos: Sequence[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each number over all rows; a number that never changes is scaled by 1."""
    rows = np.concatenate(videos).astype(np.float64)
    spread = rows.std(axis=0)
    return tuple(rows.mean(axis=0).tolist()), tuple(np.where(spread > 1e-6, spread, 1.0).tolist())
