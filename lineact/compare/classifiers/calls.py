"""How long one call takes, every choice under the same runtime: OpenVINO, f32, as the products' networks run."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lineact.bundle.networks import Network, Setup, open_network
from lineact.call_time import times_in_turn_ms
from lineact.compare.classifiers.trials import load_trial
from lineact.errors import InputError

SETUP = Setup("openvino", "f32", 2)
CROPS_PER_CALL = 2  # two hands
WARMUP = 5
CALLS = 200
LOGITS_TOLERANCE = 0.001  # greatest difference from PyTorch's logits


@dataclass(frozen=True)
class CallTime:
    """Milliseconds of one call with CROPS_PER_CALL crops, scaling and normalisation included.

    Attributes:
        p50_ms: median.
        p95_ms: so many calls out of a hundred take less.
    """

    p50_ms: float
    p95_ms: float


def time_calls(folders: Mapping[str, Path]) -> dict[str, CallTime]:
    """Exports trained choices and times their calls.

    Args:
        folders: choice -> folder of one of its trials.

    Raises:
        InputError: where an exported network answers differently than PyTorch.
    """
    calls = {choice: _exported(choice, folder) for choice, folder in folders.items()}
    named = [partial(network, crops_rgb) for network, crops_rgb in calls.values()]
    took_ms = times_in_turn_ms(named, CALLS, WARMUP)  # choices x calls
    return {
        choice: CallTime(*map(float, np.percentile(row, (50, 95)))) for choice, row in zip(calls, took_ms, strict=True)
    }


def _exported(choice: str, folder: Path) -> tuple[Network, np.ndarray]:
    """A network that is loaded, and crops to call it with."""
    import torch

    from lineact.export.graphs import ClassifierGraph, write_onnx, write_openvino

    model, spec = load_trial(folder)
    preprocessing = spec.preprocessing
    graph = ClassifierGraph(model, preprocessing.mean, preprocessing.std)
    side_px = preprocessing.side_px
    shape = (CROPS_PER_CALL, spec.crops * side_px, side_px, 3)
    crops_rgb = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "classifier.onnx"
        write_onnx(graph, path, (spec.crops * side_px, side_px), any_batch=True)
        write_openvino(path)
        network = open_network(Path(temporary), "classifier", SETUP)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(crops_rgb)).numpy()
        difference = float(np.abs(network(crops_rgb) - expected).max())
    if difference > LOGITS_TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise InputError(
            f"{choice}: exported, it answers differently by {difference:.2e}, expected at most "
            f"{LOGITS_TOLERANCE:.0e} of the greatest logit; remove {folder} and run the same command again"
        )
    return network, crops_rgb
