"""A small convolutional network that learns the corpus quickly and then guides the ViTs, token by token.

From scratch a ViT needs far more pictures than two cores can draw and see before it finds out what to look at;
regressing a trained network's feature map gives every token a target (in the manner of feature distillation, as DeiT
showed for labels: Touvron et al. 2021, section 5.2).
"""

import torch
from torch import nn

WIDTH = 128
GRID = 6  # the feature map of a 96 pixel crop is 6 x 6, as are the ViTs' patches


class Guide(nn.Module):
    """Residual network of stride 16; N x 3 x 96 x 96 to pooled features N x 128."""

    def __init__(self) -> None:
        """Makes the network with random weights."""
        super().__init__()
        self.stem = _convolution(3, 24, 2)
        self.stages = nn.Sequential(
            _Block(24, 40, 2), _Block(40, 72, 2), _Block(72, 72, 1), _Block(72, WIDTH, 2), _Block(WIDTH, WIDTH, 1)
        )

    def feature_map(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features per place, N x 36 x 128, rows first."""
        return self.stages(torch.relu(self.stem(pixels))).flatten(2).transpose(1, 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pooled features, N x 128."""
        return self.feature_map(pixels).mean(1)


class _Block(nn.Module):
    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(width_in, width_out, stride)
        self.second = _convolution(width_out, width_out, 1)
        same = stride == 1 and width_in == width_out
        self.past = nn.Identity() if same else nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(width_in, width_out, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inside = self.second(torch.relu(self.first(features)))
        return torch.relu(inside + self.past(features))


def _convolution(width_in: int, width_out: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width_out))
