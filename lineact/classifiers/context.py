"""A classifier of strips: each crop of a strip goes through the same network, and the head sees them in their order."""

from typing import Any

import torch
from torch import nn


class ContextClassifier(nn.Module):
    """Features of a strip's crops side by side, newest first, under one linear head.

    The head has weights of its own for each place in time, so that it can tell what came first. The methods are those
    by which timm's networks are taken apart.

    Args:
        network: of a single crop; its head is left out.
        crops: of a strip.
        class_count: outputs.
    """

    def __init__(self, network: Any, crops: int, class_count: int) -> None:
        super().__init__()
        width = network.get_classifier().in_features
        network.reset_classifier(0)
        self.network = network
        self.crops = crops
        self.head = nn.Linear(crops * width, class_count)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """B x 3 x (crops * S) x S to the crops' pooled features side by side, B x (crops * width)."""
        batch, channels, _, side = images.shape
        single = images.view(batch, channels, self.crops, side, side).transpose(1, 2)  # B x crops x 3 x S x S
        features = self.network(single.reshape(-1, channels, side, side))  # (B * crops) x width
        return features.reshape(batch, -1)

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """What `forward_features` gives, as it is, or logits, B x K."""
        return features if pre_logits else self.head(features)

    def get_classifier(self) -> nn.Linear:
        """The head."""
        return self.head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """B x 3 x (crops * S) x S to logits, B x K."""
        return self.forward_head(self.forward_features(images))


def network_of_crop(model: nn.Module) -> Any:
    """The network that a single crop goes through; of plain crops the model itself."""
    return model.network if isinstance(model, ContextClassifier) else model
