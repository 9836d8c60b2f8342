"""Weights of groundingdino-py under the names that transformers gives them."""

import re

import torch

_BACKBONE = "model.backbone.conv_encoder.model"
# Left: groundingdino-py's name, a regular expression; right: transformers'. The first that fits from the start counts.
_PLACES = (
    (r"backbone\.0\.patch_embed\.proj", rf"{_BACKBONE}.swin.embeddings.patch_embeddings.projection"),
    (r"backbone\.0\.patch_embed\.norm", rf"{_BACKBONE}.swin.embeddings.norm"),
    (r"backbone\.0\.norm([123])", lambda match: f"{_BACKBONE}.hidden_states_norms.stage{int(match[1]) + 1}"),
    (r"backbone\.0\.layers", rf"{_BACKBONE}.swin.encoder.layers"),
    (r"transformer\.encoder\.layers\.(\d+)", r"model.encoder.layers.\1.deformable_layer"),
    (r"transformer\.encoder\.text_layers\.(\d+)", r"model.encoder.layers.\1.text_enhancer_layer"),
    (r"transformer\.encoder\.fusion_layers\.(\d+)", r"model.encoder.layers.\1.fusion_layer"),
    (r"transformer\.decoder\.norm", r"model.decoder.layer_norm"),
    (r"transformer\.decoder\.ref_point_head", r"model.decoder.reference_points_head"),
    (r"transformer\.tgt_embed", r"model.query_position_embeddings"),
    (r"transformer\.enc_out_bbox_embed", r"model.encoder_output_bbox_embed"),
    (r"transformer", r"model"),
    (r"bert", r"model.text_backbone"),
    (r"feat_map", r"model.text_projection"),
    (r"input_proj", r"model.input_proj_vision"),
)
_PARTS = {
    "swin": {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.o_proj",
        "attn.relative_position_bias_table": "attention.relative_position_bias.relative_position_bias_table",
    },
    "deformable_layer": {
        "norm1": "self_attn_layer_norm",
        "norm2": "final_layer_norm",
        "linear1": "fc1",
        "linear2": "fc2",
    },
    "text_enhancer_layer": {
        "norm1": "layer_norm_before",
        "norm2": "layer_norm_after",
        "linear1": "fc1",
        "linear2": "fc2",
    },
    "fusion_layer": {
        "gamma_v": "vision_param",
        "gamma_l": "text_param",
        "layer_norm_v": "layer_norm_vision",
        "layer_norm_l": "layer_norm_text",
        "attn.v_proj": "attn.vision_proj",
        "attn.l_proj": "attn.text_proj",
        "attn.values_v_proj": "attn.values_vision_proj",
        "attn.values_l_proj": "attn.values_text_proj",
        "attn.out_v_proj": "attn.out_vision_proj",
        "attn.out_l_proj": "attn.out_text_proj",
    },
    "decoder.layers": {
        "norm1": "encoder_attn_layer_norm",
        "norm2": "self_attn_layer_norm",
        "norm3": "final_layer_norm",
        "catext_norm": "encoder_attn_text_layer_norm",
        "cross_attn": "encoder_attn",
        "ca_text": "encoder_attn_text",
        "linear1": "fc1",
        "linear2": "fc2",
    },
}
_QUERY_KEY_VALUE = re.compile(r"(.+)\.(attn\.qkv\.|in_proj_)(weight|bias)")


def converted(state: dict[str, torch.Tensor], decoder_layers: int) -> dict[str, torch.Tensor]:
    """A state for `GroundingDinoForObjectDetection` of the same shape.

    Args:
        state: of groundingdino-py's model; its one box head serves all decoder layers.
        decoder_layers: how many it has.
    """
    ready: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if name.endswith("relative_position_index") or name.startswith(("bert.pooler", "bbox_embed")):
            continue  # computed anew; never asked; the decoder's own head under another name
        place = _placed(name)
        if match := _QUERY_KEY_VALUE.fullmatch(place):
            before, kind, end = match.groups()
            parts = ("attention.q_proj", "attention.k_proj", "attention.v_proj") if "qkv" in kind else _IN_PROJ
            ready |= {f"{before}.{part}.{end}": third for part, third in zip(parts, value.chunk(3), strict=True)}
        elif place.startswith("model.decoder.bbox_embed.0"):
            for layer in range(decoder_layers):
                head = place.replace("bbox_embed.0", f"bbox_embed.{layer}")
                ready |= {head: value, head.removeprefix("model.decoder."): value}
        elif not place.startswith("model.decoder.bbox_embed"):
            ready[place] = value
    return ready


_IN_PROJ = ("query", "key", "value")


def _placed(name: str) -> str:
    for pattern, replacement in _PLACES:
        place, changed = re.subn(rf"^{pattern}(?=\.)", replacement, name, count=1)
        if changed:
            break
    else:
        raise AssertionError(f"no place for {name}")
    for room, parts in _PARTS.items():
        if f".{room}." in place:
            for old, new in parts.items():
                place, changed = re.subn(rf"\.{re.escape(old)}(?=\.|$)", f".{new}", place, count=1)
                if changed:
                    return place
    return place
