"""CLIP (`transformers.CLIPModel`) with its tokenizer, from a folder or a hub name."""

from typing import TYPE_CHECKING, Any

from lineact.errors import InputError
from lineact.foundation.weights import (
    CONFIG,
    Preprocessing,
    find_file,
    load_strictly,
    read_config,
    read_preprocessing,
    read_tensors,
)

if TYPE_CHECKING:
    from transformers import CLIPModel

TOKENIZER = "tokenizer.json"


def load_clip(name_or_folder: str, revision: str | None = None) -> tuple["CLIPModel", Any, Preprocessing]:
    """Loads both towers.

    Args:
        name_or_folder: a folder or hub name, e.g. "openai/clip-vit-large-patch14".
        revision: the hub's commit.

    Returns:
        The model in training mode and float32, its tokenizer, and how images become its pixels.

    Raises:
        InputError: where files are missing or do not fit.
    """
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    values = read_config(name_or_folder, revision)
    if values.get("model_type") != "clip":
        raise InputError(
            f"{name_or_folder}: expected the weights of a clip, found {values.get('model_type')!r} in its {CONFIG}; "
            "set hub_model to another folder or name"
        )
    config = CLIPConfig(**values)
    model = CLIPModel(config)
    tensors = read_tensors(name_or_folder, revision)
    # Older files also hold the numbers 0, 1, 2, ... of the places.
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(".position_ids")}
    load_strictly(model, kept, name_or_folder)
    find_file(name_or_folder, TOKENIZER, revision)  # without it transformers makes one that knows no word
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_folder, revision=revision)
    except (OSError, ValueError) as error:
        raise InputError(f"{name_or_folder}: expected a tokenizer, found none ({error}); copy all files") from error
    size_px = config.vision_config.image_size  # type: ignore[union-attr]
    return model.train(), tokenizer, read_preprocessing(name_or_folder, revision, size_px)
