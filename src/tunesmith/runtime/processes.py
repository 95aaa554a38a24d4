"""Processes of ours: they leave Ctrl-C to the one that started them, and do not outlive it."""

import ctypes
import signal
import sys


def die_with_parent() -> None:
    """Ignore Ctrl-C, which reaches every process of a terminal; on Linux end as the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
