"""ActionFormer and TemporalMaxer: a pyramid over time, and two small networks that all its levels share.

Sources: ActionFormer (Zhang, Wu and Li, 2022), TemporalMaxer (Tang et al., 2023), which puts max pooling in the place
of attention.
"""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from lineact.temporal.heads import PyramidParams
from lineact.temporal.heads.layers import Block, ChannelNorm, MaskedConv, MaxPool

PRIOR = 0.01  # share of "yes" among a fresh network's answers (focal loss, Lin et al. 2017)


class Answers(NamedTuple):
    """A network's answers for all points: the rows of the lowest level first, then those of the next.

    Attributes:
        logits: B x P x K, one per action.
        distances: B x P x 2, at least 0: to the start and to the end, in rows of the point's own level.
        mask: bool, B x P: points that are no padding.
    """

    logits: torch.Tensor
    distances: torch.Tensor
    mask: torch.Tensor


class Pyramid(nn.Module):
    """ActionFormer or TemporalMaxer.

    Attributes:
        params: its settings.
        granularity: rows must be a multiple of it; others are padded.
    """

    def __init__(self, params: PyramidParams, inputs: int, classes: int) -> None:
        super().__init__()
        self.params = params
        self.granularity = 2 ** (params.levels - 1)
        width, kernel = params.width, params.kernel
        self.embed = nn.ModuleList(MaskedConv(size, width, kernel) for size in (inputs, width))
        self.embed_norms = nn.ModuleList(ChannelNorm(width) for _ in range(2))
        attends = params.kind == "actionformer"
        self.stem = nn.ModuleList(self._block(1) for _ in range(params.stem_blocks if attends else 0))
        self.branch = nn.ModuleList(self._block(2) if attends else MaxPool() for _ in range(params.levels - 1))
        self.level_norms = nn.ModuleList(ChannelNorm(width) for _ in range(params.levels))
        self.classify = _Shared(width, classes, kernel)
        self.regress = _Shared(width, 2, kernel)
        self.scales = nn.Parameter(torch.ones(params.levels))
        self.classify.out.conv.bias = nn.Parameter(torch.full((classes,), math.log(PRIOR / (1 - PRIOR))))

    def _block(self, stride: int) -> Block:
        params = self.params
        return Block(params.width, params.attention_heads, params.window, params.kernel, stride, params.dropout)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> Answers:
        """Features (B x T x D) and which rows are there (bool, B x T; T a multiple of `granularity`)."""
        rows = features.transpose(1, 2) * mask[:, None]
        for convolve, norm in zip(self.embed, self.embed_norms, strict=True):
            rows = functional.relu(norm(convolve(rows, mask))) * mask[:, None]
        for block in self.stem:
            rows = block(rows, mask)
        levels, masks = [rows], [mask]
        for block in self.branch:
            masks.append(masks[-1][:, ::2])
            levels.append(block(levels[-1], masks[-1]))
        logits, distances = [], []
        for level, norm, of_level, scale in zip(levels, self.level_norms, masks, self.scales, strict=True):
            normed = norm(level) * of_level[:, None]
            logits.append(self.classify(normed, of_level))
            distances.append(functional.softplus(scale * self.regress(normed, of_level)))
        return Answers(
            torch.cat(logits, dim=2).transpose(1, 2),
            torch.cat(distances, dim=2).transpose(1, 2),
            torch.cat(masks, dim=1),
        )


class _Shared(nn.Module):
    """Three convolutions, the same at every level."""

    def __init__(self, width: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(MaskedConv(width, width, kernel) for _ in range(2))
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(2))
        self.out = MaskedConv(width, outputs, kernel)

    def forward(self, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for convolve, norm in zip(self.hidden, self.norms, strict=True):
            rows = functional.relu(norm(convolve(rows, mask))) * mask[:, None]
        return self.out(rows, mask)


def padded(videos: list[torch.Tensor], granularity: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Videos (each T x D) as one batch: B x T' x D with zeros behind, and the mask B x T'; T' a multiple."""
    longest = max(len(video) for video in videos)
    rows = -(-longest // granularity) * granularity
    batch = torch.stack([functional.pad(video, (0, 0, 0, rows - len(video))) for video in videos])
    lengths = torch.tensor([len(video) for video in videos])
    return batch, torch.arange(rows) < lengths[:, None]
