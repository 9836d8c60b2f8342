"""Random variation of a batch of crops, all of it on tensors, drawn from one generator."""

import torch
from torch.nn import functional

from lineact.training.settings import AugmentParams

_GREY = (0.299, 0.587, 0.114)  # luma of RGB, ITU-R BT.601


def augment(
    images: torch.Tensor,
    params: AugmentParams,
    generator: torch.Generator,
    sided: torch.Tensor | None = None,
) -> torch.Tensor:
    """Shifts, scales, recolours, blurs and partly erases crops.

    Args:
        images: float32, B x 3 x S x S, RGB, 0 to 1; of strips B x 3 x (crops * S) x S, whose crops vary alike.
        params: how much of each.
        generator: on the CPU; the same state gives the same result.
        sided: bool, B: crops that are never mirrored; None for none.

    Returns:
        float32, as images, 0 to 1.
    """
    crops = images.shape[2] // images.shape[3]
    images = stripped(_move(stacked(images, crops), params, generator, sided), crops)
    images = _recolour(images, params, generator)
    images = _blur(stacked(images, crops), params.blur, generator)
    return stripped(_erase(images, params.erase, generator), crops).clamp(0, 1)


def stacked(strips: torch.Tensor, crops: int) -> torch.Tensor:
    """The crops of strips, B x 3 x (crops * S) x S, as channels: B x (3 * crops) x S x S."""
    return strips.reshape(len(strips), -1, strips.shape[3], strips.shape[3]) if crops > 1 else strips


def stripped(stacks: torch.Tensor, crops: int) -> torch.Tensor:
    """What `stacked` was made of."""
    return stacks.reshape(len(stacks), 3, -1, stacks.shape[3]) if crops > 1 else stacks


def _uniform(count: int, low: float, high: float, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    return (torch.rand(count, generator=generator) * (high - low) + low).to(like.device)  # B


def _move(
    images: torch.Tensor, params: AugmentParams, generator: torch.Generator, sided: torch.Tensor | None
) -> torch.Tensor:
    count = len(images)
    zoom = _uniform(count, 1 - params.scale, 1 + params.scale, generator, images)
    flipped = _uniform(count, 0, 1, generator, images) < params.flip
    if sided is not None:
        flipped &= ~sided
    mirror = torch.where(flipped, -1.0, 1.0)
    affine = torch.zeros(count, 2, 3, device=images.device)
    affine[:, 0, 0] = zoom * mirror
    affine[:, 1, 1] = zoom
    # affine_grid counts from -1 to 1: a share of the side is twice as much there.
    affine[:, 0, 2] = _uniform(count, -2 * params.shift, 2 * params.shift, generator, images)
    affine[:, 1, 2] = _uniform(count, -2 * params.shift, 2 * params.shift, generator, images)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)  # B x S x S x 2
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _recolour(images: torch.Tensor, params: AugmentParams, generator: torch.Generator) -> torch.Tensor:
    count = len(images)
    brightness = _uniform(count, -params.brightness, params.brightness, generator, images).view(-1, 1, 1, 1)
    contrast = _uniform(count, 1 - params.contrast, 1 + params.contrast, generator, images).view(-1, 1, 1, 1)
    saturation = _uniform(count, 1 - params.saturation, 1 + params.saturation, generator, images).view(-1, 1, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * contrast + mean + brightness
    grey = (images * torch.tensor(_GREY, device=images.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    return grey + (images - grey) * saturation


def _blur(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    chosen = (_uniform(len(images), 0, 1, generator, images) < share).view(-1, 1, 1, 1)
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return torch.where(chosen, functional.avg_pool2d(padded, 3, stride=1), images)


def _erase(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    count, _, side, _ = images.shape
    chosen = _uniform(count, 0, 1, generator, images) < share
    centre_x, centre_y = (_uniform(count, 0, side, generator, images).view(-1, 1, 1) for _ in range(2))
    half_w, half_h = (_uniform(count, side * 0.05, side * 0.15, generator, images).view(-1, 1, 1) for _ in range(2))
    pixel = torch.arange(side, device=images.device, dtype=images.dtype)
    inside = ((pixel.view(1, 1, -1) - centre_x).abs() < half_w) & ((pixel.view(1, -1, 1) - centre_y).abs() < half_h)
    painted = _uniform(count, 0, 1, generator, images).view(-1, 1, 1, 1)
    return torch.where((inside & chosen.view(-1, 1, 1)).unsqueeze(1), painted, images)
