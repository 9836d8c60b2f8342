"""The one training loop: any task that can say a batch's loss. Killed at any moment, it goes on to the same weights."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lineact.errors import LineactError
from lineact.training.settings import FitParams
from lineact.training.state import (
    EpochRecord,
    EpochSeconds,
    load_seconds,
    load_state,
    save_seconds,
    save_state,
    save_weights,
)

PROGRESS_EVERY_S = 5.0


class TrainingDivergedError(LineactError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Validation:
    """A model on the validation crops.

    Attributes:
        loss: mean loss.
        accuracy: share of right answers, 0 to 1.
        macro_f1: mean F1 over classes, 0 to 1.
    """

    loss: float
    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        batch_loss: part of a batch -> its contribution to the batch's loss, a scalar with its graph.
        batches: epoch (from 0) -> its batches, each in one or more parts whose contributions sum up to the batch's
            loss; must depend on the epoch's number alone, so that a resumed run sees the same ones.
        steps_per_epoch: number of batches of an epoch.
        validate: scores the model as it is.
    """

    batch_loss: Callable[[Any], torch.Tensor]
    batches: Callable[[int], Iterator[Sequence[Any]]]
    steps_per_epoch: int
    validate: Callable[[], Validation]


def fit(
    model: torch.nn.Module, task: Task, params: FitParams, *, seed: int, folder: Path, keep: Mapping[str, int]
) -> list[EpochRecord]:
    """Trains the parameters that require a gradient, until `epochs` or until `patience` runs out.

    After each epoch `folder` holds the whole state. Called again with the same arguments it goes on from there, and
    ends with exactly the weights of an uninterrupted run.

    Args:
        model: in any mode; is left with the weights of the last epoch.
        task: loss, batches and validation.
        params: see `FitParams`.
        seed: of whatever is random in the model, e.g. dropout.
        folder: for the state and the kept weights.
        keep: name -> n: `<folder>/<name>.safetensors` gets the weights of the best of the first n epochs.

    Returns:
        One record per epoch.

    Raises:
        TrainingDivergedError: where a loss is not finite; the state of the last whole epoch stays.
    """
    optimiser = _optimiser(model, params)
    history = load_state(folder, model, optimiser)
    seconds = load_seconds(folder)[: len(history)]
    if history:
        print(f"goes on after epoch {len(history)}", flush=True)
    while not has_stopped(history, params):
        epoch = len(history)
        started_s = time.monotonic()
        # The epoch's number alone decides all that is random in it: nothing to restore on resuming.
        torch.manual_seed(seed * 100_003 + epoch)
        train_loss = _train_epoch(model, task, params, optimiser, epoch)
        trained_s = time.monotonic()
        model.eval()
        with torch.inference_mode():
            validation = task.validate()
        _refuse_not_finite(validation.loss, f"validation after epoch {epoch + 1}", params)
        record = EpochRecord(epoch + 1, train_loss, validation.loss, validation.accuracy, validation.macro_f1)
        history.append(record)
        for name, epochs in keep.items():
            if best_epoch(history[:epochs], params) == epoch + 1:
                save_weights(folder / f"{name}.safetensors", model)
        seconds.append(EpochSeconds(trained_s - started_s, time.monotonic() - trained_s))
        save_seconds(folder, seconds)
        save_state(folder, model, optimiser, history)  # last: without it the epoch is run again
        print(f"{_line(record, params)}, {time.monotonic() - started_s:.1f} s", flush=True)
    return history


def has_stopped(history: list[EpochRecord], params: FitParams) -> bool:
    """Whether epochs or patience have run out."""
    if len(history) >= params.epochs:
        return True
    scores = [_score(record, params)[0] for record in history]
    best = scores.index(max(scores)) if scores else 0
    return len(scores) - 1 - best >= params.patience


def best_epoch(history: list[EpochRecord], params: FitParams) -> int:
    """Number (from 1) of the best epoch; equal scores are told apart by validation loss, then the earlier wins."""
    return max(history, key=lambda record: _score(record, params)).epoch


def learning_rate(step: int, total_steps: int, warmup_steps: int, params: FitParams) -> float:
    """Linear warm-up, then a cosine to `final_lr_share` of the peak (SGDR without restarts).

    Args:
        step: from 0.
        total_steps: of the whole training.
        warmup_steps: of the climb.
        params: for `lr` and `final_lr_share`.
    """
    if step < warmup_steps:
        return params.lr * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    cosine = (1 + math.cos(math.pi * done)) / 2
    return params.lr * (params.final_lr_share + (1 - params.final_lr_share) * cosine)


def _train_epoch(
    model: torch.nn.Module, task: Task, params: FitParams, optimiser: torch.optim.Optimizer, epoch: int
) -> float:
    _start_training_mode(model)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    total_steps, warmup_steps = params.epochs * task.steps_per_epoch, round(params.warmup_epochs * task.steps_per_epoch)
    summed, told_s = 0.0, time.monotonic()
    for index, parts in enumerate(task.batches(epoch)):
        lr = learning_rate(epoch * task.steps_per_epoch + index, total_steps, warmup_steps, params)
        for group in optimiser.param_groups:
            group["lr"] = lr
        optimiser.zero_grad(set_to_none=True)
        value = 0.0
        for part in parts:
            with _precision(model, params):
                loss = task.batch_loss(part)
            value += float(loss.detach())
            _refuse_not_finite(value, f"epoch {epoch + 1}, batch {index + 1}", params)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, params.clip_norm)
        optimiser.step()
        summed += value
        if time.monotonic() - told_s > PROGRESS_EVERY_S:
            told_s = time.monotonic()
            print(f"epoch {epoch + 1}: batch {index + 1} of {task.steps_per_epoch}, loss {value:.4f}", flush=True)
    return summed / task.steps_per_epoch


def _start_training_mode(model: torch.nn.Module) -> None:
    """Training mode; but a frozen BatchNorm keeps its statistics, or its layer would not be frozen at all."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.affine and not _learns(module):
            module.eval()


def _learns(module: torch.nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters(recurse=False))


def _precision(model: torch.nn.Module, params: FitParams) -> AbstractContextManager[object]:
    # Not on the CPU: there bfloat16 is slower than float32 where the instruction set lacks it.
    on_gpu = next(model.parameters()).device.type == "cuda"
    return torch.autocast("cuda", torch.bfloat16) if params.mixed_precision and on_gpu else nullcontext()


def _optimiser(model: torch.nn.Module, params: FitParams) -> torch.optim.Optimizer:
    # Biases, norms and tokens are left out of the decay, as usual for ViTs (timm, DeiT); a patch counts as a token.
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decayed = {name for name, p in trainable if p.ndim == 2 or (p.ndim == 4 and "patch_embed" not in name)}
    groups = [
        {"params": [p for name, p in trainable if name in decayed], "weight_decay": params.weight_decay},
        {"params": [p for name, p in trainable if name not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=params.lr)


def _score(record: EpochRecord, params: FitParams) -> tuple[float, float]:
    if params.stop_on == "epochs":
        return record.epoch, 0.0
    return record.val_macro_f1 if params.stop_on == "val_macro_f1" else -record.val_loss, -record.val_loss


def _refuse_not_finite(loss: float, where: str, params: FitParams) -> None:
    if not math.isfinite(loss):
        raise TrainingDivergedError(
            f"{where}: expected a finite loss, found {loss}; set a lower fit.lr (now {params.lr}) or fit.clip_norm "
            f"(now {params.clip_norm}); the state of the last whole epoch is kept"
        )


def _line(record: EpochRecord, params: FitParams) -> str:
    return (
        f"epoch {record.epoch} of at most {params.epochs}: train loss {record.train_loss:.4f}, "
        f"val loss {record.val_loss:.4f}, accuracy {record.val_accuracy:.4f}, macro F1 {record.val_macro_f1:.4f}"
    )
