"""The int8 variants of the networks: quantised after training (NNCF), calibrated on the line's own data."""

import contextlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineact.export.graphs import save_openvino
from lineact.openvino_core import openvino_core, signal_stack_kept


@dataclass(frozen=True)
class Calibration:
    """What shows the ranges of activations.

    Attributes:
        crops_rgb: uint8, S x S x 3 each, at the classifier's input side.
        frames_rgb: uint8, H x W x 3 each, at the detector's input size.
    """

    crops_rgb: Sequence[np.ndarray]
    frames_rgb: Sequence[np.ndarray]


def write_int8(folder: Path, calibration: Calibration) -> None:
    """Writes `<network>.int8.xml` and .bin beside the f32 ones.

    Args:
        folder: the bundle's; holds both networks for OpenVINO.
        calibration: see `Calibration`.
    """
    _quantise(folder, "detector", calibration.frames_rgb, transformer=False)
    _quantise(folder, "classifier", calibration.crops_rgb, transformer=True)


def _quantise(folder: Path, name: str, images_rgb: Sequence[np.ndarray], *, transformer: bool) -> None:
    os.environ["NNCF_CI"] = "1"  # else it reports its use over the network
    import nncf

    nncf.set_log_level("ERROR")
    model = openvino_core().read_model(folder / f"{name}.xml")
    with signal_stack_kept(), contextlib.redirect_stdout(io.StringIO()):  # bars, which no log can show
        quantised = nncf.quantize(
            model,
            nncf.Dataset([image_rgb[None] for image_rgb in images_rgb]),
            preset=nncf.QuantizationPreset.MIXED,  # activations may be asymmetric, as after SiLU and GELU
            subset_size=len(images_rgb),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        )
    save_openvino(quantised, folder / f"{name}.int8.xml")
