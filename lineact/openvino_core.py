"""OpenVINO's core, without its hold on signals.

OpenVINO's CPU plugin gives the thread that loads it an alternate signal stack, and frees that stack with its core. Of
two cores freed in the order they came in, the second puts the first one's freed stack back. Python runs its signal
handlers on that stack: the next Ctrl+C, or a child's end, writes to freed memory or ends the process by SIGSEGV.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino


class SignalStack(ctypes.Structure):
    """`stack_t` of Linux: where a thread's signal handlers run; see sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size_bytes", ctypes.c_size_t))


def openvino_core() -> "openvino.Core":
    """A core whose CPU plugin is loaded; this thread's signal stack stays its own."""
    import openvino

    with signal_stack_kept():
        core = openvino.Core()
        core.get_versions("CPU")  # loads the plugin
    return core


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Puts this thread's signal stack back, for what makes cores of its own; on Linux, where the fault is."""
    if sys.platform != "linux":
        yield
        return
    before = signal_stack()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)


def signal_stack() -> SignalStack:
    """This thread's, on Linux."""
    stack = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack
