"""Extractors by name, with the weights that they need."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.error import URLError

from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file
from lineact.foundation.weights import (
    CONFIG,
    identity_of,
    load_strictly,
    read_config,
    read_safetensors,
    read_tensors,
    refuse_pickle,
)
from lineact.temporal.features.extraction import NetworkExtractor, Region
from lineact.temporal.features.flow import TwoStream, dis_flow, raft_flow
from lineact.temporal.features.network import ClipNetwork, Pixels

if TYPE_CHECKING:
    import torch
    from torch import nn

VIDEO_RESNETS = ("r2plus1d_18", "r3d_18", "mc3_18")
VIDEOMAES = ("videomae_small", "videomae_base")
NAMES = (*VIDEO_RESNETS, *VIDEOMAES, "i3d")
I3D_FLOW, FLOW_CHANNELS = "i3d_flow", 2
EMBEDDED = (*VIDEO_RESNETS, "videomae_small", "i3d", I3D_FLOW)  # of which a small variant can be made
TORCHVISION = "torchvision"
_KINETICS = Pixels(112, (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))  # of torchvision's weights
I3D_SIDE_PX = 224


class NoWeightsError(InputError):
    """An extractor has no weights: a row of a table that is marked so, for random ones say nothing."""


def open_network(name: str, weights: str | None, device: str = "cpu") -> ClipNetwork:
    """A network with its weights, in evaluation mode.

    Args:
        name: one of NAMES.
        weights: "torchvision" for torchvision's own, cached or fetched; else a .safetensors file (of torchvision's
            video ResNets, or I3D as pytorch-i3d has it), a folder of a small variant, or a folder or hub name of a
            VideoMAE; None for none.
        device: where it runs.

    Raises:
        NoWeightsError: where there are none.
        ConfigError: on another name, or weights that this family cannot have.
        InputError: where a file is broken or of another architecture.
    """
    if name not in NAMES:
        raise ConfigError(f"extractor: expected one of {', '.join(NAMES)}, found {name!r}")
    if weights is None:
        raise _none(name, "none are named")
    if weights == TORCHVISION:
        return _of_torchvision(name, device)
    if name in VIDEOMAES:
        return _videomae(name, weights, device)
    path = Path(weights)
    if (path / CONFIG).is_file() and name in EMBEDDED:
        return open_embedded(name, path, device)
    if not path.is_file():
        raise _none(name, f"found no file or small variant {path}")
    tensors = read_weights(path)
    if name == "i3d":
        return _i3d(tensors, path, device)
    module, pixels = _video_resnet(name, tensors, str(path)), _KINETICS
    return ClipNetwork(name, sha256_of_file(path), module.to(device), pixels, None, device)


@dataclass(frozen=True)
class FlowParams:
    """A second stream.

    Attributes:
        kind: raft_small: torchvision's RAFT; dis: OpenCV's dense inverse search, which needs no weights.
        weights: of RAFT: "torchvision", or a file; None for dis.
        network: weights of the I3D that sees the flow: a .safetensors file, or a folder of a small variant.
    """

    kind: Literal["raft_small", "dis"]
    weights: str | None
    network: str | None


def open_extractor(
    name: str,
    weights: str | None,
    *,
    flow: FlowParams | None = None,
    region: Region | None = None,
    batch: int = 8,
    device: str = "cpu",
) -> NetworkExtractor:
    """An extractor with its weights.

    Args:
        name: one of NAMES.
        weights: see `open_network`.
        flow: a second stream; None for none.
        region: what is seen of the picture; None for all.
        batch: clips that go through the network together.
        device: where it runs.

    Raises:
        NoWeightsError: where there are none.
        ConfigError: on another name, or weights that do not belong together.
        InputError: where a file is broken or of another architecture.
    """
    network = open_network(name, weights, device)
    return NetworkExtractor(network if flow is None else _with_flow(network, flow, device), region, batch)


def _with_flow(rgb: ClipNetwork, params: FlowParams, device: str) -> TwoStream:
    folder = Path(params.network or "")
    small = (folder / CONFIG).is_file()
    of_flow = open_embedded(I3D_FLOW, folder, device) if small else open_network("i3d", params.network, device)
    if len(of_flow.pixels.mean) != FLOW_CHANNELS or of_flow.side_px != rgb.side_px:
        raise ConfigError(
            f"features.flow.network: expected an I3D of {FLOW_CHANNELS} channels and {rgb.side_px} px as {rgb.name} "
            f"sees, found {len(of_flow.pixels.mean)} channels and {of_flow.side_px} px"
        )
    if params.kind == "dis":
        return TwoStream(rgb, of_flow, dis_flow(), "dis")
    raft, identity = _raft(params.weights)
    return TwoStream(rgb, of_flow, raft_flow(raft.to(device), device), identity)


def _raft(weights: str | None) -> "tuple[nn.Module, str]":
    from torchvision.models.optical_flow import raft_small

    if weights == TORCHVISION:
        tensors, identity = _fetched("raft_small")
    elif weights is None or not Path(weights).is_file():
        raise _none("raft_small", f"found no file {weights}")
    else:
        tensors, identity = read_weights(Path(weights)), sha256_of_file(Path(weights))
    module = raft_small(weights=None)
    load_strictly(module, tensors, weights)
    return module.eval(), identity


def read_weights(path: Path) -> "dict[str, torch.Tensor]":
    """Tensors of a .safetensors file by name.

    Raises:
        InputError: where it is none.
    """
    refuse_pickle(path)
    return read_safetensors(path)


def open_embedded(name: str, folder: Path, device: str = "cpu") -> ClipNetwork:
    """A small variant from its folder, as `save_network` writes it.

    Args:
        name: one of EMBEDDED.
        folder: with config.json and model.safetensors.
        device: where it runs.

    Raises:
        InputError: where files are missing or do not fit each other.
    """
    if name in VIDEOMAES:
        return _videomae(name, str(folder), device)
    config = read_config(str(folder))
    module = build_small(name, config)
    load_strictly(module, {key: value.float() for key, value in read_tensors(str(folder)).items()}, str(folder))
    pixels = Pixels(int(config["side_px"]), tuple(config["mean"]), tuple(config["std"]))
    return ClipNetwork(name, identity_of(str(folder)), module.eval().to(device), pixels, None, device)


def build_small(name: str, config: dict[str, Any]) -> "nn.Module":
    """A video ResNet or an I3D as a config.json describes it, with random weights.

    Args:
        name: one of EMBEDDED but a VideoMAE.
        config: "channels" of a video ResNet's stages; "inputs" and "shrink" of an I3D.
    """
    if name in ("i3d", I3D_FLOW):
        from lineact.temporal.features.i3d import I3D

        return I3D(config["inputs"], None, config["shrink"])
    from lineact.temporal.features.video_resnet import VideoResNet

    return VideoResNet(name, config["channels"])


def _of_torchvision(name: str, device: str) -> ClipNetwork:
    if name not in VIDEO_RESNETS:
        raise ConfigError(f"extractor: torchvision has no weights of {name}; name a file or folder of them")
    tensors, identity = _fetched(name)
    module = _video_resnet(name, tensors, TORCHVISION).to(device)
    return ClipNetwork(name, identity, module, _KINETICS, None, device)


def _fetched(name: str) -> "tuple[dict[str, torch.Tensor], str]":
    """torchvision's weights of this name and what names them."""
    from torchvision.models import get_model_weights

    known: Any = get_model_weights(name)
    try:
        return known.DEFAULT.get_state_dict(progress=False, check_hash=True, weights_only=True), str(known.DEFAULT)
    except (URLError, OSError) as error:
        raise _none(name, f"torchvision's are not cached and cannot be fetched ({error})") from error


def _video_resnet(name: str, tensors: "dict[str, torch.Tensor]", where: str) -> "nn.Module":
    from lineact.temporal.features.video_resnet import VideoResNet

    module = VideoResNet(name)
    load_strictly(module, {key: value for key, value in tensors.items() if not key.startswith("fc.")}, where)
    return module.eval()


def _i3d(tensors: "dict[str, torch.Tensor]", path: Path, device: str) -> ClipNetwork:
    from lineact.temporal.features.i3d import I3D

    first, last = "Conv3d_1a_7x7.conv3d.weight", "logits.conv3d.weight"
    if first not in tensors:
        raise InputError(f"{path}: expected an I3D as pytorch-i3d saves it, found no {first}")
    inputs = int(tensors[first].shape[1])
    module = I3D(inputs, len(tensors[last]) if last in tensors else None)
    load_strictly(module, tensors, str(path))
    pixels = Pixels(I3D_SIDE_PX, (0.5,) * inputs, (0.5,) * inputs)
    return ClipNetwork("i3d", sha256_of_file(path), module.eval().to(device), pixels, None, device)


def _videomae(name: str, weights: str, device: str) -> ClipNetwork:
    from lineact.temporal.features.videomae import load_videomae

    if not Path(weights).is_dir():
        try:
            read_config(weights)
        except InputError as error:
            raise _none(name, str(error)) from error
    module, pixels, frames = load_videomae(weights)
    return ClipNetwork(name, identity_of(weights), module.to(device), pixels, frames, device)


def _none(name: str, why: str) -> NoWeightsError:
    return NoWeightsError(f"{name}: no weights: {why}; name a file or folder of them, or leave this extractor out")
