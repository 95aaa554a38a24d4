"""What this machine can run: device, strategy, precision, threads. Asked before anything loads."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

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
    # Of each choice, in words: `tunesmith doctor` shows them.
    reasons: Mapping[str, str] = field(default_factory=dict)

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
    reasons: dict[str, str] = {}
    accelerator, reasons["accelerator"] = _accelerator(accelerator, gpus)
    count, reasons["devices"] = _devices(devices, accelerator, gpus)
    strategy, reasons["strategy"] = _strategy(strategy, accelerator, count * num_nodes)
    precision, reasons["precision"] = _precision(str(precision), accelerator)
    threads, reasons["threads"] = _threads(threads, count)
    choices = (accelerator, count, num_nodes, strategy, precision, threads)
    return Hardware(*choices, float32_matmul_precision, reasons)


# Each choice, with its reason


def _accelerator(requested: str, gpus: int) -> tuple[str, str]:
    if requested == "gpu" and not gpus:
        raise MachineError(
            "ENV-DEVICE", "trainer.accelerator=gpu", "no GPU is visible", "use trainer=cpu"
        )
    if requested == "auto":
        return ("gpu", f"{gpus} GPUs are visible") if gpus else ("cpu", "no GPU is visible")
    unused = f", though {gpus} GPUs are visible" if requested == "cpu" and gpus else ""
    return requested, f"trainer.accelerator={requested}{unused}"


def _devices(requested: int | str, accelerator: str, gpus: int) -> tuple[int, str]:
    if requested == "auto":
        return (gpus, "all visible GPUs") if accelerator == "gpu" else (1, "one CPU process")
    count = int(requested)
    if accelerator == "gpu" and count > gpus:
        raise MachineError(
            "ENV-DEVICE", f"trainer.devices={count}", f"only {gpus} GPUs are visible"
        )
    unused = f" of {gpus} visible GPUs" if accelerator == "gpu" else ""
    return count, f"trainer.devices={count}{unused}"


def _strategy(requested: str, accelerator: str, processes: int) -> tuple[str, str]:
    if requested in ("fsdp", "deepspeed") and accelerator == "cpu":
        raise MachineError(
            "ENV-DEVICE", f"trainer.strategy={requested}", "needs GPUs", "use trainer.strategy=ddp"
        )
    if requested == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        raise MachineError(
            "ENV-PACKAGE",
            "trainer=deepspeed",
            "not installed",
            "pip install 'tunesmith[deepspeed]'",
        )
    if requested != "auto":
        return requested, f"trainer.strategy={requested}"
    if processes > 1:
        return "ddp", f"{processes} processes average their gradients"
    return "auto", "one device has nothing to share"


def _precision(requested: str, accelerator: str) -> tuple[str, str]:
    fast = has_fast_bf16(accelerator)
    if requested == "auto":
        if fast:
            return "bf16-mixed", f"this {accelerator.upper()} is fast at bf16"
        return "32", f"this {accelerator.upper()} is not fast at bf16"
    if requested == "16-mixed" and accelerator == "cpu":
        raise MachineError(
            "ENV-PRECISION", "trainer.precision=16-mixed", "needs a GPU", "use bf16-mixed or 32"
        )
    if requested == "bf16-mixed" and accelerator == "gpu" and not fast:
        raise MachineError(
            "ENV-PRECISION", "trainer.precision=bf16-mixed", "this GPU has no bf16", "use 16-mixed"
        )
    slower = "; auto is bf16-mixed here, and faster" if requested == "32" and fast else ""
    return requested, f"trainer.precision={requested}{slower}"


def _threads(requested: int | None, processes: int) -> tuple[int, str]:
    if requested is not None:
        return requested, f"trainer.num_threads={requested}"
    cores = usable_cores()
    share = cores // processes
    threads = usable_threads(share)
    if threads < share:
        return threads, f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}, of {cores} usable cores"
    if processes > 1:
        return threads, f"{cores} usable cores are shared by {processes} processes"
    return threads, f"all {cores} usable cores"


def fused_optimizer(requested: bool | None, precision: str) -> tuple[bool | None, str]:
    """Return `optimizer.fused` as a run of this precision uses it, and why."""
    if requested and precision == "16-mixed":
        return None, "16-mixed: a fused step unscales gradients after they were clipped"
    if requested is None:
        return None, "optimizer.fused=null: torch decides"
    return requested, f"optimizer.fused={str(requested).lower()}"


def has_fast_bf16(accelerator: str) -> bool:
    """Say whether this machine has instructions for bf16, and does not emulate it."""
    if accelerator == "gpu":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextmanager
def torch_settings(machine: Hardware, deterministic: bool) -> Iterator[None]:
    """Set threads, determinism and float32 products for a run, and put them back after it."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    matmul = torch.get_float32_matmul_precision()
    memory: Any = torch.utils.deterministic
    fills = memory.fill_uninitialized_memory
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        memory.fill_uninitialized_memory = False  # which costs time and changes no result
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
            memory.fill_uninitialized_memory = fills
            torch.set_float32_matmul_precision(matmul)
            torch.use_deterministic_algorithms(before)
            torch.set_num_threads(threads)
