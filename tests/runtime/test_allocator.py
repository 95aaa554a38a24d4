"""Freed memory stays with the process, so that the next step need not have it cleared."""

import platform
import resource

import pytest
import torch

from tunesmith.runtime.allocator import keep_freed_memory

PAGES = 64 * 2**20 // resource.getpagesize()


def faults() -> int:
    """Return how many pages the kernel clears for a tensor of 64 MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other ways")
def test_a_large_tensor_is_put_where_the_last_one_was() -> None:
    keep_freed_memory()
    faults()
    assert faults() < PAGES / 10
