"""Candidates as start folders in timm's hub layout: from a start's own weights wherever they can be carried over."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

from lineact.choose_student import CandidateParams
from lineact.errors import InputError
from lineact.files import write_json
from lineact.foundation.vit import build_vit, load_vit
from lineact.foundation.weights import CONFIG, WEIGHTS, Preprocessing, load_strictly, read_config
from lineact.training.state import save_weights


class Start(NamedTuple):
    """Weights to begin with: folder or hub name, and the hub's commit (None for the newest)."""

    name: str
    revision: str | None


@dataclass(frozen=True)
class Candidate:
    """A student that could be trained.

    Attributes:
        name: its sizes in a word, e.g. "w96_d4_p16_s96".
        folder: its start.
        began_with: whose weights these are; None for random ones.
        width: numbers per token.
        depth: transformer blocks.
        preprocessing: how crops become its input.
        patch_px: side of a patch, pixels.
        parameters: how many it has, without the head.
    """

    name: str
    folder: Path
    began_with: str | None
    width: int
    depth: int
    patch_px: int
    preprocessing: Preprocessing
    parameters: int


def make_candidate(
    wanted: CandidateParams, depth: int | None, starts: Sequence[Start], seed: int, folder: Path
) -> Candidate:
    """Writes a candidate's start.

    Args:
        wanted: its sizes.
        depth: transformer blocks where it names none; None for the start's.
        starts: the first is the one whose sizes count where it names none; of all of them the one of its width lends
            its weights.
        seed: of random weights.
        folder: gets config.json and model.safetensors; the same arguments give the same bytes.

    Raises:
        InputError: where it cannot be built.
    """
    torch.manual_seed(seed)
    depth = depth if wanted.depth is None else wanted.depth
    loaded, preprocessing, lends = _start_of_width(wanted.width, depth, starts)
    start = starts[0] if lends is None else lends
    side_px, patch_px = _sizes(wanted, loaded, preprocessing)
    config = read_config(*start)
    arguments = dict(config.get("model_args") or {}) | {
        "img_size": side_px,
        "patch_size": patch_px,
        "depth": len(loaded.blocks),
    }
    if lends is None:
        arguments |= _width_arguments(wanted.width, loaded)
    model = build_vit(config | {"model_args": arguments}, start.name)
    if lends is not None:
        # timm's own way of giving a network weights of another patch and grid
        load_strictly(model, checkpoint_filter_fn(loaded.state_dict(), model), start.name)
    pretrained = {"input_size": [3, side_px, side_px], "mean": list(preprocessing.mean), "std": list(preprocessing.std)}
    described = {"architecture": config["architecture"], "model_args": arguments}
    write_json(folder / CONFIG, described | {"pretrained_cfg": pretrained | {"num_classes": 0}})
    save_weights(folder / WEIGHTS, model)
    return Candidate(
        name=f"w{model.embed_dim}_d{len(model.blocks)}_p{patch_px}_s{side_px}",
        folder=folder,
        began_with=None if lends is None else lends.name,
        width=model.embed_dim,
        depth=len(model.blocks),
        patch_px=patch_px,
        preprocessing=Preprocessing(side_px, preprocessing.mean, preprocessing.std),
        parameters=sum(value.numel() for value in model.parameters()),
    )


def _start_of_width(
    width: int | None, depth: int | None, starts: Sequence[Start]
) -> tuple[VisionTransformer, Preprocessing, Start | None]:
    """The start of a width, cut to a depth; where none has it the first one, and None as who lends weights."""
    first = load_vit(starts[0].name, starts[0].revision, depth=depth)
    if width is None or first[0].embed_dim == width:
        return *first, starts[0]
    for start in starts[1:]:
        other = load_vit(start.name, start.revision, depth=depth)
        if other[0].embed_dim == width:
            return *other, start
    return *first, None


def _sizes(wanted: CandidateParams, loaded: VisionTransformer, preprocessing: Preprocessing) -> tuple[int, int]:
    """(side of the input, side of a patch), pixels."""
    patches: Any = loaded.patch_embed
    patch_px = patches.patch_size[0] if wanted.patch_px is None else wanted.patch_px
    side_px = preprocessing.side_px if wanted.side_px is None else wanted.side_px
    if side_px % patch_px:
        raise InputError(f"expected side_px to be a multiple of patch_px, found {side_px} and {patch_px}")
    return side_px, patch_px


def _width_arguments(width: int | None, loaded: VisionTransformer) -> dict[str, int]:
    """timm's arguments of a new width, whose attention heads are as wide as the start's."""
    attention: Any = loaded.blocks[0].attn
    head_width = loaded.embed_dim // attention.num_heads
    if width is None or width % head_width:
        raise InputError(f"expected a width that is a multiple of the start's {head_width} per head, found {width}")
    return {"embed_dim": width, "num_heads": width // head_width}
