"""SPOT's network: one transformer block, and two branches side by side."""

from typing import NamedTuple

import torch
from torch import nn

from lineact.temporal.spot import SpotParams


class Answers(NamedTuple):
    """What a network says of videos of L cells each.

    Attributes:
        logits: B x L x K + 1, of each cell's action; the last is background.
        masks: logits, B x L x L: [b, t, j]: whether cell j belongs to the action that cell t lies in.
        rebuilt: B x L x D: the rows, from what became of them.
    """

    logits: torch.Tensor
    masks: torch.Tensor
    rebuilt: torch.Tensor


class Spot(nn.Module):
    """SPOT. A cell's mask comes of comparing its features with all cells', plus what their distance says: the L outputs
    for each cell of the original would have to learn each place of a video on its own.
    """

    def __init__(self, params: SpotParams, inputs: int, classes: int) -> None:
        """Random weights.

        Args:
            params: settings.
            inputs: numbers of a row.
            classes: actions.
        """
        super().__init__()
        self.params = params
        width, scale = params.width, params.scale
        self.embed = nn.Conv1d(inputs, width, 3, padding=1)
        self.places = nn.Parameter(0.02 * torch.randn(scale, width))
        self.block = nn.TransformerEncoderLayer(
            width, params.attention_heads, 2 * width, params.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.classify = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Dropout(params.dropout),
            nn.Conv1d(width, classes + 1, 1),
        )
        self.asks, self.answers = (nn.Conv1d(width, width, 3, padding=1) for _ in range(2))
        self.near = nn.Parameter(torch.full((2 * scale - 1,), -2.0))  # of a distance in cells, behind or ahead
        self.rebuild = nn.Conv1d(width, inputs, 1)
        self.order_rows = nn.Conv1d(width, 1, 3, padding=1)
        self.order = nn.Sequential(nn.ReLU(), nn.Dropout(0.5), nn.Linear(scale, 2))
        cells = torch.arange(scale)
        self.register_buffer("distance", cells - cells[:, None] + scale - 1, persistent=False)  # L x L

    def features(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows, B x L x D, in their context, B x width x L."""
        embedded = self.embed(rows.transpose(1, 2)).transpose(1, 2) + self.places
        return self.block(embedded).transpose(1, 2)

    def forward(self, rows: torch.Tensor) -> Answers:
        """Answers to rows, B x L x D."""
        features = self.features(rows)
        asked, answered = self.asks(features), self.answers(features)
        alike = asked.transpose(1, 2) @ answered / asked.shape[1] ** 0.5  # B x L x L
        masks = alike + self.near[self.distance]  # type: ignore[index]
        return Answers(self.classify(features).transpose(1, 2), masks, self.rebuild(features).transpose(1, 2))

    def told_order(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits, B x 2, of the halves of rows, B x L x D, having been swapped, or not."""
        return self.order(self.order_rows(self.features(rows))[:, 0])
