"""The released pair: a detector of hands and a classifier of actions in one folder, and how a frame goes through them.

The folder holds `manifest.json`, both networks as ONNX and as OpenVINO, and samples with the outputs they must give.
Both networks take uint8 RGB images, N x H x W x 3; scaling to 0..1 and the classifier's mean and standard deviation
are inside the graphs, so every runtime gets the same bytes. Imports no torch: this is what runs at the station.
"""

from pathlib import Path

from lineact.bundle.manifest import read_manifest
from lineact.bundle.networks import Precision, Runtime, supported_precisions
from lineact.bundle.pair import Bundle
from lineact.errors import ConfigError


def load_bundle(
    folder: Path, runtime: Runtime = "openvino", *, precision: Precision = "f32", threads: int = 1
) -> Bundle:
    """Loads a bundle after checking every file.

    Args:
        folder: holds manifest.json.
        runtime: what runs the networks.
        precision: of the arithmetic; the stored weights are f32 always.
        threads: CPU threads of the runtime.

    Raises:
        InputError: where a file is missing or altered, or the manifest is none.
        ConfigError: where this machine has no such precision in that runtime.
    """
    if precision not in supported_precisions(runtime):
        found = ", ".join(supported_precisions(runtime))
        raise ConfigError(f"{runtime}: expected a precision that this machine has ({found}), found {precision}")
    return Bundle(folder, read_manifest(folder), runtime, precision, threads)
