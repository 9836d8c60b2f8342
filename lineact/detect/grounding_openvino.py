"""Grounding DINO's network on the CPU by OpenVINO, which is faster there than torch.

A network is converted once per prompt and picture size, kept on disk as OpenVINO's own files, and read from there.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch import ConversionExtension
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from transformers.models.grounding_dino import modeling_grounding_dino
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoObjectDetectionOutput
from transformers.utils import logging

from lineact.errors import InputError
from lineact.files import cache_folder, write_whole
from lineact.openvino_core import openvino_core

CODE_VERSION = 1  # raise it where the same model gives another network
LIBRARIES = ("openvino", "torch", "transformers")
NETWORK = "network.xml"  # its weights are beside it, in network.bin


class OpenVinoNetwork:
    """A Grounding DINO asked with one prompt, picture by picture.

    One picture a call takes about as much CPU time as a batch does for each, needs no filling up of a recording's last
    batch, and a picture's boxes cannot depend on its neighbours.
    """

    def __init__(
        self, model: torch.nn.Module, text: Mapping[str, torch.Tensor], weights: str, *, bfloat16: bool
    ) -> None:
        """Converts nothing yet.

        Args:
            model: a GroundingDinoForObjectDetection in float32, on the CPU, whose text encoder has a memory
                (`EncodedOnce`).
            text: its inputs for the prompt, each 1 x L.
            weights: names the model's exact bytes.
            bfloat16: whether to compute in it, instead of float32.
        """
        self._model, self._text, self._weights = model, dict(text), weights
        self._precision = "bf16" if bfloat16 else "f32"
        self._compiled: dict[tuple[int, ...], openvino.CompiledModel] = {}

    def __call__(self, pictures: Sequence[torch.Tensor]) -> GroundingDinoObjectDetectionOutput:
        """Answers as the model itself does, its `logits` and `pred_boxes`.

        Args:
            pictures: float32, each 1 x 3 x H x W, scaled and normalised.

        Raises:
            InputError: where OpenVINO cannot convert or compile the network.
        """
        answers = [self._compiled_for(picture)(picture.numpy(), share_outputs=False) for picture in pictures]
        logits, boxes = (torch.from_numpy(np.concatenate([one[part] for one in answers])) for part in (0, 1))
        return GroundingDinoObjectDetectionOutput(logits=logits, pred_boxes=boxes)

    def _compiled_for(self, picture: torch.Tensor) -> openvino.CompiledModel:
        shape = tuple(picture.shape)
        if shape not in self._compiled:
            settings: dict[str, Any] = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),  # OMP_NUM_THREADS bounds both engines
                "INFERENCE_PRECISION_HINT": self._precision,  # its own default is bf16 where the CPU has it
            }
            path = self._stored(picture)
            with _way_out():
                self._compiled[shape] = openvino_core().compile_model(path, "CPU", settings)
        return self._compiled[shape]

    def _stored(self, picture: torch.Tensor) -> Path:
        """The network for pictures of this size on disk, converted if it is not there yet."""
        key = {
            "weights": self._weights,
            "text": {name: ids.tolist() for name, ids in self._text.items()},
            "shape": list(picture.shape),
            "libraries": {name: version(name) for name in LIBRARIES},
            "code": CODE_VERSION,
        }
        folder = cache_folder("openvino", key)
        if not folder.is_dir():
            height, width = picture.shape[-2:]
            print(f"detect: converting Grounding DINO for OpenVINO, once for pictures of {width}x{height}", flush=True)
            with _way_out():
                network = _converted(self._model, self._text, picture)
            write_whole(folder, lambda temporary: _save(network, temporary))
        return folder / NETWORK


class _AskedOnce(torch.nn.Module):
    """The model with its text as a constant."""

    def __init__(self, model: torch.nn.Module, text: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.model, self.text = model, dict(text)

    def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits, 1 x Q x T, and boxes, 1 x Q x 4."""
        output = self.model(pixel_values=picture, **self.text)
        return output.logits, output.pred_boxes


def _converted(model: torch.nn.Module, text: Mapping[str, torch.Tensor], picture: torch.Tensor) -> openvino.Model:
    """The network in OpenVINO's form. `openvino.convert_model` does the same, slower, and reports home."""
    asked = _AskedOnce(model, text).eval()
    with torch.no_grad(), _quietly():
        asked(picture)  # the text encoder runs here, not in the network
        with constant_text_masks(model, text["input_ids"]):
            traced = torch.jit.trace(asked, picture, check_trace=False)
    front_end = FrontEndManager().load_by_framework("pytorch")
    for operation, rule in OWN_RULES.items():
        front_end.add_extension(ConversionExtension(operation, rule))
    # Named, for OpenVINO keeps no reference to it; without shared memory the network outlives it.
    decoder = TorchScriptPythonDecoder(traced, example_input=(picture,), shared_memory=False)
    network = front_end.convert(front_end.load(decoder))
    network.reshape(list(picture.shape))
    return network


@contextmanager
def constant_text_masks(model: Any, ids: torch.Tensor) -> Iterator[None]:
    """While active, transformers takes the masks of this text as computed before: OpenVINO lacks what computes them.

    Args:
        model: the model.
        ids: the text, 1 x L.
    """
    name = "generate_masks_with_special_tokens_and_transfer_map"
    original = getattr(modeling_grounding_dino, name)
    masks = original(ids, special_tokens=model.model.special_tokens)
    setattr(modeling_grounding_dino, name, lambda *_, **__: masks)
    try:
        yield
    finally:
        setattr(modeling_grounding_dino, name, original)


def _logit(node: Any) -> Any:
    """torch.special.logit, which OpenVINO's converter lacks: log(x / (1 - x)) of x kept off 0 and 1."""
    eps = float(node.get_values_from_const_input(1))
    x = ops.clamp(node.get_input(0), eps, 1 - eps)
    one = ops.constant(1.0, np.float32)
    return ops.log(ops.divide(x, ops.subtract(one, x))).outputs()


OWN_RULES = {"aten::special_logit": _logit}


def _save(network: openvino.Model, folder: Path) -> None:
    folder.mkdir()
    openvino.save_model(network, folder / NETWORK, compress_to_fp16=False)


@contextmanager
def _quietly() -> Iterator[None]:
    """While active, libraries keep quiet about sizes and text becoming constant, which they should."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.set_verbosity(level)


@contextmanager
def _way_out() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the converter raises five classes of its own beside Python's
        raise InputError(
            "Grounding DINO: expected a network that OpenVINO can convert and run, found that it cannot "
            f"({' '.join(str(error).split())}); set detect.grounding_dino.engine to torch"
        ) from error
