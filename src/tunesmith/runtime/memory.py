"""How much memory there is for processes of ours, and how much one has taken."""

import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OF_CUDA = 512 * 1024**2  # bytes that CUDA itself holds in each process: torch does not count them


class GpuMemory(NamedTuple):
    """Bytes of a GPU."""

    peak: int  # the most that this process has held, CUDA's own included
    total: int  # of this and no other process: what was free, and what this one holds


def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes that are free for processes of ours: of the machine, or of a container.

    0 where the system does not say.
    """
    free = re.search(r"^MemAvailable:\s+(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    known = [int(free[1]) * 1024] if free else []
    return max(0, min([*known, *_free_of_groups(root)], default=0))


def _free_of_groups(root: Path) -> Iterator[int]:
    """Yield what each control group of this process has left; pages of files are given back."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, kinds, group = line.split(":", 2)
        if kinds == "":  # version 2
            home, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif kinds == "memory":
            home = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        for folder in {home, home / group.lstrip("/")}:
            limit, used = _read(folder / names[0]).strip(), _read(folder / names[1]).strip()
            files = re.search(rf"^{names[2]} (\d+)", _read(folder / "memory.stat"), re.MULTILINE)
            if limit.isdecimal() and used.isdecimal():
                yield int(limit) - int(used) + (int(files[1]) if files else 0)


def peak_memory() -> int:
    """Return the most memory that this process has ever held, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def gpu_memory() -> GpuMemory | None:
    """Return the memory of the GPU that this process computes on; None where it uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    free, _ = torch.cuda.mem_get_info()
    held = torch.cuda.memory_reserved()
    return GpuMemory(torch.cuda.max_memory_reserved() + OF_CUDA, free + held + OF_CUDA)


def release_memory() -> None:
    """Give back what a training has left: cycles of objects, and what torch keeps of a GPU.

    The next one's peak on the GPU counts from here.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
