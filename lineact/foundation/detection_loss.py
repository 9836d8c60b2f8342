"""Losses of the tiny Grounding DINO: who of its predictions answers for which true box, and how well it does.

One-to-many assignment by task alignment (Feng et al. 2021, TOOD, equation 4) teaches the proposals and the decoder's
first layers quickly; one-to-one assignment teaches the last layer to say everything once.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional
from torchvision.ops import box_convert, box_iou, generalized_box_iou_loss

ALPHA, BETA = 0.5, 4.0  # alignment = score ** ALPHA * IoU ** BETA
EASY = 2.0  # negatives count by score ** EASY
NEGATIVE_WEIGHT = 0.75
L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
NOBODY = -1


@dataclass(frozen=True)
class Truth:
    """What one picture's prompt asks for and shows.

    Attributes:
        boxes: float32, G x 4, centre, width and height as shares of the picture.
        tokens: bool, G x L: the prompt's tokens that name each box.
    """

    boxes: torch.Tensor
    tokens: torch.Tensor


@dataclass(frozen=True)
class Predictions:
    """One picture's predictions.

    Attributes:
        logits: float32, N x L; of padding -inf.
        boxes: float32, N x 4, as `Truth.boxes`.
    """

    logits: torch.Tensor
    boxes: torch.Tensor


@dataclass(frozen=True)
class Assignment:
    """Who answers for what.

    Attributes:
        owner: int64, N: index of the true box, or NOBODY.
        quality: float32, N, 0 to 1: the score that each should have; 0 where the owner is NOBODY.
    """

    owner: torch.Tensor
    quality: torch.Tensor


def alignment(found: Predictions, truth: Truth) -> tuple[torch.Tensor, torch.Tensor]:
    """How well each prediction fits each true box.

    Returns:
        Alignment and IoU, each N x G.
    """
    naming = truth.tokens.float() / truth.tokens.sum(1, keepdim=True).clamp(min=1)  # G x L
    scores = found.logits.sigmoid() @ naming.T  # N x G
    iou = box_iou(box_convert(found.boxes, "cxcywh", "xyxy"), box_convert(truth.boxes, "cxcywh", "xyxy")).nan_to_num()
    return scores**ALPHA * iou**BETA, iou


@torch.no_grad()
def assign_many(found: Predictions, truth: Truth, top: int, centres: torch.Tensor | None = None) -> Assignment:
    """The `top` best aligned predictions of each true box answer for it; who is wanted twice takes the greater IoU.

    Args:
        found: predictions.
        truth: true boxes.
        top: how many per box.
        centres: N x 2: where predictions come from; only those inside a box, or next to it, are asked. None asks all.
    """
    fit, iou = alignment(found, truth)
    if centres is not None:
        reach = truth.boxes[:, 2:] / 2 + 0.015  # small things may lie between two centres
        inside = ((centres[:, None] - truth.boxes[None, :, :2]).abs() < reach).all(2)  # N x G
        fit = fit * inside
    best = fit >= fit.topk(min(top, len(fit)), 0).values[-1:]
    best &= fit > 0
    owner = iou.masked_fill(~best, -1.0).argmax(1) if fit.shape[1] else torch.zeros(len(fit), dtype=torch.int64)
    return _with_quality(owner.masked_fill(~best.any(1), NOBODY), fit, iou)


@torch.no_grad()
def assign_one(found: Predictions, truth: Truth) -> Assignment:
    """One prediction per true box, so that the summed alignment is greatest (Hungarian algorithm)."""
    from scipy.optimize import linear_sum_assignment

    fit, iou = alignment(found, truth)
    owner = torch.full((len(fit),), NOBODY)
    rows, columns = (torch.from_numpy(indices) for indices in linear_sum_assignment(fit.numpy(), maximize=True))
    fits = fit[rows, columns] > 0
    owner[rows[fits]] = columns[fits]
    return _with_quality(owner, fit, iou)


def _with_quality(owner: torch.Tensor, fit: torch.Tensor, iou: torch.Tensor) -> Assignment:
    """The best aligned prediction of a box shall score its greatest IoU, the others in proportion (TOOD, 3.2)."""
    rows = (owner != NOBODY).nonzero()[:, 0]
    quality = torch.zeros(len(owner))
    if len(rows):
        chosen = torch.zeros_like(fit, dtype=torch.bool)
        chosen[rows, owner[rows]] = True
        greatest_fit = (fit * chosen).max(0).values.clamp(min=1e-9)
        greatest_iou = (iou * chosen).max(0).values
        quality[rows] = (fit / greatest_fit * greatest_iou)[rows, owner[rows]]
    return Assignment(owner, quality)


def token_targets(truth: Truth, assignment: Assignment) -> torch.Tensor:
    """The score that each token should have for each prediction, float32, N x L."""
    with_nobody = functional.pad(truth.tokens, (0, 0, 0, 1))  # NOBODY is the index of the last row
    return with_nobody[assignment.owner] * assignment.quality[:, None]


def score_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Varifocal loss (Zhang et al. 2021, equation 2) of every token's score, summed.

    Args:
        logits: float32, any shape; of padding -inf, which counts nothing.
        target: likewise, 0 to 1.
    """
    real = logits.isfinite()
    logits = logits.masked_fill(~real, 0.0)
    weight = torch.where(target > 0, target, NEGATIVE_WEIGHT * logits.detach().sigmoid() ** EASY)
    losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (losses * weight * real).sum()


def box_loss(boxes: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """L1 and generalised IoU loss of boxes, weighted and summed.

    Args:
        boxes: float32, M x 4, as `Truth.boxes`.
        wanted: likewise.
        weight: M.
    """
    distance = (boxes - wanted).abs().sum(1)
    overlap = generalized_box_iou_loss(
        box_convert(boxes, "cxcywh", "xyxy"), box_convert(wanted, "cxcywh", "xyxy"), reduction="none"
    )
    return ((L1_WEIGHT * distance + GIOU_WEIGHT * overlap) * weight).sum()
