"""A trained SPOT with all that turns a video's features into segments."""

import numpy as np
import torch

from lineact.temporal.features import Features
from lineact.temporal.segments import Segments
from lineact.temporal.spec import LocalizerSpec, in_windows
from lineact.temporal.spot.cells import cell_rows, edges_s
from lineact.temporal.spot.decode import decode
from lineact.temporal.spot.network import Spot

MARGIN_SHARE = 0.125  # of a window, at its ends, whose segments are the neighbouring window's


class SpotLocalizer:
    """Finds when actions happen, as `lineact.temporal.localizer.Localizer` does.

    Attributes:
        spec: what it is.
        network: trained; in evaluation mode.
    """

    def __init__(self, spec: LocalizerSpec, network: Spot) -> None:
        self.spec = spec
        self.network = network

    def cells(self, values: np.ndarray) -> torch.Tensor:
        """A video's rows, T x D, as the network takes them: L x D, float32."""
        return cell_rows(self.spec.rows(values), self.network.params.scale)

    @torch.inference_mode()
    def segments(self, features: Features) -> Segments:
        """Segments of a video, in falling order of scores.

        A video longer than all that it learnt with is looked at in windows of that length: its cells would be too
        coarse.

        Raises:
            InputError: where the features are of another kind than those that it learnt with.
        """
        self.spec.check_width(features)
        window_rows = self.spec.longest_rows
        return in_windows(features, window_rows, int(MARGIN_SHARE * window_rows), self._segments)

    def _segments(self, features: Features) -> Segments:
        answers = self.network(self.cells(features.values)[None])
        edges = edges_s(features, self.network.params.scale)
        return decode(answers, edges, self.spec.labels, features.video, self.spec.decode)
