"""VideoMAE (Tong et al. 2022) as transformers has it: mean of the last layer's tokens."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lineact.errors import InputError
from lineact.foundation.weights import load_strictly, read_config, read_preprocessing, read_tensors
from lineact.temporal.features.network import Pixels

if TYPE_CHECKING:
    from transformers import VideoMAEModel

PREFIX = "videomae."  # of the encoder in checkpoints that classify or reconstruct


class VideoMAE(nn.Module):
    """Clips, N x 3 x T x H x W, to rows, N x width."""

    def __init__(self, encoder: "VideoMAEModel") -> None:
        """Around an encoder of transformers."""
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.maps(clips).mean(dim=(2, 3, 4))

    def maps(self, clips: torch.Tensor) -> torch.Tensor:
        """The tokens in their places, N x width x moments x rows x columns."""
        config: Any = self.encoder.config
        places = clips.shape[2] // config.tubelet_size, *(side // config.patch_size for side in clips.shape[3:])
        tokens = self.encoder(pixel_values=clips.transpose(1, 2)).last_hidden_state  # N x tokens x width
        return tokens.transpose(1, 2).unflatten(2, places)


def load_videomae(name_or_folder: str, revision: str | None = None) -> tuple[VideoMAE, Pixels, int]:
    """Loads an encoder from a folder in the hub's layout or from a hub name.

    Args:
        name_or_folder: with config.json and model.safetensors, of the encoder alone or with a head.
        revision: the hub's commit.

    Returns:
        The module in evaluation mode, how clips become its input, and the frames of a clip.

    Raises:
        InputError: where files are missing or are of another architecture.
    """
    from transformers import VideoMAEConfig, VideoMAEModel

    values: dict[str, Any] = read_config(name_or_folder, revision)
    if values.get("model_type") != "videomae":
        raise InputError(f"{name_or_folder}: expected a VideoMAE, found model_type {values.get('model_type')!r}")
    config = VideoMAEConfig(**values)
    encoder = VideoMAEModel(config)
    tensors = read_tensors(name_or_folder, revision, PREFIX) or read_tensors(name_or_folder, revision)
    named = {_name(name): tensor for name, tensor in tensors.items()}
    wanted = encoder.state_dict().keys()
    load_strictly(encoder, {name: tensor for name, tensor in named.items() if name in wanted}, name_or_folder)
    read = read_preprocessing(name_or_folder, revision, config.image_size)
    return VideoMAE(encoder.eval()), Pixels(read.side_px, read.mean, read.std), int(config.num_frames)


def _name(name: str) -> str:
    """A tensor's name as transformers 5 has it; the hub's files were written by older ones."""
    return name.replace("attention.q_bias", "attention.query.bias").replace("attention.v_bias", "attention.value.bias")
