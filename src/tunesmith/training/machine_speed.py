"""How fast this machine is: matrix products by precision, memory, the disk of the runs."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tunesmith.training.hardware import has_fast_bf16

TOKENS, HIDDEN, INNER = 2048, 768, 3072  # the product that BERT-base spends most time in
SIDE = 8192  # of a square product on a GPU, which a smaller one does not fill
SECONDS = 0.5  # of each measurement
FILE = 1 << 28  # bytes that are written


def product_rates(accelerator: str) -> dict[str, float]:
    """Return the best FLOP/s of a matrix product by precision: 32, 32-medium, bf16, 16.

    32-medium is float32 under `torch.set_float32_matmul_precision("medium")`. bf16 is there
    where the hardware is fast at it, 16 on a GPU.
    """
    rates = {"32": _product_rate(accelerator, torch.float32)}
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        rates["32-medium"] = _product_rate(accelerator, torch.float32)
    finally:
        torch.set_float32_matmul_precision(before)
    if has_fast_bf16(accelerator):
        rates["bf16"] = _product_rate(accelerator, torch.bfloat16)
    if accelerator == "gpu":
        rates["16"] = _product_rate(accelerator, torch.float16)
    return rates


def copy_rate(accelerator: str) -> float:
    """Return the bytes per second that a copy within memory reads and writes."""
    size = (1 << 30) if accelerator == "gpu" else (1 << 28)  # far more than any cache
    source = torch.ones(size, dtype=torch.uint8, device=_device(accelerator))
    target = torch.empty_like(source)
    return 2 * size / _seconds(lambda: target.copy_(source), accelerator)


def write_rate(folder: Path) -> float:
    """Return the bytes per second of one file that is written and flushed to disk (fsync).

    The file is in `folder`, or in the nearest folder above that exists, and is then removed.
    Raises OSError where nothing can be written.
    """
    folder = Path(folder).absolute()
    while not folder.is_dir():
        folder = folder.parent
    part = os.urandom(1 << 20)  # a file system may leave zeros out
    with tempfile.TemporaryFile(dir=folder) as file:
        start = time.perf_counter()
        for _ in range(FILE // len(part)):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
        return FILE / (time.perf_counter() - start)


def _product_rate(accelerator: str, dtype: torch.dtype) -> float:
    rows, inner, columns = (SIDE,) * 3 if accelerator == "gpu" else (TOKENS, HIDDEN, INNER)
    left = torch.randn(rows, inner, device=_device(accelerator)).to(dtype)
    right = torch.randn(columns, inner, device=_device(accelerator)).to(dtype)
    with torch.inference_mode():
        seconds = _seconds(lambda: left @ right.T, accelerator)
    return 2 * rows * inner * columns / seconds


def _seconds(work: Callable[[], object], accelerator: str) -> float:
    """Return the shortest time of what is repeated for SECONDS, after one call to warm up."""
    finish = torch.cuda.synchronize if accelerator == "gpu" else lambda: None
    work()
    finish()
    shortest, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        work()
        finish()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def _device(accelerator: str) -> str:
    return "cuda" if accelerator == "gpu" else "cpu"
