"""The two networks under either runtime."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from lineact.openvino_core import openvino_core

Runtime = Literal["openvino", "onnxruntime", "tensorrt"]
TENSORRT = "TensorrtExecutionProvider"
Precision = Literal["f32", "bf16", "f16", "int8"]


@dataclass(frozen=True)
class Setup:
    """What runs the networks, and how.

    Attributes:
        runtime: whose graphs are loaded.
        precision: of the arithmetic. The stored weights are f32, but for int8, which has graphs of its own.
        threads: CPU threads.
    """

    runtime: Runtime
    precision: Precision
    threads: int

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, found {self.threads}")

    @property
    def name(self) -> str:
        """E.g. "openvino_bf16_2t"."""
        return f"{self.runtime}_{self.precision}_{self.threads}t"


class Network(Protocol):
    """A loaded network."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 N x H x W x 3 -> float32 output."""


def supported_precisions(runtime: Runtime) -> tuple[Precision, ...]:
    """Precisions in which the runtime computes on this machine, f32 first; none where it is not there at all."""
    if runtime == "onnxruntime":
        return ("f32",)  # other precisions would need other weights
    if runtime == "tensorrt":
        return ("f32", "f16") if _has_tensorrt() else ()
    # Without the instructions OpenVINO takes another precision in silence, so ask first.
    capabilities = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    names = {"f32": "FP32", "bf16": "BF16", "f16": "FP16", "int8": "INT8"}
    return tuple(precision for precision in get_args(Precision) if names[precision] in capabilities)


def at_hand(setup: Setup) -> Setup:
    """The setup itself; where this machine lacks its precision in f32, where it lacks its runtime with OpenVINO."""
    supported = supported_precisions(setup.runtime)
    if setup.precision in supported:
        return setup
    return replace(setup, runtime=setup.runtime if supported else "openvino", precision="f32")


def _has_tensorrt() -> bool:
    try:
        import onnxruntime
    except ImportError:
        return False
    return TENSORRT in onnxruntime.get_available_providers()


def open_network(folder: Path, name: str, setup: Setup) -> Network:
    """Loads one network of a bundle: uint8 N x H x W x 3 -> float32.

    Args:
        folder: the bundle's.
        name: "detector" or "classifier".
        setup: its precision must be one of `supported_precisions`.
    """
    if setup.runtime == "openvino":
        if setup.precision == "int8":  # what is not quantised stays f32
            return _open_with_openvino(folder / f"{name}.int8.xml", "f32", setup.threads)
        return _open_with_openvino(folder / f"{name}.xml", setup.precision, setup.threads)
    providers: list[Any] = ["CPUExecutionProvider"]
    if setup.runtime == "tensorrt":  # what TensorRT has no kernel for runs on the GPU, else on the CPU
        providers = [(TENSORRT, {"trt_fp16_enable": setup.precision == "f16"}), "CUDAExecutionProvider", *providers]
    return _open_with_onnxruntime(folder / f"{name}.onnx", setup.threads, providers)


def _open_with_openvino(path: Path, precision: Precision, threads: int) -> Network:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # else both networks sit on the same core
        "INFERENCE_PRECISION_HINT": precision,  # its own default is bf16 where the CPU has it
    }
    request = openvino_core().compile_model(path, "CPU", settings).create_infer_request()

    def run(images: np.ndarray) -> np.ndarray:
        request.infer({0: images})
        return request.get_output_tensor(0).data.copy()  # the next call overwrites it

    return run


def _open_with_onnxruntime(path: Path, threads: int, providers: list[Any]) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    name = session.get_inputs()[0].name

    def run(images: np.ndarray) -> np.ndarray:
        return session.run(None, {name: images})[0]

    return run
