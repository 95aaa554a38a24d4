"""Checkpoint files: written whole or not at all, hashed, read without executing anything."""

import json
import os
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tunesmith.errors import MachineError, ModelError, SafetyError
from tunesmith.runtime.atomic_files import HashedFile, sha256, written_whole

MANIFEST = "manifest.json"
ALL = ("last.ckpt", "previous.ckpt", "best.ckpt")


def write(path: Path, fill: Callable[[Any], object]) -> str:
    """Write a file under a temporary name, flush it to the disk, then give it its name.

    Returns its SHA-256. Raises MachineError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary, HashedFile(temporary) as file:
            fill(file)
    except (OSError, RuntimeError) as error:
        below = error.__context__  # torch.save reports a full disk as "unexpected pos"
        reason = below if isinstance(below, OSError) else error
        raise MachineError("ENV-DISK", str(path), f"cannot be written: {reason}") from error
    return file.digest()


def read(path: Path) -> dict[str, Any]:
    """Load a checkpoint: tensors, numbers, strings, lists and dicts only."""
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "").lower() in ("1", "y", "yes", "true"):
        raise SafetyError(
            "UNSAFE-ENV",
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
            "is set",
            "unset it to load a checkpoint",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other formats; what matters is raised
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        from tunesmith.models.untrusted_files import refuse_pickle

        refuse_pickle(path)
        raise ModelError("CKPT-CORRUPT", str(path), "not a checkpoint") from error
    except MemoryError:
        raise
    except Exception as error:  # a pickle that is none raises whatever its bytes lead to
        raise ModelError("CKPT-CORRUPT", str(path), f"cannot be read: {error}") from error
    if not _is_of_a_run(loaded):
        raise ModelError("CKPT-CORRUPT", str(path), "not a checkpoint of a run")
    return loaded


def _is_of_a_run(loaded: Any) -> bool:
    kinds = {"state_dict": dict, "callbacks": dict, "global_step": int}
    return isinstance(loaded, dict) and all(
        isinstance(loaded.get(name), kind) for name, kind in kinds.items()
    )


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the hash, size and step of each checkpoint file by its name, as they were recorded."""
    return json.loads((folder / MANIFEST).read_text())


def write_manifest(folder: Path, known: Mapping[str, Any]) -> None:
    """Record the hash, size and step of each named checkpoint file, after they are in place."""
    text = json.dumps(known, indent=2, sort_keys=True).encode()
    write(folder / MANIFEST, lambda file: file.write(text))


def keep_only(folder: Path, keep: str) -> None:
    """Remove the checkpoints of a run that needs none to go on: all but best.ckpt, or that too.

    `keep` is all, best or none.
    """
    names = {"all": ALL, "best": ("best.ckpt",), "none": ()}[keep]
    if names == ALL:
        return
    known = read_manifest(folder)
    write_manifest(folder, {name: entry for name, entry in known.items() if name in names})
    for name in ALL:
        if name not in names:
            (folder / name).unlink(missing_ok=True)


def is_intact(path: Path) -> bool:
    """Return whether the manifest in its folder has the hash of this file."""
    try:
        known = read_manifest(path.parent)
        return path.is_file() and sha256(path) in {entry["sha256"] for entry in known.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def newest_intact(folder: Path, log: Callable[..., None]) -> Path | None:
    """Return the newest checkpoint to go on from: last, else the one before, else None."""
    for name in ("last.ckpt", "previous.ckpt"):
        if is_intact(folder / name):
            return folder / name
        if (folder / name).exists():
            log("checkpoint %s is damaged or unfinished: not used", folder / name)
    return None


def link(source: Path, target: Path) -> None:
    """Give a file a second name, atomically replacing what had that name."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    os.link(source, temporary)
    temporary.replace(target)
