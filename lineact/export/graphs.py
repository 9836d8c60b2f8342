"""The networks as they are released: uint8 images in, scaling and normalisation inside, ONNX and OpenVINO files out."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lineact.openvino_core import openvino_core

if TYPE_CHECKING:
    from ultralytics.nn.tasks import DetectionModel

OPSET = 18


class DetectorGraph(torch.nn.Module):
    """YOLOv5 with its input scaled and its boxes decoded.

    uint8 1 x H x W x 3 (RGB) -> float32 1 x (4 + classes) x anchors: x1, y1, x2, y2 in pixels of the input, then scores
    0 to 1. Suppression of overlapping boxes stays outside: runtimes differ in it.
    """

    def __init__(self, model: "DetectionModel") -> None:
        super().__init__()
        layers: Any = model.model
        head = layers[-1]
        head.export, head.format, head.xyxy = True, "onnx", True
        self.model = model
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.model(images.permute(0, 3, 1, 2).float() / 255)  # 1 x (4 + classes) x anchors


class ClassifierGraph(torch.nn.Module):
    """A classifier with its input scaled and normalised: uint8 N x S x S x 3 (RGB) -> float32 N x labels (logits)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: torch.nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.eval()

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.model((crops.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std)  # N x labels


def write_onnx(graph: torch.nn.Module, path: Path, input_hw: tuple[int, int], *, any_batch: bool) -> None:
    """Writes a graph as ONNX; the same graph gives the same bytes.

    Args:
        graph: uint8 N x H x W x 3 -> one output.
        path: of the .onnx file.
        input_hw: height and width of its input.
        any_batch: whether N is free; 1 otherwise.
    """
    # Two of them, so that tracing cannot take the batch for a constant.
    images = torch.zeros((2 if any_batch else 1, *input_hw, 3), dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        graph(images)  # YOLOv5 makes its grid of anchors on the first pass: on later ones it is a constant
        warnings.simplefilter("ignore")  # timm's shape assertions are constants here; the tracer says so each time
        torch.onnx.export(
            graph,
            (images,),
            str(path),
            input_names=["images"],
            output_names=["output"],
            opset_version=OPSET,
            dynamic_axes={"images": {0: "batch"}, "output": {0: "batch"}} if any_batch else None,
            # The newer exporter writes source paths of this machine into the file, so bytes would differ elsewhere.
            dynamo=False,
        )


def write_openvino(onnx_path: Path) -> None:
    """Converts an ONNX file to OpenVINO's .xml and .bin beside it, in f32; the same file gives the same bytes."""
    save_openvino(openvino_core().read_model(onnx_path), onnx_path.with_suffix(".xml"))


def save_openvino(model: Any, path: Path) -> None:
    """Writes an OpenVINO model as it is, uncompressed.

    Args:
        model: an `openvino.Model`.
        path: of the .xml; the .bin comes beside it.
    """
    import openvino

    # Nodes are named by a counter of the process, which would make the bytes depend on what was converted before.
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{index}")
    openvino.save_model(model, path, compress_to_fp16=False)
