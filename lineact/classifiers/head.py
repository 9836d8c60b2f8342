"""Where a new head starts: at the linear classifier that the pretrained features allow (linear probing).

Fine-tuning from a random head first pulls good features out of shape, most of all with few crops (Kumar et al. 2022,
"Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution").
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lineact.classifiers.families import pooled_and_logits
from lineact.errors import InputError
from lineact.foundation.weights import Preprocessing
from lineact.training.classifier import normalise, to_unit, training_device
from lineact.training.crops import CropSet, class_weights

RIDGE = 0.01  # penalty of a probe's squared weights, on features of unit variance
STEPS = 200  # L-BFGS iterations at most
BATCH = 128  # crops per call


def start_at_probe(network: nn.Module, preprocessing: Preprocessing, train: CropSet, class_weight_power: float) -> None:
    """Sets a network's head to the best linear classifier of its own features of the crops as they are, in place.

    Args:
        network: with a linear head; on any device, in any mode. Is left in evaluation mode.
        preprocessing: of it.
        train: training crops of its side.
        class_weight_power: as in the loss that follows.

    Raises:
        InputError: where features are not finite.
    """
    head: Any = network
    head = head.get_classifier()
    features = _features(network, preprocessing, train)  # N x width
    if not features.isfinite().all():
        raise InputError("the start's features of the training crops are not finite; take another start")
    weights = torch.from_numpy(class_weights(train.classes, head.out_features, class_weight_power)).double()
    weight, bias = probe(features, torch.from_numpy(train.classes), weights)
    with torch.no_grad():
        head.weight.copy_(weight)
        if head.bias is not None:
            head.bias.copy_(bias)


def probe(
    features: torch.Tensor, classes: torch.Tensor, class_weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Multinomial logistic regression with a ridge on standardised features.

    Args:
        features: float64, N x width.
        classes: int64, N.
        class_weights: float64, K.

    Returns:
        weight, K x width, and bias, K, for the features as they are.
    """
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0).clamp_min(1e-6)
    standard = (features - mean) / deviation
    weight = features.new_zeros(len(class_weights), features.shape[1]).requires_grad_()
    bias = features.new_zeros(len(class_weights)).requires_grad_()
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(standard @ weight.T + bias, classes, weight=class_weights)
        loss = loss + RIDGE * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    scaled = weight.detach() / deviation
    return scaled, bias.detach() - scaled @ mean


def _features(network: nn.Module, preprocessing: Preprocessing, crops: CropSet) -> torch.Tensor:
    device = training_device()
    network.to(device).eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(crops), BATCH):
            images = normalise(to_unit(crops.images_rgb[start : start + BATCH], device), preprocessing)
            parts.append(pooled_and_logits(network, images)[0].double().cpu())
    return torch.cat(parts)
