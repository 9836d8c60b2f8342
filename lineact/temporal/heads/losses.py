"""How wrong a pyramid's answers are."""

import torch
from torch.nn import functional

from lineact.temporal.heads.pyramid import Answers
from lineact.temporal.heads.targets import Targets

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss, as in ActionFormer
LEAST = 1e-8


def pyramid_loss(answers: Answers, targets: list[Targets], label_smoothing: float) -> torch.Tensor:
    """Focal loss of the actions plus DIoU loss of the ends, both summed up and divided by the points with an action.

    Args:
        answers: of a batch.
        targets: one per video.
        label_smoothing: 0 to below 1.
    """
    classes = torch.stack([one.classes for one in targets])
    distances = torch.stack([one.distances for one in targets])
    has_action = torch.stack([one.has_action for one in targets]) & answers.mask
    smoothed = classes * (1 - label_smoothing) + label_smoothing / 2
    actions = focal_loss(answers.logits[answers.mask], smoothed[answers.mask])
    ends = diou_loss(answers.distances[has_action], distances[has_action])
    return (actions.sum() + ends.sum()) / has_action.sum().clamp(min=1)


def focal_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of yes and no with sure and right answers counting less (Lin et al. 2017); shapes alike."""
    probability = logits.sigmoid()
    right = probability * targets + (1 - probability) * (1 - targets)
    weight = (ALPHA * targets + (1 - ALPHA) * (1 - targets)) * (1 - right) ** GAMMA
    return weight * functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def diou_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """1 - IoU + squared distance of the centres over squared length of the hull (Zheng et al. 2020), in one dimension.

    Args:
        found: distances to start and end from a point between them, N x 2, at least 0.
        wanted: likewise.

    Returns:
        N.
    """
    shared = torch.minimum(found, wanted).sum(dim=1)
    iou = shared / (found.sum(dim=1) + wanted.sum(dim=1) - shared).clamp(min=LEAST)
    hull = torch.maximum(found, wanted).sum(dim=1)
    apart = ((found[:, 1] - found[:, 0]) - (wanted[:, 1] - wanted[:, 0])) / 2
    return 1 - iou + (apart / hull.clamp(min=LEAST)) ** 2
