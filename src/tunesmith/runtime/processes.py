"""Processes of ours: they leave Ctrl-C to the one that started them, and do not outlive it."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def die_with_parent() -> None:
    """Ignore Ctrl-C, which reaches every process of a terminal; on Linux end as the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextmanager
def exit_on_sigterm(exit_code: int, record: Callable[[], None]) -> Iterator[None]:
    """At a SIGTERM call `record`, which says what was stopped, and leave with `exit_code`.

    For where there is no step to wait for: before the first and after the last. Nothing is
    raised: inside an import, a destructor or a library's `except:` it could be swallowed or
    printed. What is left behind is no more than after a SIGKILL.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def leave(number: int, frame: Any) -> None:
        try:
            if os.getpid() == owner:  # not a forked loader process
                record()
        finally:
            os._exit(exit_code)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
