"""Whether the released files answer as the trained networks do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineact.bundle.networks import Runtime, Setup, open_network
from lineact.errors import InputError
from lineact.export import ExportParams

RUNTIMES: tuple[Runtime, ...] = ("openvino", "onnxruntime")  # that every machine has


@dataclass(frozen=True)
class Reference:
    """Real inputs and what PyTorch makes of them.

    Attributes:
        crops_rgb: uint8, N x S x S x 3, at the classifier's input side.
        logits: float32, N x labels.
        frames_rgb: uint8, F x H x W x 3, at the detector's input size.
        outputs: float32, F x (4 + classes) x anchors.
    """

    crops_rgb: np.ndarray
    logits: np.ndarray
    frames_rgb: np.ndarray
    outputs: np.ndarray


def differences(folder: Path, reference: Reference) -> dict[str, float]:
    """Greatest absolute differences between PyTorch and each runtime in f32.

    Args:
        folder: holds the networks' files.
        reference: inputs and PyTorch's outputs.

    Returns:
        `classifier_<runtime>_max_abs_diff` (logits), `detector_<runtime>_scores_max_abs_diff` and
        `detector_<runtime>_boxes_max_abs_diff_px`.
    """
    found = {}
    for runtime in RUNTIMES:
        classifier = open_network(folder, "classifier", Setup(runtime, "f32", 1))
        logits = np.concatenate([classifier(batch) for batch in _batches(reference.crops_rgb)])
        found[f"classifier_{runtime}_max_abs_diff"] = _greatest(logits, reference.logits)
        detector = open_network(folder, "detector", Setup(runtime, "f32", 1))
        outputs = np.concatenate([detector(frame_rgb[None]) for frame_rgb in reference.frames_rgb])
        found[f"detector_{runtime}_boxes_max_abs_diff_px"] = _greatest(outputs[:, :4], reference.outputs[:, :4])
        found[f"detector_{runtime}_scores_max_abs_diff"] = _greatest(outputs[:, 4:], reference.outputs[:, 4:])
    return found


def refuse_differences(found: Mapping[str, float], params: ExportParams) -> None:
    """Fails where a released file answers differently from the trained network.

    Raises:
        InputError: naming the network, the runtime, the difference and the tolerance.
    """
    for name, difference in found.items():
        key = (
            "boxes_tolerance_px" if "boxes" in name else "scores_tolerance" if "scores" in name else "logits_tolerance"
        )
        tolerance = getattr(params, key)
        # Not a number is a difference, too.
        if not difference <= tolerance:
            raise InputError(
                f"{name}: expected at most {tolerance:g} between PyTorch and the exported file, "
                f"found {difference:.3g}; train with a lower learning rate if weights are huge, "
                f"or raise export.{key} if that is good enough"
            )


def _batches(crops_rgb: np.ndarray) -> list[np.ndarray]:
    # Of unequal size: the number of hands varies from frame to frame.
    cuts = [1, 3]
    return [batch for batch in np.split(crops_rgb, [cut for cut in cuts if cut < len(crops_rgb)]) if len(batch)]


def _greatest(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max())
