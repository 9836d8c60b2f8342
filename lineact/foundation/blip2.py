"""The vision tower of BLIP-2 (`transformers.Blip2VisionModel`), without the language model's gigabytes."""

from typing import TYPE_CHECKING, Any

from lineact.errors import InputError
from lineact.foundation.weights import (
    CONFIG,
    Preprocessing,
    load_strictly,
    read_config,
    read_preprocessing,
    read_tensors,
)

if TYPE_CHECKING:
    from transformers import Blip2VisionModel

BLIP2_TYPES = ("blip-2", "blip_2_vision_model")  # transformers' words, in config.json


def load_blip2_vision(name_or_folder: str, revision: str | None = None) -> tuple["Blip2VisionModel", Preprocessing]:
    """Loads the frozen image encoder.

    Args:
        name_or_folder: a folder or hub name of a `Blip2VisionModel` or of a whole BLIP-2 model, of which only the
            shards with `vision_model.` are read.
        revision: the hub's commit.

    Returns:
        The module in evaluation mode (float32, no gradients; `module(pixels).pooler_output` is N x hidden_size), and
        how images become its pixels.

    Raises:
        InputError: where files are missing or do not fit.
    """
    from transformers import Blip2VisionConfig, Blip2VisionModel

    values = refuse_other_than_blip2(name_or_folder, revision)
    config = Blip2VisionConfig(**values.get("vision_config", values))
    tensors = read_tensors(name_or_folder, revision, "vision_model.") or read_tensors(name_or_folder, revision)
    model = Blip2VisionModel(config)
    load_strictly(model, tensors, name_or_folder)
    model.eval().requires_grad_(False)
    return model, read_preprocessing(name_or_folder, revision, config.image_size)


def refuse_other_than_blip2(name_or_folder: str, revision: str | None = None) -> dict[str, Any]:
    """The config.json of a BLIP-2, or of its vision tower alone.

    Raises:
        InputError: where it is missing, or describes another architecture.
    """
    config = read_config(name_or_folder, revision)
    found = config.get("model_type")
    if found not in BLIP2_TYPES:
        raise InputError(
            f"{name_or_folder}: expected the weights of a {BLIP2_TYPES[0]}, found {found!r} in its {CONFIG}; set "
            "embed.hub_model to another folder or name"
        )
    return config
