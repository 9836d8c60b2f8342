"""A network that makes rows of clips, with how pixels become its input."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Pixels:
    """What clips become before a network sees them.

    Attributes:
        side_px: side of the square pictures.
        mean: of each channel, of values scaled to 0..1.
        std: likewise.
    """

    side_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_tensor(self, clips: np.ndarray, device: str) -> "torch.Tensor":
        """Clips, uint8, N x T x H x W x C, as float32, N x C x T x H x W."""
        import torch

        values = torch.from_numpy(clips).to(device).permute(0, 4, 1, 2, 3).float() / 255
        mean, std = (torch.tensor(numbers, device=device)[:, None, None, None] for numbers in (self.mean, self.std))
        return (values - mean) / std


@dataclass(frozen=True)
class ClipNetwork:
    """A network in evaluation mode.

    Attributes:
        name: of its family.
        identity: changes with its weights' bytes.
        module: float32, N x C x T x H x W to N x D.
        pixels: how clips become its input.
        stack: frames that a clip must have; None for any number.
        device: where it runs.
    """

    name: str
    identity: str
    module: "nn.Module"
    pixels: Pixels
    stack: int | None
    device: str

    @property
    def side_px(self) -> int:
        """Side of the pictures that it takes."""
        return self.pixels.side_px

    def start(self) -> Callable[[np.ndarray], np.ndarray]:
        """Pictures are taken as they are."""
        return lambda image_rgb: image_rgb

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Rows, float32, N x D, of clips, uint8, N x stack x side_px x side_px x C."""
        import torch

        with torch.inference_mode():
            return self.module(self.pixels.to_tensor(clips, self.device)).float().cpu().numpy()
