"""What a run ran on: versions, processor, threads, precision, git state, and no secrets."""

import functools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from tunesmith.runtime.mask_secrets import mask_arguments

PACKAGES = (
    "tunesmith", "torch", "lightning", "transformers", "tokenizers", "datasets", "numpy",
    "torchmetrics", "safetensors", "hydra-core", "omegaconf", "optuna", "pyarrow", "tensorboard",
)  # fmt: skip
DECISIVE = ("torch", "lightning", "transformers", "numpy")  # another version: other last bits

SETTINGS = ("threads", "processes", "precision", "gpus")

# The only variables that are stored: an environment is full of secrets.
VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "TOKENIZERS_PARALLELISM",
    "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_NTASKS", "SLURM_RESTART_COUNT", "WORLD_SIZE",
)  # fmt: skip
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")


def describe(
    precision: str, threads: int | None = None, processes: int = 1, **seeds: int
) -> dict[str, Any]:
    """Return what belongs into environment.json, as plain values.

    `precision`, `threads` (without it torch's own number) and `processes` are those the run uses.
    """
    import torch

    return {
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores": usable_cores(),
        "threads": threads or torch.get_num_threads(),
        "processes": processes,
        "precision": str(precision),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "git": _first_git_state(Path.cwd()),
        "command": mask_arguments(sys.argv),
        "seeds": seeds,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what breaks the promise of equal bits between two environments, in words."""
    pairs = [(name, _get(old, "packages", name), _get(new, "packages", name)) for name in DECISIVE]
    pairs += [("processor", _get(old, "processor", "model"), _get(new, "processor", "model"))]
    pairs += [(key, old.get(key), new.get(key)) for key in SETTINGS]
    return [f"{name} {_word(a)} -> {_word(b)}" for name, a, b in pairs if a != b]


@functools.cache
def processor() -> dict[str, Any]:
    """Return the processor's model and those of its flags that change the arithmetic."""
    text = _read(Path("/proc/cpuinfo"))
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    return {
        "model": name[1].strip() if name else platform.processor() or platform.machine(),
        "flags": [flag for flag in FLAGS if flag in present],
    }


def usable_cores() -> int:
    """Return how many cores this process may use, which a container or a queue may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def variables(changed: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within the block alone."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def usable_threads(cores: int) -> int:
    """Return how many threads a process with so many cores uses: OMP_NUM_THREADS at most.

    Of a list for nested regions the first counts. A 1 may be torchrun's own, and is no limit then.
    """
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if limit == "1" and "TORCHELASTIC_RUN_ID" in os.environ:
        limit = ""
    limited = min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores
    return max(1, limited)


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit and whether tracked files were changed; None outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changes)}


@functools.cache
def _first_git_state(folder: Path) -> dict[str, Any] | None:
    """Return what `git_state` says at a process's first run: of about then is the code it runs."""
    return git_state(folder)


def _git(folder: Path, *arguments: str) -> str | None:
    # fsmonitor is a program that a repository's config may name: it is not ours to start.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=10, env=environ
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def misfit_versions() -> list[str]:
    """Return the installed packages that are not of the versions which we ask for, in words."""
    from packaging.requirements import Requirement

    asked = [Requirement(line) for line in metadata.requires("tunesmith") or ()]
    return [
        f"{one.name} {version}, and it must be {one.specifier}"
        for one in asked
        if (version := _version(one.name)) and not one.specifier.contains(version, True)
    ]


@functools.cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _get(tree: Mapping[str, Any], key: str, name: str) -> Any:
    branch = tree.get(key)
    return branch.get(name) if isinstance(branch, Mapping) else None


def _word(value: Any) -> str:
    return "none" if value is None or value == [] else str(value)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
