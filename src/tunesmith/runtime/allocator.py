"""Memory of the CPU that one step frees and the next one asks for again."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
KEPT = 2**30  # bytes


def keep_freed_memory() -> None:
    """Let the process hold up to 1 GiB of memory that it has freed; nothing where libc differs.

    glibc gives large blocks back at once, such as the gradient of the embeddings (47 MB of
    MiniLM), and the kernel clears every page of them again in the next step.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(MMAP_THRESHOLD, KEPT)
        libc.mallopt(TRIM_THRESHOLD, KEPT)
