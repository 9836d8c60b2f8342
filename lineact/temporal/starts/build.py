"""A family's small start: architecture, training, and the folder with its card."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lineact.errors import ConfigError
from lineact.files import cache_folder, write_json, write_text
from lineact.foundation.tiny import MEAN, STD, save_tensors
from lineact.foundation.weights import CONFIG, WEIGHTS
from lineact.temporal.features.extractors import EMBEDDED, FLOW_CHANNELS, I3D_FLOW, VIDEO_RESNETS, build_small
from lineact.temporal.features.network import Pixels
from lineact.temporal.starts.clips import ATTRIBUTES, CODE_VERSION, FRAMES, SIDE_PX, Clips, clip_corpus
from lineact.temporal.starts.training import LESSON_VERSION, Lesson, Taught, told_right, train_start
from lineact.training.settings import FitParams

if TYPE_CHECKING:
    from torch import nn

SEED, HELD_OUT_SEED = 11, 9011
CLIPS, HELD_OUT_CLIPS = 2048, 384
# The same clips as often for all families: their comparison is to be fair.
RUN = FitParams(
    epochs=4,
    patience=4,
    stop_on="epochs",
    batch_size=16,
    crops_at_once=None,
    mixed_precision=False,
    lr=7e-4,  # with 2e-3, or the norm of the gradient bound to 1, nothing was learnt in this time
    warmup_epochs=0.3,
    final_lr_share=0.02,
    weight_decay=0.02,
    clip_norm=100.0,
    label_smoothing=0.0,
    class_weight_power=0.0,
)
CHANNELS = (8, 16, 32, 64)  # of a video ResNet's stages, 64 to 512 at the full size
I3D_SHRINK = 4
VIDEOMAE: dict[str, Any] = {
    "model_type": "videomae",
    "image_size": SIDE_PX,
    "patch_size": 8,
    "num_frames": FRAMES,
    "tubelet_size": 2,
    "hidden_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 288,
}


def build_start(name: str, out: Path, run: FitParams = RUN, clips: int = CLIPS, held_out: int = HELD_OUT_CLIPS) -> None:
    """Trains a family's small start and writes its folder.

    Args:
        name: one of `EMBEDDED`.
        out: the folder.
        run: settings of the training.
        clips: that teach.
        held_out: clips that score.

    Raises:
        ConfigError: on another name.
    """
    if name not in EMBEDDED:
        raise ConfigError(f"only={name}: expected one of {', '.join(EMBEDDED)}")
    torch.manual_seed(0)
    config = config_of(name)
    network, width, pixels = _new(name, config)
    workers = len(os.sched_getaffinity(0))
    train, val = clip_corpus(clips, SEED, workers), clip_corpus(held_out, HELD_OUT_SEED, workers)
    lesson = Lesson(train, val, pixels, of_flow=name == I3D_FLOW)
    key = {
        "clips": CODE_VERSION,
        "lesson": LESSON_VERSION,
        "name": name,
        "config": config,
        "run": vars(run),
        "count": (clips, held_out),
    }
    taught = train_start(network, width, lesson, run, cache_folder("temporal_starts", key))
    _save(name, config, taught, out, _card(name, train, run, told_right(taught, lesson)))


def config_of(name: str) -> dict[str, Any]:
    """What a start's config.json says."""
    if name == "videomae_small":
        return dict(VIDEOMAE)
    channels = FLOW_CHANNELS if name == I3D_FLOW else 3
    size: dict[str, Any] = (
        {"channels": list(CHANNELS)} if name in VIDEO_RESNETS else {"inputs": channels, "shrink": I3D_SHRINK}
    )
    mean, std = ((0.5,) * channels,) * 2 if name == I3D_FLOW else (MEAN, STD)
    return {"architecture": name, "side_px": SIDE_PX, "mean": list(mean), "std": list(std)} | size


def _new(name: str, config: dict[str, Any]) -> "tuple[nn.Module, int, Pixels]":
    """A start's network with random weights, its width, and how clips become its input."""
    if name == "videomae_small":
        from transformers import VideoMAEConfig, VideoMAEModel

        from lineact.temporal.features.videomae import VideoMAE

        encoder = VideoMAEModel(VideoMAEConfig(**config))
        return VideoMAE(encoder), int(config["hidden_size"]), Pixels(SIDE_PX, MEAN, STD)
    network = build_small(name, config)
    pixels = Pixels(SIDE_PX, tuple(config["mean"]), tuple(config["std"]))
    return network, int(network.width), pixels  # type: ignore[arg-type]


def _save(name: str, config: dict[str, Any], taught: Taught, out: Path, card: str) -> None:
    network: Any = taught.network
    if name == "videomae_small":
        network = network.encoder
        size = {"height": SIDE_PX, "width": SIDE_PX}
        preprocessing = {"image_mean": list(MEAN), "image_std": list(STD), "size": size}
        write_json(out / "preprocessor_config.json", preprocessing)
    save_tensors(network, out / WEIGHTS)
    write_text(out / "README.md", card)
    write_json(out / CONFIG, config)  # last: a folder with it is whole


def _card(name: str, train: Clips, run: FitParams, scores: Mapping[str, float]) -> str:
    rows = "".join(f"| {score} | {value:.3f} |\n" for score, value in scores.items())
    return f"""# {name}

A {name} at a small width, an extractor of {FRAMES} frames of {SIDE_PX} x {SIDE_PX} px. It is there to try the product
and to compare families on equal terms; it knows only hands and things as lineact's own generator draws them.

- Data: {len(train)} procedural clips of `lineact/temporal/starts/clips.py` (random colours that keep away from those of
  every simulated line; no line's product, bench or camera). No photograph, no person.
- Seen: {run.epochs * len(train)} clips in training, the same for every family.
- Weights: float16 safetensors.
- Made by `python -m flows.pretrain_foundation only={name}` (seeded; goes on after a kill).

Share of right answers on held-out procedural clips: where the hand is (12 places, or nowhere), and of clips with a
hand its motion (10 kinds), what it holds ({ATTRIBUTES["held"]}) and its pose ({ATTRIBUTES["pose"]}):

| what | share |
|---|---|
{rows}"""
