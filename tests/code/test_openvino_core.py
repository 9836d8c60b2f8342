"""OpenVINO takes no signal stack away, however its cores come and go."""

import gc
import sys

import numpy as np
import pytest

from lineact.openvino_core import openvino_core, signal_stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signal stacks are kept where the fault was seen")


def where() -> tuple[int | None, int, int]:
    stack = signal_stack()
    return stack.address, stack.flags, stack.size_bytes


def test_cores_leave_the_signal_stack_alone():
    before = where()
    first, second = openvino_core(), openvino_core()
    assert where() == before
    del first
    gc.collect()
    del second
    gc.collect()
    assert where() == before


def test_a_core_computes():
    import openvino
    from openvino import opset13 as ops

    numbers = ops.parameter([2], np.float32)
    model = openvino.Model([ops.add(numbers, ops.constant(np.ones(2, np.float32)))], [numbers])
    compiled = openvino_core().compile_model(model, "CPU")
    assert compiled(np.array([1.0, 2.0], np.float32))[0].tolist() == [2.0, 3.0]
