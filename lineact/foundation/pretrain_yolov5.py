"""Pretraining of the tiny YOLOv5 on procedural scenes, with ultralytics' own loss."""

import copy
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import nn

from lineact.boxes import iou_matrix
from lineact.files import write_whole

if TYPE_CHECKING:
    from ultralytics.nn.tasks import DetectionModel


@dataclass(frozen=True)
class DetectorRun:
    """How the detector is trained.

    Attributes:
        steps: optimiser steps in all.
        decay_steps: last steps, in which the learning rate falls to zero.
        batch: scenes per step.
        learning_rate: AdamW's.
        seed: order of scenes and their changes.
    """

    steps: int
    decay_steps: int
    batch: int
    learning_rate: float
    seed: int


def train_detector(model: "DetectionModel", scenes: Path, run: DetectorRun, checkpoint: Path) -> nn.Module:
    """Trains in place; goes on from the checkpoint where there is one.

    Args:
        model: from `build_yolov5`.
        scenes: folder with images/ and labels/.
        run: settings.
        checkpoint: file for what must survive a kill.

    Returns:
        The moving average of the weights, which is what to keep.
    """
    from ultralytics.cfg import get_cfg

    model.args = get_cfg()  # type: ignore[assignment]
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=run.learning_rate, weight_decay=5e-4, betas=(0.9, 0.99))
    done = _resume(model, average, optimiser, checkpoint)
    images = sorted((scenes / "images").glob("*.jpg"))
    model.train()
    began, told, losses = time.monotonic(), time.monotonic(), []
    for step in range(done, run.steps):
        rate = min(1.0, (step + 1) / 100, (run.steps - step) / max(run.decay_steps, 1))
        for group in optimiser.param_groups:
            group["lr"] = run.learning_rate * rate
        batch = _batch(images, run, step)
        with torch.autocast("cpu", torch.bfloat16):
            predictions = model.forward(batch["img"])
        parts, _ = model.loss(batch, _as_float(predictions))
        loss = parts.sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        _follow(average, model, min(0.998, (step + 1) / (step + 20)))
        losses.append(loss.item() / run.batch)
        if time.monotonic() - told > 20 or step + 1 == run.steps:
            speed = (step + 1 - done) / (time.monotonic() - began)
            print(f"yolov5: step {step + 1}/{run.steps}, loss {np.mean(losses):.3f}, {speed:.2f} steps/s", flush=True)
            told, losses = time.monotonic(), []
            if step < run.steps - run.decay_steps:  # a longer run starts from before the decay
                state = {"model": model.state_dict(), "average": average.state_dict(), "step": step + 1}
                state["optimiser"] = optimiser.state_dict()
                write_whole(checkpoint, partial(torch.save, state))
    return average


@torch.no_grad()
def hand_recall(model: nn.Module, scenes: Path, count: int, min_score: float = 0.25) -> dict[str, float]:
    """Recall and accuracy (share of predictions on a hand) at IoU 0.4 on the first scenes of a folder."""
    from ultralytics.utils.nms import non_max_suppression

    model.eval()
    found = hands = right = predicted = 0
    for path in sorted((scenes / "images").glob("*.jpg"))[:count]:
        image, boxes = _scene(path)
        height, width = image.shape[:2]
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        answer = non_max_suppression(model(pixels), min_score, 0.5)[0][:, :4].numpy()
        truth = _corners(boxes) * [width, height, width, height]
        overlap = iou_matrix(answer, truth)
        hands, predicted = hands + len(truth), predicted + len(answer)
        found += int((overlap >= 0.4).any(0).sum())
        right += int((overlap >= 0.4).any(1).sum())
    return {"recall_iou40": found / max(hands, 1), "accuracy_iou40": right / max(predicted, 1)}


def _as_float(predictions: object) -> object:
    if isinstance(predictions, torch.Tensor):
        return predictions.float()
    if isinstance(predictions, dict):
        return {name: _as_float(value) for name, value in predictions.items()}
    if isinstance(predictions, list | tuple):
        return type(predictions)(_as_float(value) for value in predictions)
    return predictions


def _scene(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = np.asarray(cv2.imread(str(path)))[:, :, ::-1].copy()
    rows = (path.parent.parent / "labels" / f"{path.stem}.txt").read_text().split()
    return image, np.array(rows, np.float32).reshape(-1, 5)[:, 1:]


def _corners(boxes_cxcywh: np.ndarray) -> np.ndarray:
    half = boxes_cxcywh[:, 2:] / 2
    return np.concatenate([boxes_cxcywh[:, :2] - half, boxes_cxcywh[:, :2] + half], 1)


def _batch(images: list[Path], run: DetectorRun, step: int) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng([run.seed, step])
    pixels, boxes, owners = [], [], []
    for index, number in enumerate(generator.integers(0, len(images), run.batch)):
        image, own = _scene(images[number])
        if generator.random() < 0.5:
            image, own[:, 0] = image[:, ::-1], 1 - own[:, 0]
        if generator.random() < 0.5:
            image, own[:, 1] = image[::-1], 1 - own[:, 1]
        gains = generator.uniform(0.75, 1.2) * generator.uniform(0.9, 1.1, 3)
        if generator.random() < 0.2:  # another order of the colours is another look
            image = image[:, :, generator.permutation(3)]
        pixels.append(np.clip(image * gains, 0, 255).astype(np.float32) / 255)
        boxes.append(own)
        owners += [index] * len(own)
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)))
    count = len(owners)
    return {
        "img": stacked,
        "bboxes": torch.from_numpy(np.concatenate(boxes)),
        "cls": torch.zeros(count, 1),
        "batch_idx": torch.tensor(owners, dtype=torch.float32),
    }


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, share: float) -> None:
    for mine, theirs in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.mul_(share).add_(theirs, alpha=1 - share)
        else:
            mine.copy_(theirs)


def _resume(model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, checkpoint: Path) -> int:
    if not checkpoint.is_file():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
