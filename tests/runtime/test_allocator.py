"""Freed memory stays with the process, so that the next step need not have it cleared."""

import platform
import subprocess
import sys

import pytest

# A process of its own: once an allocation has failed while threads ran, glibc gives the thread
# another arena, which returns every block of more than 64 MB at once.
PROGRAM = """
import resource
from tunesmith.runtime.allocator import keep_freed_memory

size = 2**26  # bytes

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b'x' * size
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
keep_freed_memory()
faults()
print(before, faults(), size // resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other ways")
def test_a_large_block_is_put_where_the_last_one_was() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    before, after, pages = map(int, answer.stdout.split())
    assert after < pages / 10 < before
