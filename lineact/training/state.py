"""A training's state on disk: safetensors and JSON only, written whole."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lineact.files import write_json, write_whole

STATE_FILE = "state.safetensors"
SECONDS_FILE = "seconds.json"


@dataclass(frozen=True)
class EpochRecord:
    """One row of curves.csv: no clock times, so that the same training writes the same bytes.

    Attributes:
        epoch: from 1.
        train_loss: mean over batches.
        val_loss: mean over validation crops.
        val_accuracy: 0 to 1.
        val_macro_f1: 0 to 1.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float


@dataclass(frozen=True)
class EpochSeconds:
    """How long an epoch took, apart from its record, which is the same on every machine.

    Attributes:
        training_s: of the passes over the training crops.
        validation_s: of the rest.
    """

    training_s: float
    validation_s: float


def save_seconds(folder: Path, seconds: list[EpochSeconds]) -> None:
    """Writes the epochs' times."""
    write_json(folder / SECONDS_FILE, [dataclasses.asdict(epoch) for epoch in seconds])


def load_seconds(folder: Path) -> list[EpochSeconds]:
    """Reads the epochs' times; empty where there are none yet."""
    path = folder / SECONDS_FILE
    return [EpochSeconds(**epoch) for epoch in json.loads(path.read_text())] if path.exists() else []


def save_weights(path: Path, model: torch.nn.Module) -> None:
    """Writes what training changes: the parameters that require a gradient, and all buffers."""
    write_whole(path, lambda temporary: save_file(_changing(model), temporary))


def load_weights(path: Path, model: torch.nn.Module) -> None:
    """Puts back what `save_weights` wrote, in place.

    Raises:
        ValueError: where the file is of another model.
    """
    _restore(load_file(path), model)


def save_state(
    folder: Path, model: torch.nn.Module, optimiser: torch.optim.Optimizer, history: list[EpochRecord]
) -> None:
    """Writes weights, optimiser and history as one file, so that they always belong together."""
    tensors = {f"model.{name}": value for name, value in _changing(model).items()}
    for index, slots in optimiser.state_dict()["state"].items():
        tensors.update({f"optimiser.{index}.{slot}": value.clone() for slot, value in slots.items()})
    metadata = {"history": json.dumps([dataclasses.asdict(record) for record in history])}
    write_whole(folder / STATE_FILE, lambda temporary: save_file(tensors, temporary, metadata))


def load_state(folder: Path, model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> list[EpochRecord]:
    """Puts back what `save_state` wrote, in place.

    Returns:
        The history; empty where there is no state yet.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return []
    with safe_open(path, "pt") as stream:
        metadata = stream.metadata()
    tensors = load_file(path)
    _restore({name[6:]: value for name, value in tensors.items() if name.startswith("model.")}, model)
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, slot = name.split(".", 2)
            slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})
    return [EpochRecord(**record) for record in json.loads(metadata["history"])]


def finish_once(folder: Path, out: Path, build: Callable[[Path], None]) -> None:
    """Fills `out` with what `build` makes; a second call with the same cache folder only copies.

    DVC empties `out` before a stage runs, so finished work is kept beside it; the state it came from is removed.

    Args:
        folder: the training's cache folder.
        out: the stage's folder.
        build: fills the (new, empty) folder that it is given.
    """
    finished = folder / "finished"

    def build_whole(temporary: Path) -> None:
        temporary.mkdir()
        build(temporary)

    if finished.is_dir():
        print("trained before with the same data, settings and start weights: nothing to do", flush=True)
    else:
        write_whole(finished, build_whole)
    for path in folder.iterdir():
        if path != finished:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_whole(out, lambda temporary: shutil.copytree(finished, temporary))


def _changing(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    tensors = {**parameters, **dict(model.named_buffers())}
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def _restore(tensors: dict[str, torch.Tensor], model: torch.nn.Module) -> None:
    targets = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    expected = set(_changing(model))
    if set(tensors) != expected:
        raise ValueError(f"expected weights {sorted(expected)[:3]}…, found {sorted(tensors)[:3]}…")
    with torch.no_grad():
        for name, value in tensors.items():
            targets[name].copy_(value)
