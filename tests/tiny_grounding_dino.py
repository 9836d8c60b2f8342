"""Random Grounding DINO models of a few thousand weights, in the layouts that the backends read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "hand", "glove", "tool"]
TEXT: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def write_tokenizer(folder: Path) -> None:
    """A BERT tokenizer that knows `WORDS`."""
    from transformers import BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)


def write_bert_tokenizer(folder: Path) -> None:
    """A tokenizer of bert-base's size, with the separators at its ids, which transformers' Grounding DINO counts on."""
    from transformers import BertTokenizer

    places = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    places |= {2000: "hand", 2001: "glove", 2002: "tool"}
    words = [places.get(number, f"[unused{number}]") for number in range(30522)]
    folder.mkdir(parents=True, exist_ok=True)
    BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)


def small_config(backbone: Any, text: dict[str, Any], layers: int, heads: int, **others: Any) -> Any:
    """A `GroundingDinoConfig` of 10 queries with narrow layers.

    Args:
        backbone: its configuration.
        text: arguments of the `BertConfig`.
        layers: of the encoder; the decoder has at least two, for one layer cannot tie its box heads.
        heads: of each layer's attention.
        others: what else differs from the defaults.
    """
    from transformers import BertConfig, GroundingDinoConfig

    return GroundingDinoConfig(
        backbone_config=backbone,
        text_config=BertConfig(**text),
        encoder_layers=layers,
        decoder_layers=max(layers, 2),
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=10,
        **others,
    )


def write_hub_model(folder: Path) -> Path:
    """Config, safetensors, tokenizer and image processor in the hub's layout."""
    import torch
    from transformers import (
        AutoTokenizer,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    backbone = SwinConfig(  # type: ignore[call-arg]
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_indices=[2, 3, 4],
    )
    config = small_config(backbone, TEXT, layers=1, heads=2, d_model=32, max_text_len=16)
    write_tokenizer(folder)
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    processor = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(processor, AutoTokenizer.from_pretrained(folder)).save_pretrained(folder)
    return folder


def write_original_model(
    folder: Path, layers: int = 1, text: dict[str, Any] = TEXT, write_words: Callable[[Path], None] = write_tokenizer
) -> tuple[Path, Path, Path]:
    """Configuration, checkpoint and text encoder of groundingdino-py, with random weights.

    Args:
        folder: where.
        layers: of the encoder and of the decoder.
        text: of the text encoder, see BertConfig.
        write_words: writes its tokenizer.

    Returns:
        Paths of the three.
    """
    import torch
    from groundingdino.config import GroundingDINO_SwinT_OGC as released
    from groundingdino.models import build_model
    from groundingdino.util.slconfig import SLConfig
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    from lineact.detect.bert_masks import local_text_encoder

    torch.manual_seed(0)
    text_encoder = folder / "text_encoder"
    write_words(text_encoder)
    BertModel(BertConfig(**text)).save_pretrained(text_encoder)
    small: dict[str, Any] = {  # the width and the Swin-T backbone are fixed in the package's code
        "dim_feedforward": 32,
        "enc_layers": layers,
        "dec_layers": layers,
        "nheads": 4,
        "num_queries": 10,
        "text_encoder_type": str(text_encoder),
    }
    settings = {name: value for name, value in vars(released).items() if not name.startswith("__")} | small
    config = folder / "config.py"
    config.write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    arguments = SLConfig.fromfile(str(config))
    arguments.device = "cpu"
    with local_text_encoder():
        model = build_model(arguments)
    checkpoint = folder / "checkpoint.safetensors"
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, checkpoint)
    return config, checkpoint, text_encoder
