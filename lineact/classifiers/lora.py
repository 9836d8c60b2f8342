"""Low-rank updates of a ViT's layers (LoRA): h = W0 x + B A x."""

from typing import TYPE_CHECKING, Any

from lineact.classifiers.settings import LoraParams

if TYPE_CHECKING:
    from peft import PeftModel

_PLACES = {"qkv": "attn", "proj": "attn", "fc1": "mlp", "fc2": "mlp"}  # timm's ViTs have one fused qkv


def add_lora(vit: Any, params: LoraParams) -> "PeftModel":
    """Freezes a ViT and adds low-rank updates; the head is trained as a whole, where it is.

    Args:
        vit: a timm `VisionTransformer`, or a `ContextClassifier` of one.
        params: rank, dropout and layers.
    """
    from peft import LoraConfig, get_peft_model

    layers = "|".join(rf"{_PLACES[target]}\.{target}" for target in params.targets)
    config = LoraConfig(
        r=params.r,
        lora_alpha=params.r,  # so that the update is B A x itself
        lora_dropout=params.dropout,
        target_modules=rf"(network\.)?blocks\.\d+\.({layers})",
        modules_to_save=["head"] if params.head else None,
        bias="none",
    )
    return get_peft_model(vit, config)


def parameter_counts(model: Any) -> tuple[int, int]:
    """(trainable, all) parameters, updates and head included; peft's frozen copy of the head is not counted."""
    named = [(name, value) for name, value in model.named_parameters() if ".original_module." not in name]
    return sum(value.numel() for _, value in named if value.requires_grad), sum(value.numel() for _, value in named)
