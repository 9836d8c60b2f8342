"""The embedded set's architectures, and how its folders are written: float16 safetensors, config, model card."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineact.errors import ConfigError
from lineact.files import CACHE, write_json, write_text, write_whole
from lineact.foundation.weights import CONFIG, WEIGHTS

if TYPE_CHECKING:
    import torch

MADE = CACHE / "foundation_starts"  # git-ignored: starts that are not committed are made where they are asked for
SIDE_PX = 96
PATCH_PX = 16
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
VIT_ARGUMENTS = {"img_size": SIDE_PX, "patch_size": PATCH_PX, "mlp_ratio": 3.0}
TEACHER_ARGUMENTS = VIT_ARGUMENTS | {"embed_dim": 128, "depth": 6, "num_heads": 4}
STUDENT_ARGUMENTS = VIT_ARGUMENTS | {"embed_dim": 96, "depth": 4, "num_heads": 3}
VIT_STARTS: dict[str, dict[str, Any]] = {"vit_teacher": TEACHER_ARGUMENTS, "vit_student": STUDENT_ARGUMENTS}
RESNET_STARTS = ("resnet18", "resnet34", "resnet50")
RESNET_CHANNELS = (16, 32, 64, 128)  # a quarter of the usual width
BLIP2_ARGUMENTS: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "image_size": SIDE_PX,
    "patch_size": PATCH_PX,
    "initializer_range": 0.02,
}
YOLOV5_SIZES = {"n": (0.33, 0.125), "s": (0.33, 0.25), "m": (0.67, 0.375)}  # depth, and half the usual width


def vit_config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A timm hub config for one of the tiny ViTs."""
    return {
        "architecture": "vit_small_patch16_224",  # any plain ViT: model_args replace its sizes
        "model_args": dict(arguments),
        "pretrained_cfg": {"input_size": [3, SIDE_PX, SIDE_PX], "mean": list(MEAN), "std": list(STD), "num_classes": 0},
    }


def vit_config_of(start: str) -> dict[str, Any]:
    """The timm hub config of an embedded ViT by its name.

    Raises:
        ConfigError: where there is none of this name.
    """
    if start not in VIT_STARTS:
        raise ConfigError(f"tiny: expected one of {', '.join(VIT_STARTS)} for a vit, found {start!r}")
    return vit_config(VIT_STARTS[start])


def resnet_config(start: str) -> dict[str, Any]:
    """The timm hub config of an embedded ResNet by its name.

    Raises:
        ConfigError: where there is none of this name.
    """
    if start not in RESNET_STARTS:
        raise ConfigError(f"tiny: expected one of {', '.join(RESNET_STARTS)} for a resnet, found {start!r}")
    return {
        "architecture": start,
        "model_args": {"channels": list(RESNET_CHANNELS)},
        "pretrained_cfg": {"input_size": [3, SIDE_PX, SIDE_PX], "mean": list(MEAN), "std": list(STD), "num_classes": 0},
    }


def blip2_vision() -> "torch.nn.Module":
    """The tiny BLIP-2 vision tower with random weights."""
    from transformers import Blip2VisionConfig, Blip2VisionModel

    return Blip2VisionModel(Blip2VisionConfig(**BLIP2_ARGUMENTS))


def yolov5_description(size: str = "n") -> dict[str, Any]:
    """ultralytics' yolov5.yaml at the tiny width, for the one class hand."""
    import yaml

    from lineact.foundation.yolov5 import import_ultralytics

    folder = Path(import_ultralytics().__file__).parent
    description = yaml.safe_load((folder / "cfg/models/v5/yolov5.yaml").read_text())
    return description | {"nc": 1, "scales": {size: [*YOLOV5_SIZES[size], 1024]}, "scale": size}


def save_tensors(module: "torch.nn.Module", path: Path) -> None:
    """Writes a module's weights whole, floats as float16, under the names of its state."""
    import torch
    from safetensors.torch import save_file

    tensors = {
        name: (tensor.half() if torch.is_floating_point(tensor) else tensor).contiguous().cpu()
        for name, tensor in module.state_dict().items()
    }
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata={"format": "pt"}))


def save_vit(module: "torch.nn.Module", arguments: Mapping[str, Any], folder: Path, card: str) -> None:
    """Writes a ViT without head as a timm hub folder."""
    write_json(folder / CONFIG, vit_config(arguments))
    save_tensors(module, folder / WEIGHTS)
    write_text(folder / "README.md", card)


def save_resnet(module: "torch.nn.Module", start: str, folder: Path, card: str) -> None:
    """Writes a ResNet without head as a timm hub folder."""
    write_json(folder / CONFIG, resnet_config(start))
    save_tensors(module, folder / WEIGHTS)
    write_text(folder / "README.md", card)


def save_blip2_vision(module: "torch.nn.Module", folder: Path, card: str) -> None:
    """Writes a vision tower as a transformers hub folder."""
    write_json(
        folder / CONFIG, {"model_type": "blip_2_vision_model", "architectures": ["Blip2VisionModel"]} | BLIP2_ARGUMENTS
    )
    preprocessing = {"image_mean": list(MEAN), "image_std": list(STD), "size": {"height": SIDE_PX, "width": SIDE_PX}}
    write_json(folder / "preprocessor_config.json", preprocessing)
    save_tensors(module, folder / WEIGHTS)
    write_text(folder / "README.md", card)


def save_yolov5(module: "torch.nn.Module", folder: Path, card: str, size: str = "n") -> None:
    """Writes a detector: detector.yaml and weights."""
    import yaml

    from lineact.foundation.yolov5 import DETECTOR_YAML

    write_text(folder / DETECTOR_YAML, yaml.safe_dump(yolov5_description(size), sort_keys=False))
    save_tensors(module, folder / WEIGHTS)
    write_text(folder / "README.md", card)
