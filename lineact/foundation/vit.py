"""timm Vision Transformers from a folder or a hub name, in timm's own hub layout."""

from typing import TYPE_CHECKING, Any

from lineact.foundation.timm_config import build_described, preprocessing_of
from lineact.foundation.weights import Preprocessing, load_strictly, read_config, read_tensors

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer


def load_vit(
    name_or_folder: str,
    revision: str | None = None,
    *,
    class_count: int = 0,
    depth: int | None = None,
    side_px: int | None = None,
) -> tuple["VisionTransformer", Preprocessing]:
    """Loads a `timm.models.vision_transformer.VisionTransformer` (one fused `qkv` per block).

    Args:
        name_or_folder: a folder or hub name (e.g. "timm/vit_large_patch16_224.augreg_in21k_ft_in1k") with config.json
            (architecture, model_args, pretrained_cfg) and model.safetensors.
        revision: the hub's commit.
        class_count: outputs of a new, randomly initialised head; 0 returns pooled features (N x embed_dim).
        depth: number of blocks; the stored number where None. Fewer keep the first ones; added ones start at random.
        side_px: side of the input; the stored one where None. The positions are resampled to another one's grid.

    Returns:
        The module in training mode and float32, and how images become its pixels.

    Raises:
        InputError: where files are missing or do not fit.
    """
    from timm.models.vision_transformer import checkpoint_filter_fn

    config = at_side(read_config(name_or_folder, revision), side_px)
    model = build_vit(config, name_or_folder, class_count=class_count, depth=depth)
    tensors = read_tensors(name_or_folder, revision)
    if side_px is not None:
        tensors = checkpoint_filter_fn(tensors, model)  # timm's own way to another grid
    own = model.state_dict()
    kept = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith("head.") and _block_of(name) < len(model.blocks)
    }
    stored_depth = 1 + max((_block_of(name) for name in tensors), default=-1)
    # What the file cannot give keeps its initialisation: the head, and blocks beyond the stored depth.
    started = {name: own[name] for name in own if name.startswith("head.") or _block_of(name) >= stored_depth}
    load_strictly(model, kept | started, name_or_folder)
    return model, preprocessing_of(config, name_or_folder)


def build_vit(
    config: dict[str, Any], where: str, *, class_count: int = 0, depth: int | None = None
) -> "VisionTransformer":
    """Builds the architecture that a config.json describes, with random weights.

    Args:
        config: "architecture" (a timm name) and "model_args" (its arguments).
        where: what to call the config in errors.
        class_count: outputs of the head, 0 for none.
        depth: number of blocks in place of the config's.

    Raises:
        InputError: where it is no ViT that timm knows.
    """
    from timm.models.vision_transformer import VisionTransformer

    changed = {"num_classes": class_count} | ({} if depth is None else {"depth": depth})
    return build_described(config, VisionTransformer, where, **changed)


def at_side(config: dict[str, Any], side_px: int | None) -> dict[str, Any]:
    """A ViT's config.json for another side of the input, pixels; as it is where that is None."""
    if side_px is None:
        return config
    arguments = dict(config.get("model_args") or {}) | {"img_size": side_px}
    pretrained = config["pretrained_cfg"] | {"input_size": [3, side_px, side_px]}
    return config | {"model_args": arguments, "pretrained_cfg": pretrained}


def _block_of(name: str) -> int:
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blocks" else -1
