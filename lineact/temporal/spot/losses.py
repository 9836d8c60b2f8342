"""How wrong SPOT's answers are. Cells that are not asked count nothing."""

import torch
from torch.nn import functional

from lineact.temporal.spot import SpotParams

MOST_VARIANCE = 0.25  # of numbers from 0 to 1 (appendix A of Indris et al. 2025)


def class_loss(logits: torch.Tensor, classes: torch.Tensor, asked: torch.Tensor, log_likelihood: bool) -> torch.Tensor:
    """Of the cells' actions.

    Args:
        logits: B x L x K + 1.
        classes: int64, B x L.
        asked: bool, B x L.
        log_likelihood: change C; squared error otherwise.
    """
    if log_likelihood:
        losses = functional.cross_entropy(logits.transpose(1, 2), classes, reduction="none")
    else:
        wanted = functional.one_hot(classes, logits.shape[2]).float()
        losses = (logits.softmax(dim=2) - wanted).square().sum(dim=2)
    return (losses * asked).sum() / asked.sum().clamp(min=1)


def mask_loss(masks: torch.Tensor, wanted: torch.Tensor, asked: torch.Tensor, params: SpotParams) -> torch.Tensor:
    """Of the cells' masks in training; with change D equation 1 of Indris et al. (2025).

    Args:
        masks: logits, B x L x L.
        wanted: B x L x L, 0 or 1.
        asked: bool, B x L: whose masks count.
        params: settings.
    """
    weight = asked[:, :, None].float().expand_as(masks)
    count = weight.sum(dim=(1, 2)).clamp(min=1)
    found = masks.sigmoid()
    entropies = functional.binary_cross_entropy_with_logits(masks, wanted, reduction="none") * weight
    action, background = weight * wanted, weight * (1 - wanted)
    actions, backgrounds = action.sum(dim=(1, 2)), background.sum(dim=(1, 2))
    if params.changes.contrast:
        mean = (found * weight).sum(dim=(1, 2)) / count
        variance = ((found - mean[:, None, None]).square() * weight).sum(dim=(1, 2)) / count
        on_action = (found * action).sum(dim=(1, 2)) / (actions + 1)
        on_background = (found * background).sum(dim=(1, 2)) / (backgrounds + 1)
        losses = entropies.sum(dim=(1, 2)) / count + (MOST_VARIANCE - variance)
        losses = losses + params.action_weight * (1 - on_action) + on_background
    else:
        # Action and background count the same in total, however rare either is.
        even = action / actions.clamp(min=1)[:, None, None] + background / backgrounds.clamp(min=1)[:, None, None]
        overlap = 2 * (found * action).sum(dim=(1, 2)) + 1
        dice = 1 - overlap / ((found.square() * weight).sum(dim=(1, 2)) + actions + 1)
        losses = params.mask_balance * (entropies * even).sum(dim=(1, 2)) / 2 + (1 - params.mask_balance) * dice
    any_asked = asked.any(dim=1)
    return (losses * any_asked).sum() / any_asked.sum().clamp(min=1)


def pretraining_mask_loss(masks: torch.Tensor, wanted: torch.Tensor, params: SpotParams) -> torch.Tensor:
    """Of the masks of cropped videos: squared error with change D; arguments as in `mask_loss`."""
    if params.changes.contrast:
        return functional.mse_loss(masks.sigmoid(), wanted)
    return mask_loss(masks, wanted, torch.ones(masks.shape[:2], dtype=torch.bool, device=masks.device), params)
