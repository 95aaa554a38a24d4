"""Importing torch and what stands on it: most of the time that a short run takes."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def gc_paused_for_import() -> Iterator[None]:
    """Keep the garbage collector away from what is imported, now and for as long as this lives.

    It would walk a million objects again and again and find nothing: 1.7 of the 14 s that a run
    takes to its first step. Does nothing where torch is imported already.
    """
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
