"""Layers over rows in time that leave padded rows at zero. Tensors are batch x channels x rows; masks batch x rows."""

import torch
from torch import nn
from torch.nn import functional


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each row."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """B x C x T to the same."""
        return super().forward(rows.transpose(1, 2)).transpose(1, 2)


class MaskedConv(nn.Module):
    """A convolution that keeps the number of rows (divided by its stride) and leaves padded rows at zero."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)

    def forward(self, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """B x inputs x T and the mask of the outputs' rows, B x T / stride, to B x outputs x T / stride."""
        return self.conv(rows) * mask[:, None]


class LocalAttention(nn.Module):
    """Each row attends to those of a window around it; with a stride, queries, keys and values are thinned first."""

    def __init__(self, width: int, heads: int, window: int, kernel: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.reach, self.dropout = heads, window // 2, dropout
        self.mixes = nn.ModuleList(MaskedConv(width, width, kernel, stride=stride, groups=width) for _ in range(3))
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(3))
        self.projections = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(3))
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """B x C x T and the mask of the outputs' rows to B x C x T / stride."""
        layers = zip(self.mixes, self.norms, self.projections, strict=True)
        query, key, value = (
            project(norm(mix(rows, mask))).unflatten(1, (self.heads, -1)).transpose(2, 3)  # B x heads x T x C / heads
            for mix, norm, project in layers
        )
        found = near_attention(query, key, value, mask, self.reach, self.dropout if self.training else 0.0)
        return self.out(found.transpose(2, 3).flatten(1, 2)) * mask[:, None]


def near_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, reach: int, dropout: float
) -> torch.Tensor:
    """Attention of each row to those at most `reach` rows away; memory grows with T x reach.

    Rows are taken in blocks of `reach`; what a block's rows may attend to lies in it and its two neighbours.

    Args:
        query: B x heads x T x C.
        key: likewise.
        value: likewise.
        mask: bool, B x T: rows that are there. The answers of others mean nothing.
        reach: at least 0.
        dropout: share of attention dropped.

    Returns:
        B x heads x T x C.
    """
    rows, size = mask.shape[1], max(reach, 1)
    blocks = -(-rows // size)
    beyond = blocks * size - rows
    asked = functional.pad(query, (0, 0, 0, beyond)).unflatten(2, (blocks, size))  # B x heads x N x S x C
    padding = (0, 0, size, beyond + size)
    keys, values = (functional.pad(one, padding).unfold(2, 3 * size, size).transpose(3, 4) for one in (key, value))
    there = functional.pad(mask, (size, beyond + size)).unfold(1, 3 * size, size)  # B x N x 3S
    asks = torch.arange(size, device=mask.device)[:, None] + size
    answers = torch.arange(3 * size, device=mask.device)
    near = (asks - answers).abs() <= reach  # S x 3S
    # A padded row attends to itself: a softmax over nothing is no number.
    seen = (near & there[:, None, :, None]) | (asks == answers)
    found = functional.scaled_dot_product_attention(asked, keys, values, seen, dropout)
    return found.flatten(2, 3)[:, :, :rows]


class Block(nn.Module):
    """A transformer block, with attention in a window; with stride 2 it halves the rows."""

    def __init__(self, width: int, heads: int, window: int, kernel: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.stride = stride
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(2))
        self.attention = LocalAttention(width, heads, window, kernel, stride, dropout)
        self.mlp = nn.Sequential(
            nn.Conv1d(width, 4 * width, 1),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(4 * width, width, 1),
            nn.Dropout(dropout),
        )

    def forward(self, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """B x C x T and the mask of the outputs' rows to B x C x T / stride."""
        kept = rows if self.stride == 1 else functional.max_pool1d(rows, 3, self.stride, 1)
        rows = kept * mask[:, None] + self.attention(self.norms[0](rows), mask)
        return rows + self.mlp(self.norms[1](rows)) * mask[:, None]


class MaxPool(nn.Module):
    """TemporalMaxer's block: of each three neighbouring rows the greatest value of each channel; it halves the rows."""

    def forward(self, rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """B x C x T and the mask of the outputs' rows to B x C x T / 2."""
        return functional.max_pool1d(rows, 3, 2, 1) * mask[:, None]
