"""R(2+1)D, R3D and MC3 with 18 layers (Tran et al. 2018), of torchvision's blocks and with its names of weights.

torchvision's own class has the full width alone; this one takes the channels of its stages.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models.video import resnet as blocks

FULL_CHANNELS = (64, 128, 256, 512)
_CONVOLUTIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "r2plus1d_18": (blocks.Conv2Plus1D,) * 4,
    "r3d_18": (blocks.Conv3DSimple,) * 4,
    "mc3_18": (blocks.Conv3DSimple, *(blocks.Conv3DNoTemporal,) * 3),
}
KINDS = tuple(_CONVOLUTIONS)


class VideoResNet(nn.Module):
    """Clips, N x 3 x T x H x W, to their mean features, N x the last stage's channels."""

    def __init__(self, kind: str, channels: Sequence[int] = FULL_CHANNELS) -> None:
        """Random weights.

        Args:
            kind: one of KINDS.
            channels: of the four stages.
        """
        super().__init__()
        self.stem = _stem(kind, channels[0])
        inputs = (channels[0], *channels)
        stages = zip(_CONVOLUTIONS[kind], inputs, channels, (1, 2, 2, 2), strict=False)
        for number, (convolution, before, after, stride) in enumerate(stages, 1):
            self.add_module(f"layer{number}", _stage(convolution, before, after, stride))
        self.width = channels[3]

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.maps(clips).mean(dim=(2, 3, 4))

    def maps(self, clips: torch.Tensor) -> torch.Tensor:
        """What the mean is of, N x channels x moments x rows x columns."""
        maps = clips
        for stage in self.children():
            maps = stage(maps)
        return maps


def _stem(kind: str, channels: int) -> nn.Sequential:
    if kind != "r2plus1d_18":
        first = nn.Conv3d(3, channels, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        return nn.Sequential(first, nn.BatchNorm3d(channels), nn.ReLU(inplace=True))
    between = 45 * channels // FULL_CHANNELS[0]
    return nn.Sequential(
        nn.Conv3d(3, between, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(inplace=True),
        nn.Conv3d(between, channels, (3, 1, 1), 1, (1, 0, 0), bias=False),
        nn.BatchNorm3d(channels),
        nn.ReLU(inplace=True),
    )


def _stage(convolution: Callable[..., Any], inputs: int, outputs: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != outputs:
        strides = convolution.get_downsample_stride(stride)  # type: ignore[attr-defined]
        shortcut = nn.Sequential(nn.Conv3d(inputs, outputs, 1, strides, bias=False), nn.BatchNorm3d(outputs))
    first = blocks.BasicBlock(inputs, outputs, convolution, stride, shortcut)
    return nn.Sequential(first, blocks.BasicBlock(outputs, outputs, convolution))
