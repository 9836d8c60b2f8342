"""A trained head with all that turns a video's features into segments, as a folder of safetensors and JSON."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lineact.errors import ConfigError, InputError
from lineact.files import write_json, write_whole
from lineact.settings import from_mapping
from lineact.temporal.features import Features
from lineact.temporal.heads.decode import decode
from lineact.temporal.heads.pyramid import Pyramid, padded
from lineact.temporal.heads.targets import points_of
from lineact.temporal.segments import Segments
from lineact.temporal.spec import LocalizerSpec, in_windows
from lineact.temporal.spot.localizer import SpotLocalizer
from lineact.temporal.spot.network import Spot

WINDOW_ROWS = 2048  # longer videos are looked at in windows, so that memory stays the same
MARGIN_ROWS = 256  # at a window's ends, whose segments are the neighbouring window's
SPEC, WEIGHTS = "localizer.json", "localizer.safetensors"


class Localizer:
    """Finds when actions happen.

    Attributes:
        spec: what it is.
        network: trained; in evaluation mode.
    """

    def __init__(self, spec: LocalizerSpec, network: Pyramid) -> None:
        self.spec = spec
        self.network = network

    @torch.inference_mode()
    def segments(self, features: Features) -> Segments:
        """Segments of a video, in falling order of scores.

        Raises:
            InputError: where the features are of another kind than those that it learnt with.
        """
        self.spec.check_width(features)
        return in_windows(features, WINDOW_ROWS, MARGIN_ROWS, self._segments)

    def _segments(self, features: Features) -> Segments:
        network = self.network
        batch, mask = padded([self.spec.rows(features.values)], network.granularity)
        return decode(
            network(batch, mask),
            points_of(batch.shape[1], network.params.levels),
            self.spec.labels,
            features,
            self.spec.decode,
        )


AnyLocalizer = Localizer | SpotLocalizer


def new_localizer(spec: LocalizerSpec) -> AnyLocalizer:
    """A localiser with random weights."""
    if spec.spot is not None:
        return SpotLocalizer(spec, Spot(spec.spot, spec.inputs, len(spec.labels)))
    assert spec.head is not None  # by its own check
    return Localizer(spec, Pyramid(spec.head, spec.inputs, len(spec.labels)))


def save_localizer(folder: Path, localizer: AnyLocalizer) -> None:
    """Writes a localiser into a folder, which is made where it is missing."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in localizer.network.state_dict().items()}
    write_whole(folder / WEIGHTS, partial(save_file, tensors))
    write_json(folder / SPEC, asdict(localizer.spec))


def load_localizer(folder: Path) -> AnyLocalizer:
    """Reads what `save_localizer` wrote.

    Raises:
        InputError: where files are missing or do not fit each other.
    """
    expected = f"{folder}: expected a localiser, {SPEC} and {WEIGHTS}"
    way_out = "train it again with `dvc repro`"
    try:
        spec = from_mapping(LocalizerSpec, json.loads((folder / SPEC).read_text()), str(folder / SPEC))
        localizer = new_localizer(spec)
        localizer.network.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError as error:
        raise InputError(f"{expected}; found no {Path(str(error.filename)).name}; {way_out}") from error
    except (ValueError, RuntimeError, ConfigError, SafetensorError) as error:
        raise InputError(f"{expected}; found something else ({error}); {way_out}") from error
    localizer.network.eval()
    return localizer
