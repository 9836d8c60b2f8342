"""I3D (Carreira and Zisserman 2017): Inception-v1 with every kernel extended in time.

Names of weights are those of the public PyTorch checkpoints (rgb_imagenet.pt, flow_imagenet.pt of pytorch-i3d), which
`python -m lineact.foundation.pickled` converts.
"""

import torch
from torch import nn
from torch.nn import functional

# Of each Inception block: its own 1x1x1; 1x1x1 and 3x3x3; 1x1x1 and 3x3x3; 1x1x1 after pooling.
_MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
_POOLS = {  # what is pooled before a layer: kernel and stride, in time, height and width
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
Triple = tuple[int, int, int]


class I3D(nn.Module):
    """Clips, N x inputs x T x H x W, to their mean features, N x width; 1024 at the full size."""

    def __init__(self, inputs: int = 3, classes: int | None = 400, shrink: int = 1) -> None:
        """Random weights.

        Args:
            inputs: channels of a picture: 3 of colour, 2 of optical flow.
            classes: of the logits that the public checkpoints have; None for a network without.
            shrink: divisor of all channels.
        """
        super().__init__()
        stem, mixed_in = 64 // shrink, 192 // shrink
        layers: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": _Unit(inputs, stem, (7, 7, 7), (2, 2, 2)),
            "Conv3d_2b_1x1": _Unit(stem, stem),
            "Conv3d_2c_3x3": _Unit(stem, mixed_in, (3, 3, 3)),
        }
        for name, full in _MIXED.items():
            channels = tuple(max(count // shrink, 1) for count in full)
            layers[name] = _Mixed(mixed_in, channels)
            mixed_in = channels[0] + channels[2] + channels[4] + channels[5]
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.width = mixed_in
        self._layers = tuple(layers)
        self.logits = None if classes is None else _Logits(mixed_in, classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.maps(clips).mean(dim=(2, 3, 4))

    def maps(self, clips: torch.Tensor) -> torch.Tensor:
        """What the mean is of, N x channels x moments x rows x columns."""
        maps = clips
        for name in self._layers:
            if name in _POOLS:
                maps = _max_pool(maps, *_POOLS[name])
            maps = self.get_submodule(name)(maps)
        return maps

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Logits, N x classes, of features, N x width; of networks that have them."""
        assert self.logits is not None
        return self.logits(features)


class _Unit(nn.Module):
    """Convolution, normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Triple = (1, 1, 1), stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        padded = _padded(rows, self.conv3d.kernel_size, self.conv3d.stride)
        return functional.relu(self.bn(self.conv3d(padded)))


class _Mixed(nn.Module):
    """An Inception block: four branches side by side."""

    def __init__(self, inputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = _Unit(inputs, channels[0])
        self.b1a, self.b1b = _Unit(inputs, channels[1]), _Unit(channels[1], channels[2], (3, 3, 3))
        self.b2a, self.b2b = _Unit(inputs, channels[3]), _Unit(channels[3], channels[4], (3, 3, 3))
        self.b3b = _Unit(inputs, channels[5])

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        pooled = _max_pool(rows, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(rows), self.b1b(self.b1a(rows)), self.b2b(self.b2a(rows)), self.b3b(pooled)], dim=1)


class _Logits(nn.Module):
    """A linear layer, kept as the convolution that the checkpoints have."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, classes, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.conv3d(features[:, :, None, None, None]).flatten(1)


def _padded(rows: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
    """With zeros around, so that ceil(size / stride) places come out, as TensorFlow's "SAME" has it: the odd one
    behind.
    """
    sides: list[int] = []
    for size, width, hop in zip(rows.shape[2:], kernel, stride, strict=True):
        missing = max((-(-size // hop) - 1) * hop + width - size, 0)
        sides = [missing // 2, missing - missing // 2, *sides]  # functional.pad begins with the last dimension
    return functional.pad(rows, sides)


def _max_pool(rows: torch.Tensor, kernel: Triple, stride: Triple) -> torch.Tensor:
    return functional.max_pool3d(_padded(rows, kernel, stride), kernel, stride)
