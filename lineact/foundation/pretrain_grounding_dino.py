"""Pretraining of the tiny Grounding DINO on named scenes: every picture with a prompt of its own.

The encoder's proposals and the decoder's first layer learn one-to-many, the last layer one-to-one, all from the start.
Pictures have by turns the size of those that the model is used on and a smaller one: that costs less, and things in
them look larger when they are cut and scaled in training than later (Touvron et al. 2019, Fixing the train-test
resolution discrepancy).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import nn

from lineact.files import write_whole
from lineact.foundation.corpus import NamedScenes
from lineact.foundation.detection_loss import (
    NOBODY,
    Assignment,
    Predictions,
    Truth,
    assign_many,
    assign_one,
    box_loss,
    score_loss,
    token_targets,
)
from lineact.foundation.tiny_grounding_dino import MEAN, START_LOGIT, STD, TRAINED_WH, frozen_copy, thaw
from lineact.foundation.words import CLS, CONCEPTS, FULL_STOP, PADDING, SEP, Prompt, covered_names, random_prompt

if TYPE_CHECKING:
    from transformers import GroundingDinoForObjectDetection

PROPOSALS_PER_BOX, QUERIES_PER_BOX = 8, 4
SAVED_EVERY_S = 30.0
EVERYTHING = Prompt(
    tuple(concept.phrases[0] for concept in CONCEPTS), tuple(tuple(covered_names(concept)) for concept in CONCEPTS)
)
LEAST_KEPT = 0.35  # of a box's area, when a picture is cut


@dataclass(frozen=True)
class GroundingRun:
    """How the detector is trained.

    Attributes:
        steps: optimiser steps in all.
        decay_steps: last steps, in which the learning rate falls to zero.
        batch: pictures per step.
        learning_rate: AdamW's.
        seed: order of pictures, prompts and changes, and initial weights.
    """

    steps: int
    decay_steps: int
    batch: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Batch:
    """Pictures with prompts.

    Attributes:
        pixels: float32, B x 3 x H x W, normalised.
        input_ids: int64, B x L.
        attention_mask: int64, B x L; 0 for padding.
        truths: B: what the prompt asks for.
        things: B: all that is in view, with concepts in place of tokens.
    """

    pixels: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    truths: list[Truth]
    things: list[Truth]


class ThingHead(nn.Module):
    """Names every thing from the encoder's features, asked for or not; thrown away after the training.

    A prompt asks for one or two of a picture's things: alone it would teach the features too slowly.
    """

    def __init__(self, width: int) -> None:
        """Makes the classifier for features of this width, with low scores."""
        super().__init__()
        self.classify = nn.Linear(width, len(CONCEPTS))
        nn.init.constant_(self.classify.bias, START_LOGIT)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits per concept, B x N x len(CONCEPTS), of features B x N x width."""
        return self.classify(features)


def train_grounding_dino(
    model: "GroundingDinoForObjectDetection", tokenizer: Any, scenes: NamedScenes, run: GroundingRun, checkpoint: Path
) -> "GroundingDinoForObjectDetection":
    """Trains; goes on from the checkpoint where there is one.

    Args:
        model: from `new_grounding_dino`; its backbone's normalisation is thawed.
        tokenizer: its words.
        scenes: the corpus.
        run: settings.
        checkpoint: file for what must survive a kill.

    Returns:
        The moving average of the weights as a new model in evaluation mode, which is what to keep.
    """
    thaw(model)
    head = ThingHead(model.config.d_model)
    both = nn.ModuleDict({"detector": model, "head": head})
    average = {name: value.clone() for name, value in model.state_dict().items()}
    decayed = [parameter for parameter in both.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in both.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=run.learning_rate, betas=(0.9, 0.99))
    done = _resume(both, average, optimiser, checkpoint)
    model.train()
    began, told, losses = time.monotonic(), time.monotonic(), []
    for step in range(done, run.steps):
        rate = min(1.0, (step + 1) / 100, (run.steps - step) / max(run.decay_steps, 1))
        for group in optimiser.param_groups:
            group["lr"] = run.learning_rate * rate
        parts = detection_losses(model, head, make_batch(scenes, tokenizer, run, step))
        loss = torch.stack(list(parts.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 2.0)
        optimiser.step()
        _follow(average, model, min(0.998, (step + 1) / (step + 20)))
        losses.append([part.item() for part in parts.values()])
        if time.monotonic() - told > SAVED_EVERY_S or step + 1 == run.steps:
            speed = (step + 1 - done) / (time.monotonic() - began)
            means = ", ".join(f"{name} {mean:.3f}" for name, mean in zip(parts, np.mean(losses, 0), strict=True))
            print(f"grounding_dino: step {step + 1}/{run.steps}, {means}, {speed:.2f} steps/s", flush=True)
            told, losses = time.monotonic(), []
            if step < run.steps - run.decay_steps:  # a longer run starts from before the decay
                state = {"model": both.state_dict(), "average": average, "step": step + 1}
                state["optimiser"] = optimiser.state_dict()
                write_whole(checkpoint, partial(torch.save, state))
    return frozen_copy(average)


def detection_losses(
    model: "GroundingDinoForObjectDetection", head: ThingHead, batch: Batch
) -> dict[str, torch.Tensor]:
    """Losses of scores and boxes at the encoder (of all things, and of those asked for) and at each decoder layer."""
    with torch.autocast("cpu", torch.bfloat16):
        output = model.model(batch.pixels, batch.input_ids, attention_mask=batch.attention_mask, return_dict=True)
        length = batch.input_ids.shape[1]
        proposals = output.enc_outputs_coord_logits.float().sigmoid()
        things = head(output.encoder_last_hidden_state_vision)
        stages = {"encoder": (output.enc_outputs_class, proposals)}
        reference = output.init_reference_points
        for layer in range(len(model.bbox_embed)):
            hidden = output.intermediate_hidden_states[:, layer]
            logits = model.class_embed[layer](
                hidden, output.encoder_last_hidden_state_text, batch.attention_mask.bool()
            )
            moved = model.bbox_embed[layer](hidden).float() + torch.special.logit(reference.float(), eps=1e-5)
            stages[f"layer{layer}"] = (logits, moved.sigmoid())
            reference = output.intermediate_reference_points[:, layer]
    centres = _centres(batch.pixels.shape[-2:], len(output.enc_outputs_class[0]))
    losses = _stage_losses("things", things.float(), proposals, batch.things, False, centres)
    for name, (logits, boxes) in stages.items():
        last = name == f"layer{len(model.bbox_embed) - 1}"
        losses |= _stage_losses(name, logits[:, :, :length].float(), boxes, batch.truths, last, centres)
    return losses


def _stage_losses(
    name: str, logits: torch.Tensor, boxes: torch.Tensor, truths: list[Truth], last: bool, centres: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Losses of one stage, per true box of the batch.

    Args:
        name: "things", "encoder" or "layer<n>".
        logits: B x N x L.
        boxes: B x N x 4.
        truths: B.
        last: whether each thing shall be said once.
        centres: of the encoder's cells.
    """
    targets, rows, wanted, weights = [], [], [], []
    for row, truth in enumerate(truths):
        found = Predictions(logits[row].detach(), boxes[row].detach())
        said, placed = _assign(name in ("things", "encoder"), last, found, truth, centres)
        targets.append(token_targets(truth, said))
        own = (placed.owner != NOBODY).nonzero()[:, 0]
        rows.append(own + row * boxes.shape[1])
        wanted.append(truth.boxes[placed.owner[own]])
        weights.append(placed.quality[own])
    target, weight = torch.stack(targets), torch.cat(weights)
    asked = boxes.flatten(0, 1)[torch.cat(rows)]
    return {
        f"{name} score": score_loss(logits, target) / target.amax(2).sum().clamp(min=1),
        f"{name} box": box_loss(asked, torch.cat(wanted), weight) / weight.sum().clamp(min=1),
    }


def _assign(
    from_grid: bool, says_once: bool, found: Predictions, truth: Truth, centres: torch.Tensor
) -> tuple[Assignment, Assignment]:
    """Who answers for a box with its score, and who with its place."""
    if from_grid:
        many = assign_many(found, truth, PROPOSALS_PER_BOX, centres)
        return many, many
    many = assign_many(found, truth, QUERIES_PER_BOX)
    return (assign_one(found, truth) if says_once else many), many


def _centres(size_hw: Sequence[int], count: int) -> torch.Tensor:
    """Centres of the proposals' cells as shares of the picture, N x 2 (x, y), finest level first."""
    parts = []
    for stride in (8, 16, 32):
        rows, columns = -(-size_hw[0] // stride), -(-size_hw[1] // stride)
        ys, xs = (torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns
        parts.append(torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], -1).reshape(-1, 2))
    centres = torch.cat(parts)
    assert len(centres) == count, "the backbone's strides are 8, 16 and 32"
    return centres


def make_batch(scenes: NamedScenes, tokenizer: Any, run: GroundingRun, step: int) -> Batch:
    """The pictures and prompts of a step."""
    generator = np.random.default_rng([run.seed, step])
    size_wh = TRAINED_WH[step % len(TRAINED_WH)]
    pixels, tokens, asked = [], [], []
    for index in generator.integers(0, len(scenes), run.batch):
        image, names, boxes = _changed(*scenes.scene(int(index)), generator)
        pixels.append(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA))
        prompt = random_prompt(generator, names)
        tokens.append(prompt_tokens(prompt, tokenizer))
        asked.append((names, boxes / np.tile([image.shape[1], image.shape[0]], 2), prompt))
    length = max(len(ids) for ids, _ in tokens)
    input_ids = torch.full((run.batch, length), PADDING)
    for row, (ids, _) in enumerate(tokens):
        input_ids[row, : len(ids)] = torch.tensor(ids)
    scaled = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255  # B x 3 x H x W
    normalised = (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    truths = [make_truth(*one, owners, length) for one, (_, owners) in zip(asked, tokens, strict=True)]
    concepts = list(range(len(CONCEPTS)))
    things = [make_truth(names, boxes, EVERYTHING, concepts, len(concepts)) for names, boxes, _ in asked]
    return Batch(normalised, input_ids, (input_ids != PADDING).long(), truths, things)


def prompt_tokens(prompt: Prompt, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids of a prompt, as the tokenizer gives them for its text, and the phrase that each belongs to, else -1."""
    ids, owners = [CLS], [-1]
    for number, phrase in enumerate(prompt.phrases):
        own = tokenizer(phrase, add_special_tokens=False)["input_ids"]
        ids += [*own, FULL_STOP]
        owners += [*([number] * len(own)), -1]
    return [*ids, SEP], [*owners, -1]


def make_truth(names: np.ndarray, boxes_xyxy: np.ndarray, prompt: Prompt, owners: list[int], length: int) -> Truth:
    """The boxes that a prompt asks for, each with all tokens of all phrases that cover it.

    Args:
        names: indices into NAMES, n.
        boxes_xyxy: n x 4, shares of the picture.
        prompt: what is asked.
        owners: each token's phrase.
        length: of the padded prompt.
    """
    covers = np.zeros((len(names), len(prompt.names)), bool)  # thing, phrase
    for phrase, covered in enumerate(prompt.names):
        covers[:, phrase] = np.isin(names, covered)
    wanted = covers.any(1)
    corners = torch.from_numpy(boxes_xyxy[wanted]).float().reshape(-1, 4)
    boxes = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    tokens = torch.zeros(len(boxes), length, dtype=torch.bool)
    for token, phrase in enumerate(owners):
        if phrase >= 0:
            tokens[:, token] = torch.from_numpy(covers[wanted, phrase])
    return Truth(boxes, tokens)


def _changed(
    image: np.ndarray, names: np.ndarray, boxes: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut, mirrored and coloured otherwise; what is mostly cut off is left out."""
    height, width = image.shape[:2]
    boxes = boxes.copy()
    if generator.random() < 0.5:
        share = generator.uniform(0.75, 1.0)
        wide, high = round(width * share), round(height * share)
        left, top = int(generator.integers(0, width - wide + 1)), int(generator.integers(0, height - high + 1))
        image = image[top : top + high, left : left + wide]
        whole = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        boxes = np.clip(boxes - np.array([left, top] * 2), 0, np.array([wide, high] * 2)).astype(np.float32)
        kept = (boxes[:, 2:] - boxes[:, :2]).prod(1) > LEAST_KEPT * whole
        names, boxes = names[kept], boxes[kept]
        height, width = high, wide
    if generator.random() < 0.5:
        image, boxes[:, [0, 2]] = image[:, ::-1], width - boxes[:, [2, 0]]
    if generator.random() < 0.5:
        image, boxes[:, [1, 3]] = image[::-1], height - boxes[:, [3, 1]]
    if generator.random() < 0.15:  # another order of the colours is another look
        image = image[:, :, generator.permutation(3)]
    gains = generator.uniform(0.7, 1.25) * generator.uniform(0.92, 1.08, 3)
    pixels = (image * gains).astype(np.float32)
    if generator.random() < 0.5:  # plants are greyer than random colours
        grey = pixels.mean(2, keepdims=True)
        pixels = grey + (pixels - grey) * np.float32(generator.uniform(0.1, 1.0))
    return np.ascontiguousarray(np.clip(pixels, 0, 255)), names, boxes


@torch.no_grad()
def _follow(average: dict[str, torch.Tensor], model: nn.Module, share: float) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - share)
        else:
            average[name].copy_(value)


def _resume(
    model: nn.Module, average: dict[str, torch.Tensor], optimiser: torch.optim.Optimizer, checkpoint: Path
) -> int:
    if not checkpoint.is_file():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    average.update(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
