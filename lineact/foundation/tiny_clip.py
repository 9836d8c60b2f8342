"""The embedded CLIP: its architecture, and how its folder is written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineact.files import write_json, write_text
from lineact.foundation.captions import MAX_TOKENS, TOKEN_IDS, tokenizer, vocabulary
from lineact.foundation.tiny import MEAN, PATCH_PX, SIDE_PX, STD, save_tensors
from lineact.foundation.weights import CONFIG, WEIGHTS

if TYPE_CHECKING:
    import torch

VISION_ARGUMENTS: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "image_size": SIDE_PX,
    "patch_size": PATCH_PX,
}
TEXT_ARGUMENTS: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 288,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
WIDTH = 96  # of the space that images and texts share


def clip_pair() -> Any:
    """The tiny CLIP with random weights."""
    from transformers import CLIPConfig, CLIPModel

    text = TEXT_ARGUMENTS | TOKEN_IDS
    text |= {"vocab_size": max(vocabulary().values()) + 1, "max_position_embeddings": MAX_TOKENS}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=VISION_ARGUMENTS, projection_dim=WIDTH))


def save_clip(module: "torch.nn.Module", folder: Path, card: str) -> None:
    """Writes both towers and the tokenizer as a transformers hub folder."""
    clip: Any = module
    write_json(folder / CONFIG, clip.config.to_dict())
    preprocessing = {"image_mean": list(MEAN), "image_std": list(STD), "size": {"height": SIDE_PX, "width": SIDE_PX}}
    write_json(folder / "preprocessor_config.json", preprocessing)
    tokenizer().save_pretrained(folder)
    save_tensors(module, folder / WEIGHTS)
    write_text(folder / "README.md", card)
