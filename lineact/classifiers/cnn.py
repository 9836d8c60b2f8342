"""A plain convolutional network that starts from random weights, as people write one who have no start (seed 003)."""

import torch
from torch import nn

ARCHITECTURE = "cnn"


class Cnn(nn.Module):
    """Convolution, BatchNorm, ReLU and pooling, four times; then a linear head on the mean over places.

    The methods are those by which timm's networks are taken apart.

    Args:
        channels: of each stage.
        class_count: outputs.
    """

    def __init__(self, channels: tuple[int, ...], class_count: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        width_in = 3
        for width_out in channels:
            self.stages.append(
                nn.Sequential(
                    nn.Conv2d(width_in, width_out, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width_out),
                    nn.ReLU(inplace=True),
                    nn.MaxPool2d(2),
                )
            )
            width_in = width_out
        self.head = nn.Linear(width_in, class_count)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """B x 3 x S x S to the last stage's map, B x channels x s x s."""
        for stage in self.stages:
            images = stage(images)
        return images

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """A map to pooled features, B x channels, or to logits, B x K."""
        pooled = features.mean(dim=(2, 3))
        return pooled if pre_logits else self.head(pooled)

    def get_classifier(self) -> nn.Module:
        """The head."""
        return self.head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """B x 3 x S x S to logits, B x K."""
        return self.forward_head(self.forward_features(images))
