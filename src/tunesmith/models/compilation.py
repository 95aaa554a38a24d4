"""torch.compile: kernels made for one model, kept for all runs that share a cache."""

import os
from pathlib import Path

import torch

BACKEND = "inductor"


def compile_forward(model: torch.nn.Module, cache: Path) -> None:
    """Compile the forward and backward pass at their first use; the model's state stays as it is.

    Lengths and batches may vary: they are symbols to the kernels. Results differ from those of
    eager kernels by rounding, and dropout draws otherwise. Kernels are kept in the folder `cache`,
    or where TORCHINDUCTOR_CACHE_DIR says.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    model.compile(backend=BACKEND, dynamic=True)
