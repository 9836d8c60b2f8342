"""The released pair: a detector of hands and a classifier of actions in one folder, and how a frame goes through them.

The folder holds `manifest.json`, both networks as ONNX and as OpenVINO (there also quantised to int8), samples with the
outputs they must give, and, once it was registered, `provenance.json`.
Both networks take uint8 RGB images, N x H x W x 3; scaling to 0..1 and the classifier's mean and standard deviation
are inside the graphs, so every runtime gets the same bytes. Imports no torch: this is what runs at the station.
"""

from pathlib import Path

from lineact.bundle.manifest import read_manifest
from lineact.bundle.networks import Setup, at_hand, supported_precisions
from lineact.bundle.pair import Bundle
from lineact.bundle.provenance import read_provenance
from lineact.errors import ConfigError


def load_bundle(folder: Path, setup: Setup | None = None) -> Bundle:
    """Loads a bundle after checking every file.

    Args:
        folder: holds manifest.json.
        setup: what runs the networks; None for the one that was released, as the manifest says, or in f32 where this
            machine lacks its precision.

    Raises:
        InputError: where a file is missing or altered, or the manifest is none or too new.
        ConfigError: where this machine or the bundle has no such precision in that runtime.
    """
    manifest = read_manifest(folder)
    read_provenance(folder)
    setup = setup or at_hand(manifest.setup)
    supported = supported_precisions(setup.runtime)
    if setup.precision not in supported:
        raise ConfigError(
            f"{setup.runtime}: expected a precision that this machine has ({', '.join(supported)}), "
            f"found {setup.precision}; release with another `release.setup`"
        )
    if setup.precision == "int8" and not manifest.has_int8:
        raise ConfigError(f"{folder}: expected int8 networks, found none; export with calibration_crops above 0")
    return Bundle(folder, manifest, setup)
