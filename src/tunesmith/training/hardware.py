"""What this machine can run: device, strategy, precision, threads. Asked before anything loads."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tunesmith.errors import MachineError
from tunesmith.runtime.allocator import keep_freed_memory
from tunesmith.runtime.environment import usable_cores, usable_threads, variables


@dataclass(frozen=True)
class Hardware:
    """The choices behind `auto`, made once and recorded with the run."""

    accelerator: str  # cpu, gpu
    devices: int  # on this node
    num_nodes: int
    strategy: str  # auto (one device), ddp, fsdp, deepspeed
    precision: str  # 32, bf16-mixed, 16-mixed
    threads: int  # of each process
    float32_matmul_precision: str = "highest"  # highest, high, medium: torch's own names

    @property
    def processes(self) -> int:
        return self.devices * self.num_nodes


def resolve_hardware(
    accelerator: str,
    devices: int | str,
    num_nodes: int,
    strategy: str,
    precision: str | int,
    threads: int | None,
    float32_matmul_precision: str = "highest",
) -> Hardware:
    """Settle what `auto` means here; refuse in one line what this machine cannot run."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerator == "auto":
        accelerator = "gpu" if gpus else "cpu"
    if accelerator == "gpu" and not gpus:
        raise MachineError(
            "ENV-DEVICE", "trainer.accelerator=gpu", "no GPU is visible", "use trainer=cpu"
        )
    count = (gpus if accelerator == "gpu" else 1) if devices == "auto" else int(devices)
    if accelerator == "gpu" and count > gpus:
        raise MachineError(
            "ENV-DEVICE", f"trainer.devices={count}", f"only {gpus} GPUs are visible"
        )
    if strategy in ("fsdp", "deepspeed") and accelerator == "cpu":
        raise MachineError(
            "ENV-DEVICE", f"trainer.strategy={strategy}", "needs GPUs", "use trainer.strategy=ddp"
        )
    if strategy == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        raise MachineError(
            "ENV-PACKAGE",
            "trainer=deepspeed",
            "not installed",
            "pip install 'tunesmith[deepspeed]'",
        )
    if count * num_nodes > 1 and strategy == "auto":
        strategy = "ddp"
    return Hardware(
        accelerator,
        count,
        num_nodes,
        strategy,
        _precision(str(precision), accelerator),
        threads or usable_threads(usable_cores() // count),
        float32_matmul_precision,
    )


def _precision(requested: str, accelerator: str) -> str:
    if requested == "auto":
        return "bf16-mixed" if _has_fast_bf16(accelerator) else "32"
    if requested == "16-mixed" and accelerator == "cpu":
        raise MachineError(
            "ENV-PRECISION", "trainer.precision=16-mixed", "needs a GPU", "use bf16-mixed or 32"
        )
    if requested == "bf16-mixed" and accelerator == "gpu" and not _has_fast_bf16(accelerator):
        raise MachineError(
            "ENV-PRECISION", "trainer.precision=bf16-mixed", "this GPU has no bf16", "use 16-mixed"
        )
    return requested


def _has_fast_bf16(accelerator: str) -> bool:
    if accelerator == "gpu":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextmanager
def torch_settings(machine: Hardware, deterministic: bool) -> Iterator[None]:
    """Set threads, determinism and float32 products for a run, and put them back after it."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    matmul = torch.get_float32_matmul_precision()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Filling costs time and changes no result.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if machine.accelerator == "cpu":
        keep_freed_memory()
    # Where it is not set, Lightning chooses other threads for ranks, and leaves its choice there.
    with variables({"OMP_NUM_THREADS": str(machine.threads)}):
        torch.set_num_threads(machine.threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_float32_matmul_precision(machine.float32_matmul_precision)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(matmul)
            torch.use_deterministic_algorithms(before)
            torch.set_num_threads(threads)
