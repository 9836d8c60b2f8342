"""A trained SPOT with all that turns a video's features into segments."""

from dataclasses import dataclass

import numpy as np
import torch

from lineact.errors import InputError
from lineact.temporal.features import ClipParams, Features
from lineact.temporal.features.opening import ExtractorParams
from lineact.temporal.heads import DecodeParams
from lineact.temporal.segments import Segments
from lineact.temporal.spot import SpotParams
from lineact.temporal.spot.cells import cell_rows, edges_s
from lineact.temporal.spot.decode import decode
from lineact.temporal.spot.network import Spot


@dataclass(frozen=True)
class SpotSpec:
    """What a localiser is, and what it needs.

    Attributes:
        labels: its actions, K.
        inputs: numbers of a row, D.
        extractor: what makes rows of videos.
        clips: how these are cut.
        spot: the network's settings.
        decode: what becomes of its answers.
        mean: of each number over the training rows, D.
        scale: standard deviation of each, D, above 0.
    """

    labels: tuple[str, ...]
    inputs: int
    extractor: ExtractorParams
    clips: ClipParams
    spot: SpotParams
    decode: DecodeParams
    mean: tuple[float, ...]
    scale: tuple[float, ...]


class SpotLocalizer:
    """Finds when actions happen, as `lineact.temporal.localizer.Localizer` does.

    Attributes:
        spec: what it is.
        network: trained; in evaluation mode.
    """

    def __init__(self, spec: SpotSpec, network: Spot) -> None:
        self.spec = spec
        self.network = network

    def cells(self, values: np.ndarray) -> torch.Tensor:
        """A video's rows, T x D, as the network takes them: L x D, float32."""
        mean, scale = (np.array(numbers, np.float32) for numbers in (self.spec.mean, self.spec.scale))
        return cell_rows(torch.from_numpy((values - mean) / scale), self.spec.spot.scale)

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
        answers = self.network(self.cells(features.values)[None])
        edges = edges_s(features, self.spec.spot.scale)
        return decode(answers, edges, self.spec.labels, features.video, self.spec.decode)


def build_spot(spec: SpotSpec) -> Spot:
    """The network of a spec, with random weights."""
    return Spot(spec.spot, spec.inputs, len(spec.labels))
