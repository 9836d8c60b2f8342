"""Pretraining of the tiny encoders: several attributes at once, and cosine similarity that groups by what a hand does.

All encoders learn from the same crops: one linear head per attribute (thrown away afterwards), and the supervised
contrastive loss of Khosla et al. (2020), equation 2, on the normalised pooled output itself, because that is what
matching compares.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional

from lineact.files import write_whole
from lineact.foundation.corpus import ATTRIBUTES, Crops
from lineact.foundation.guide import WIDTH as GUIDE_WIDTH
from lineact.foundation.guide import Guide
from lineact.foundation.scenes import ANGLE_BINS, HELD, POSE_NAMES, TARGETS
from lineact.foundation.weights import Preprocessing

CLASS_COUNTS = (len(HELD), len(POSE_NAMES), len(TARGETS), 2, 2, ANGLE_BINS)
ANY_DIRECTION = 0.15  # share of crops whose hand may point anywhere
HEAD_WEIGHTS = (1.0, 1.0, 0.3, 0.2, 0.2, 0.2)


@dataclass(frozen=True)
class EncoderRun:
    """How an encoder is trained.

    Attributes:
        steps: optimiser steps in all.
        decay_steps: last steps, in which the learning rate falls to zero; before them it is constant, so that a run
            can be prolonged from its checkpoint.
        batch: crops per step.
        learning_rate: AdamW's.
        weight_decay: AdamW's.
        contrast: weight of the contrastive loss.
        temperature: of the contrastive loss.
        guidance: weight of the distance to the guide's features; 0 where there is no guide.
        seed: order of crops, augmentation and initial weights.
    """

    steps: int
    decay_steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    contrast: float
    temperature: float
    guidance: float
    seed: int


Objective = TypeVar("Objective", bound="Any")


class Heads(nn.Module):
    """One linear classifier per attribute."""

    def __init__(self, width: int) -> None:
        """Makes the classifiers for features of this width."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, count) for count in CLASS_COUNTS)

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        """Logits per attribute, each N x classes, of features N x width."""
        normed = self.norm(features)
        return [head(normed) for head in self.heads]

    def loss(self, features: torch.Tensor, attributes: torch.Tensor, run: EncoderRun) -> torch.Tensor:
        """Of features N x width: attributes, int64 N x 6, told, and crops of one kind near one another."""
        absent = attributes[:, 1] == POSE_NAMES.index("absent")
        loss = features.new_zeros(())
        for column, (logits, weight) in enumerate(zip(self(features), HEAD_WEIGHTS, strict=True)):
            # Where there is no hand, only "held" and "pose" have an answer.
            answer = attributes[:, column].masked_fill(absent, -100) if column > 1 else attributes[:, column]
            loss = loss + weight * functional.cross_entropy(logits, answer)
        if run.contrast > 0:
            loss = loss + run.contrast * supervised_contrast(features, keys_of(attributes), run.temperature)
        return loss


def pooled(encoder: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Pooled features, N x width, of either family."""
    output = encoder(pixels)
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def train_encoder(
    make_objective: Callable[[int], Objective],
    encoder: nn.Module,
    width: int,
    crops: Crops,
    preprocessing: Preprocessing,
    run: EncoderRun,
    checkpoint: Path,
    guide: Guide | None = None,
) -> Objective:
    """Trains in place; goes on from the checkpoint where there is one.

    Args:
        make_objective: makes what is trained with it, for features of this width: a module with a method `loss` of
            features, attributes and run.
        encoder: a ViT, a convolutional network, or a vision tower of BLIP-2 or CLIP.
        width: of its features.
        crops: the corpus.
        preprocessing: the encoder's.
        run: settings.
        checkpoint: file for what must survive a kill.
        guide: a trained network whose features the encoder's tokens shall carry.

    Returns:
        The trained objective.
    """
    torch.manual_seed(run.seed)
    objective = make_objective(width)
    both = nn.ModuleDict({"encoder": encoder, "heads": objective})
    follower = None if guide is None else _Follower(width)
    if follower is not None:
        both["follower"] = follower
    optimiser = torch.optim.AdamW(_groups(both, run), lr=run.learning_rate, betas=(0.9, 0.98))
    done = _resume(both, optimiser, checkpoint, run.steps)
    encoder.train()
    began, told, losses = time.monotonic(), time.monotonic(), []
    for step, (images, attributes) in enumerate(_batches(crops, run, done, preprocessing), done):
        rate = _rate(step, run)
        for group in optimiser.param_groups:
            group["lr"] = run.learning_rate * rate
        features, tokens = _features(encoder, images)
        loss = objective.loss(features, attributes, run)
        if guide is not None and follower is not None:
            loss = loss + run.guidance * follower(features, tokens, guide, images)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if time.monotonic() - told > 20 or step + 1 == run.steps:
            speed = (step + 1 - done) / (time.monotonic() - began)
            print(
                f"{checkpoint.stem}: step {step + 1}/{run.steps}, loss {np.mean(losses):.3f}, {speed:.2f} steps/s",
                flush=True,
            )
            told, losses = time.monotonic(), []
            # The state before the decay is kept: a longer run starts from there.
            if step < run.steps - run.decay_steps or step + 1 == run.steps:
                _save(both, optimiser, step + 1, checkpoint if step + 1 < run.steps else _end_of(checkpoint))
    encoder.eval()
    return objective


class _Follower(nn.Module):
    """Distance of an encoder's tokens and pooled output, seen through linear maps, to the guide's features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tokens, self.pooled = nn.Linear(width, GUIDE_WIDTH), nn.Linear(width, GUIDE_WIDTH)

    def forward(self, features: torch.Tensor, tokens: torch.Tensor, guide: Guide, pixels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            places = guide.feature_map(pixels)  # N x 36 x 128
            whole = functional.layer_norm(places.mean(1), (GUIDE_WIDTH,))
            places = functional.layer_norm(places, (GUIDE_WIDTH,))
        near = functional.mse_loss(self.tokens(tokens), places)
        return near + functional.mse_loss(self.pooled(features), whole)


def _features(encoder: nn.Module, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled features, N x width, and those of the patches, N x patches x width (of a network without: the pooled)."""
    if isinstance(encoder, VisionTransformer):
        tokens = encoder.forward_features(pixels)  # N x 1 + patches x width
        return encoder.forward_head(tokens, pre_logits=True), tokens[:, 1:]
    output = encoder(pixels)
    if isinstance(output, torch.Tensor):
        return output, output[:, None]
    return output.pooler_output, output.last_hidden_state[:, 1:]


@torch.no_grad()
def start_mimetic(vit: Any) -> None:
    """Sets initial weights that attend to near places, in place: plain ones take far longer to find that out.

    Mimetic initialisation (Trockman and Kolter 2023, section 4): Wq Wk^T near 0.7 Z + 0.7 I, Wv Wproj near
    0.4 Z - 0.4 I with Z random of variance 1 / width, factored by singular values; sine-cosine position embeddings.
    """
    width: int = vit.embed_dim
    heads: int = vit.blocks[0].attn.num_heads
    side = width // heads
    identity = torch.eye(width)
    for block in vit.blocks:
        weight = block.attn.qkv.weight
        for head in range(heads):
            left, values, right = torch.linalg.svd(0.7 * torch.randn(width, width) / width**0.5 + 0.7 * identity)
            root = values[:side].sqrt()
            rows = slice(head * side, (head + 1) * side)
            weight[rows] = (left[:, :side] * root).T
            weight[width:][rows] = root[:, None] * right[:side]
        left, values, right = torch.linalg.svd(0.4 * torch.randn(width, width) / width**0.5 - 0.4 * identity)
        weight[2 * width :] = values.sqrt()[:, None] * right
        block.attn.proj.weight.copy_(left * values.sqrt())
    count: int = vit.patch_embed.num_patches
    grid = torch.arange(int(count**0.5)).float()
    omega = 1.0 / 10000 ** (torch.arange(width // 4).float() / (width // 4))
    ys, xs = torch.meshgrid(grid, grid, indexing="ij")
    waves = [wave(axis.reshape(-1, 1) * omega) for axis in (ys, xs) for wave in (torch.sin, torch.cos)]
    vit.pos_embed[0, 1:] = 0.5 * torch.cat(waves, 1)


@torch.no_grad()
def attribute_accuracy(
    encoder: nn.Module, heads: Heads, crops: Crops, preprocessing: Preprocessing
) -> dict[str, float]:
    """Share of right answers per attribute on crops."""
    encoder.eval()
    right = np.zeros(len(ATTRIBUTES))
    for start in range(0, len(crops.images_rgb), 256):
        part = slice(start, start + 256)
        # Held-out crops are turned as those seen in training.
        turned = torch.from_numpy(crops.images_rgb[part]), torch.from_numpy(crops.attributes[part])
        images, attributes = _turned(*turned, np.random.default_rng(start))
        answers = [logits.argmax(1) for logits in heads(pooled(encoder, preprocessing.to_tensor(images)))]
        right += (torch.stack(answers, 1) == attributes).sum(0).numpy()
    return {name: float(count / len(crops.images_rgb)) for name, count in zip(ATTRIBUTES, right, strict=True)}


def supervised_contrast(features: torch.Tensor, keys: torch.Tensor, temperature: float) -> torch.Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, L_out).

    Args:
        features: N x width.
        keys: int, N: crops of one key attract each other.
        temperature: above 0.

    Returns:
        A scalar; 0 where no two keys agree.
    """
    unit = functional.normalize(features, dim=1)
    cosine = unit @ unit.T / temperature  # N x N
    itself = torch.eye(len(keys), dtype=torch.bool)
    log_share = cosine - torch.logsumexp(cosine.masked_fill(itself, -torch.inf), 1, keepdim=True)
    alike = (keys[:, None] == keys[None]) & ~itself
    count = alike.sum(1)
    mean = (log_share * alike).sum(1) / count.clamp(min=1)
    return -(mean[count > 0]).sum() / (count > 0).sum().clamp(min=1)


def keys_of(attributes: torch.Tensor) -> torch.Tensor:
    """What a crop is about: the thing held, or else the pose of the empty hand."""
    held, pose = attributes[:, 0], attributes[:, 1]
    return torch.where(held > 0, held, len(HELD) + pose)


def to_blip2(vit: nn.Module, tower: nn.Module) -> None:
    """Copies a timm ViT into a BLIP-2 vision tower of the same size, in place: the same network but for the second
    normalisation that BLIP-2 applies to its pooled output.
    """
    source: dict[str, Any] = vit.state_dict()
    names = {
        "cls_token": "embeddings.class_embedding",
        "pos_embed": "embeddings.position_embedding",
        "patch_embed.proj": "embeddings.patch_embedding",
        "norm": "post_layernorm",
    }
    inside = {
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "attn.qkv": "self_attn.qkv",
        "attn.proj": "self_attn.projection",
    }
    for index in range(len(vit.blocks)):  # type: ignore[arg-type]
        for ours, theirs in (inside | {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}).items():
            names[f"blocks.{index}.{ours}"] = f"encoder.layers.{index}.{theirs}"
    state = {}
    for name, tensor in source.items():
        stem, _, last = name.rpartition(".")
        state[f"{names[stem]}.{last}" if stem in names else names[name]] = tensor
    tower.load_state_dict(state)


def _batches(
    crops: Crops, run: EncoderRun, done: int, preprocessing: Preprocessing
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for step in range(done, run.steps):
        generator = np.random.default_rng([run.seed, step])
        rows = np.sort(generator.integers(0, len(crops.images_rgb), run.batch))
        images = torch.from_numpy(crops.images_rgb[rows])
        attributes = torch.from_numpy(crops.attributes[rows].copy())
        images, attributes = _turned(images, attributes, generator)
        gains = torch.from_numpy(generator.uniform(0.8, 1.2, (run.batch, 1, 1, 3)).astype(np.float32))
        pixels = (images.float() * gains).clamp(0, 255)
        yield preprocessing.to_tensor(pixels), attributes


def _turned(
    images: torch.Tensor, attributes: torch.Tensor, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half of a batch mirrored, all turned by quarters so that most hands point up, as seen from behind a worker."""
    count = len(images)
    answers = attributes.clone()
    mirrored = torch.from_numpy(generator.random(count) < 0.5)
    images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
    answers[:, 4] = torch.where(mirrored, 1 - answers[:, 4], answers[:, 4])
    answers[:, 5] = torch.where(mirrored, (ANGLE_BINS // 2 - 1 - answers[:, 5]) % ANGLE_BINS, answers[:, 5])
    # Angles run clockwise from the right in eighths, so 5 and 6 point up; a quarter turn takes 2 away.
    quarters = (answers[:, 5] - 5) % ANGLE_BINS // 2
    elsewhere = torch.from_numpy(generator.random(count) < ANY_DIRECTION)
    quarters = torch.where(elsewhere, torch.from_numpy(generator.integers(0, 4, count)), quarters)
    answers[:, 5] = (answers[:, 5] - 2 * quarters) % ANGLE_BINS
    turned = images.clone()
    for quarter in range(1, 4):
        rows = quarters == quarter
        turned[rows] = torch.rot90(images[rows], quarter, (1, 2))
    return turned, answers


def _groups(module: nn.Module, run: EncoderRun) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": run.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _rate(step: int, run: EncoderRun) -> float:
    return min(1.0, (step + 1) / 150, (run.steps - step) / max(run.decay_steps, 1))


def _save(module: nn.Module, optimiser: torch.optim.Optimizer, step: int, checkpoint: Path) -> None:
    state = {"module": module.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
    write_whole(checkpoint, lambda temporary: torch.save(state, temporary))


def _resume(module: nn.Module, optimiser: torch.optim.Optimizer, checkpoint: Path, steps: int) -> int:
    for path in (_end_of(checkpoint), checkpoint):
        state = torch.load(path, weights_only=True) if path.is_file() else None
        # An end belongs to its own number of steps: its learning rate has fallen.
        if state is not None and (state["step"] == steps or (path == checkpoint and state["step"] < steps)):
            module.load_state_dict(state["module"])
            optimiser.load_state_dict(state["optimiser"])
            return int(state["step"])
    return 0


def _end_of(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".end.pt")
