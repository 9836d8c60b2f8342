"""Processes that end with the one that started them, even with kill -9."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1  # of Linux: the signal that a process gets when its parent ends


def end_with_parent() -> None:
    """Has this process get SIGTERM when its parent ends; call in its main thread. Elsewhere than on Linux nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
