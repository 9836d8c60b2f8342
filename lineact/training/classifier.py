"""An action classifier of any family on disk and in memory: `<name>.safetensors` beside `<name>.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from lineact.classifiers.families import build_network
from lineact.classifiers.settings import Family
from lineact.errors import InputError
from lineact.files import write_json, write_whole
from lineact.foundation.timm_config import preprocessing_of
from lineact.foundation.weights import Preprocessing, load_strictly, read_safetensors

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class ClassifierSpec:
    """What a classifier is, apart from its weights.

    Attributes:
        config: timm's hub layout: "architecture", "model_args" (without the number of classes) and "pretrained_cfg".
        labels: class names, in the order of the logits; NG is the last one.
        family: architecture.
        crops: of a strip that it takes, see `lineact.context`; 1 for plain crops.
    """

    config: dict[str, Any]
    labels: tuple[str, ...]
    family: Family = "vit"
    crops: int = 1

    @property
    def preprocessing(self) -> Preprocessing:
        """How crops become the network's input."""
        return preprocessing_of(self.config, "classifier")


def save_classifier(folder: Path, name: str, model: torch.nn.Module, spec: ClassifierSpec) -> None:
    """Writes weights (float32) and description."""
    tensors = {key: _stored(value) for key, value in model.state_dict().items()}
    write_whole(folder / f"{name}.safetensors", lambda temporary: save_file(tensors, temporary, {"format": "pt"}))
    preprocessing = spec.preprocessing
    description = {
        "schema_version": SCHEMA_VERSION,
        "family": spec.family,
        "architecture": spec.config["architecture"],
        "model_args": spec.config.get("model_args") or {},  # timm's own hub folders may leave them out
        "pretrained_cfg": spec.config["pretrained_cfg"],
        "labels": list(spec.labels),
        "side_px": preprocessing.side_px,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
    }
    if spec.crops > 1:
        description["crops"] = spec.crops
    write_json(folder / f"{name}.json", description)


def _stored(value: torch.Tensor) -> torch.Tensor:
    return (value.detach().float() if value.is_floating_point() else value).cpu().contiguous()


def load_classifier(folder: Path, name: str) -> tuple[torch.nn.Module, ClassifierSpec]:
    """Reads what `save_classifier` wrote.

    Returns:
        The model in evaluation mode (float32, CPU) and its description.

    Raises:
        InputError: where a file is missing, broken or of another version.
    """
    import json

    path = folder / f"{name}.json"
    try:
        description = json.loads(path.read_text())
        found = description["schema_version"]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected a classifier's description, found none ({error}); run `dvc repro`"
        ) from error
    if found != SCHEMA_VERSION:
        raise InputError(f"{path}: expected schema version {SCHEMA_VERSION}, found {found}; run `dvc repro`")
    config = {key: description[key] for key in ("architecture", "model_args", "pretrained_cfg")}
    spec = ClassifierSpec(config, tuple(description["labels"]), description["family"], description.get("crops", 1))
    model = build_network(spec.family, config, spec.labels, str(path), spec.crops)
    load_strictly(model, read_safetensors(folder / f"{name}.safetensors"), str(folder))
    return model.eval(), spec


def training_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_unit(images_rgb: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 B x S x S x 3 to float32 B x 3 x S x S, 0 to 1."""
    # A copy: torch refuses maps of files, which cannot be written to.
    return torch.from_numpy(np.array(images_rgb)).to(device).permute(0, 3, 1, 2).float() / 255


def normalise(images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Subtracts the mean and divides by the standard deviation of each channel; B x 3 x S x S."""
    mean = torch.tensor(preprocessing.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / std


def predict_logits(
    model: torch.nn.Module, images_rgb: np.ndarray, preprocessing: Preprocessing, batch_size: int = 128
) -> torch.Tensor:
    """Logits of crops, in evaluation mode.

    Args:
        model: B x 3 x S x S -> B x K; is left in evaluation mode.
        images_rgb: uint8, N x S x S x 3, of the model's side.
        preprocessing: of the model.
        batch_size: crops per call.

    Returns:
        float32, N x K, on the CPU.
    """
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        parts = [
            model(normalise(to_unit(images_rgb[start : start + batch_size], device), preprocessing)).float().cpu()
            for start in range(0, len(images_rgb), batch_size)
        ]
    # A clone outside inference mode may take part in a loss.
    return torch.cat(parts).clone()
