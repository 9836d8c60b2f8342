"""The families of classifiers: how each is built, where it starts from, and what its stages are called."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lineact.classifiers.clip import ClipClassifier, ClipPair, clip_config, phrases_of
from lineact.classifiers.cnn import ARCHITECTURE as CNN
from lineact.classifiers.cnn import Cnn
from lineact.classifiers.context import ContextClassifier
from lineact.classifiers.settings import ClassifierParams, Family
from lineact.errors import ConfigError, InputError
from lineact.foundation.tiny import MEAN, SIDE_PX, STD, resnet_config, vit_config_of
from lineact.foundation.vit import at_side, build_vit, load_vit
from lineact.foundation.weights import read_config

Stages = Mapping[str, tuple[str, ...]]  # name of a stage -> what its weights' names begin with; from input to output
FULL_SIDE_PX = 224
CNN_CHANNELS = {"tiny": (16, 32, 64, 128), "hub": (64, 128, 256, 512)}


@dataclass(frozen=True)
class Start:
    """A network before its training.

    Attributes:
        module: B x 3 x S x S, normalised -> B x K logits; on the CPU. Of CLIP, both towers.
        config: timm's hub layout: "architecture", "model_args" and "pretrained_cfg".
        from_scratch: whether its weights are random.
    """

    module: nn.Module
    config: dict[str, Any]
    from_scratch: bool


def start_network(params: ClassifierParams, labels: tuple[str, ...], start: str | None, crops: int = 1) -> Start:
    """A network with the start's weights and a new head, or with random weights.

    Args:
        params: which.
        labels: class names.
        start: folder or hub name; None for random weights.
        crops: of a strip, see `lineact.context`; 1 for plain crops.

    Raises:
        ConfigError: where there is nothing to start from and no architecture to build, or the family has no context.
        InputError: where the start's files are missing or do not fit.
    """
    begun = _start_of_crop(params, labels, start)
    return dataclasses.replace(begun, module=_of_strips(params.family, begun.module, crops, len(labels)))


def _start_of_crop(params: ClassifierParams, labels: tuple[str, ...], start: str | None) -> Start:
    if params.family == "cnn":
        config = _cnn_config(params.foundation)
        return Start(build_network("cnn", config, labels, "cnn"), config, True)
    if start is None:
        config = _config_of_tiny(params)
        if params.depth is not None:
            config["model_args"]["depth"] = params.depth
        config = at_side(config, params.side_px)
        return Start(build_network(params.family, config, labels, str(params.tiny)), config, True)
    if params.family == "clip":
        from lineact.foundation.clip import load_clip

        clip, tokenizer, preprocessing = load_clip(start, params.revision)
        pair = ClipPair(clip, tokenizer, phrases_of(params.prompts, labels))
        return Start(pair, clip_config(clip, preprocessing), False)
    config = read_config(start, params.revision)
    module: nn.Module
    if params.family == "vit":
        module, _ = load_vit(
            start, params.revision, class_count=len(labels), depth=params.depth, side_px=params.side_px
        )
        config = at_side(config, params.side_px)
        if params.depth is not None:
            config["model_args"] = dict(config.get("model_args") or {}) | {"depth": params.depth}
    else:
        from lineact.foundation.resnet import load_resnet

        module, _ = load_resnet(start, params.revision, class_count=len(labels))
    return Start(module, config, False)


def _of_strips(family: Family, module: nn.Module, crops: int, class_count: int) -> nn.Module:
    if crops == 1:
        return module
    if family not in ("vit", "resnet"):
        raise ConfigError(f"context_s: expected a vit or a resnet where crops have context, found a {family}")
    return ContextClassifier(module, crops, class_count)


def build_network(
    family: Family, config: dict[str, Any], labels: tuple[str, ...], where: str, crops: int = 1
) -> nn.Module:
    """A finished classifier's network, with random weights.

    Args:
        family: architecture.
        config: as in `Start`.
        labels: class names.
        where: what to call the config in errors.
        crops: see `start_network`.

    Raises:
        InputError: where the config describes no network of the family.
    """
    return _of_strips(family, _network_of_crop(family, config, labels, where), crops, len(labels))


def _network_of_crop(family: Family, config: dict[str, Any], labels: tuple[str, ...], where: str) -> nn.Module:
    if family == "vit":
        return build_vit(config, where, class_count=len(labels))
    if family == "resnet":
        from lineact.foundation.resnet import build_resnet

        return build_resnet(config, where, class_count=len(labels))
    arguments = config.get("model_args", {})
    try:
        if family == "clip":
            return ClipClassifier(arguments["vision"], arguments["projection_dim"], len(labels))
        return Cnn(tuple(arguments["channels"]), len(labels))
    except (KeyError, TypeError) as error:
        raise InputError(f"{where}: expected model_args of a {family}, found {arguments} ({error})") from error


def stages_of(family: Family, module: nn.Module) -> Stages:
    """The network's stages by name, from the input to the head, which is called `head`."""
    network: Any = module
    if isinstance(module, ContextClassifier):
        own = stages_of(family, module.network)
        return {name: tuple(f"network.{prefix}" for prefix in own[name]) for name in own} | {"head": ("head",)}
    if family == "resnet":
        return {
            "stem": ("conv1", "bn1"),
            **{f"layer{number}": (f"layer{number}",) for number in range(1, 5)},
            "head": ("fc",),
        }
    if family == "vit":
        return {
            "stem": ("patch_embed", "cls_token", "reg_token", "pos_embed", "norm_pre"),
            **{f"block{number}": (f"blocks.{number - 1}",) for number in range(1, len(network.blocks) + 1)},
            "norm": ("norm", "fc_norm"),
            "head": ("head",),
        }
    if family == "clip":
        layers = range(1, len(network.clip.vision_model.encoder.layers) + 1)
        return {
            "text": ("clip.text_model",),
            "stem": ("clip.vision_model.embeddings", "clip.vision_model.pre_layrnorm"),
            **{f"block{number}": (f"clip.vision_model.encoder.layers.{number - 1}",) for number in layers},
            "norm": ("clip.vision_model.post_layernorm",),
            "head": ("clip.visual_projection", "clip.text_projection", "clip.logit_scale"),
        }
    return {f"stage{number}": (f"stages.{number - 1}",) for number in range(1, len(network.stages) + 1)} | {
        "head": ("head",)
    }


def unfreeze(module: nn.Module, stages: Stages, named: tuple[str, ...]) -> None:
    """Freezes a network but for its head and the named stages, in place.

    Args:
        module: the network.
        stages: of it.
        named: which are trained beside the head.

    Raises:
        ConfigError: where a name is none of the network's stages.
    """
    unknown = [name for name in named if name not in stages]
    if unknown:
        raise ConfigError(
            f"stages: unknown stage {', '.join(map(repr, unknown))}; this network has {', '.join(stages)}"
        )
    prefixes = [prefix for name in (*named, "head") for prefix in stages[name]]
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes))


def pooled_and_logits(module: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a network makes of normalised images, B x 3 x S x S: pooled features, B x width, and logits, B x K."""
    network: Any = module
    if isinstance(module, ClipPair):
        return module.pooled_and_logits(images)
    features = network.forward_head(network.forward_features(images), pre_logits=True)
    return features, network.get_classifier()(features)


def _cnn_config(size: str) -> dict[str, Any]:
    side_px = SIDE_PX if size == "tiny" else FULL_SIDE_PX
    return {
        "architecture": CNN,
        "model_args": {"channels": list(CNN_CHANNELS[size])},
        "pretrained_cfg": {"input_size": [3, side_px, side_px], "mean": list(MEAN), "std": list(STD)},
    }


def _config_of_tiny(params: ClassifierParams) -> dict[str, Any]:
    """The architecture of an embedded start, for one that was not made."""
    if params.foundation == "tiny" and params.tiny is not None:
        if params.family == "resnet":
            return resnet_config(params.tiny)
        if params.family == "vit":
            return vit_config_of(params.tiny)
    raise ConfigError(
        f"a {params.family} needs a start: set hub_model to a hub name or a local folder where foundation is hub, "
        "or tiny to an embedded start's name where it is tiny"
    )
