"""Weight files of a model folder: found, checked by their headers, read as tensors."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from tunesmith.errors import ModelError
from tunesmith.models.untrusted_files import inside, load_pickle, read_json, refuse_pickle
from tunesmith.runtime.atomic_files import sha256

MAX_HEADER = 100_000_000  # bytes, the format's own limit
ONE_FILE = ("model.safetensors", "pytorch_model.bin")


def weight_files(folder: Path, name: str) -> tuple[Path, ...]:
    """Return the folder's weight files: safetensors where there are any, else pickles.

    Raises ModelError if there are none, SafetyError if an index names a file elsewhere.
    """
    for single in ONE_FILE:
        if (folder / f"{single}.index.json").is_file():
            return _indexed(folder, f"{single}.index.json")
        if (folder / single).is_file():
            return (inside(folder, single),)
    raise ModelError("MODEL-404", name, "no model.safetensors in it", "is it a model folder?")


def check_weights(files: Sequence[Path]) -> set[str]:
    """Check files without loading a tensor and return the names in them (of pickles: none).

    Raises ModelError (MODEL-CORRUPT), or SafetyError if a pickle holds more than tensors.
    """
    names: set[str] = set()
    for file in files:
        if file.suffix == ".safetensors":
            names |= set(read_header(file))
        else:
            refuse_pickle(file)
    return names


def check_hash(files: Sequence[Path], expected: str, name: str) -> None:
    """Raise ModelError if the SHA-256 of model.safetensors is not the expected one."""
    if [file.name for file in files] != ["model.safetensors"]:
        raise ModelError("MODEL-HASH", name, "model.sha256 is of model.safetensors; there is none")
    found = sha256(files[0])
    if found != expected.lower():
        what = f"SHA-256 is {found[:12]}…, not {expected[:12]}…"
        raise ModelError("MODEL-HASH", "model.safetensors", what, "these are other weights")


def read_header(file: Path) -> dict[str, Any]:
    """Return the tensors that a safetensors file describes, checked against its size.

    Raises ModelError (MODEL-CORRUPT) if it is empty, truncated or something else.
    """
    size = file.stat().st_size
    if size == 0:
        raise _corrupt(file, "empty (0 bytes)")
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if start == b"version ":
            raise _corrupt(file, "a Git LFS pointer, not the weights; run git lfs pull")
        if len(start) == 8 and length > MAX_HEADER:
            raise _corrupt(file, "not a safetensors file")
        if size < 8 + length or len(start) < 8:
            raise _corrupt(file, f"truncated ({size} of at least {8 + length} bytes)")
        header = _parse(file, stream.read(length))
    expected = 8 + length + max((t["data_offsets"][1] for t in header.values()), default=0)
    if size < expected:
        raise _corrupt(file, f"truncated ({size} of {expected} bytes)")
    if size > expected:
        raise _corrupt(file, f"has {size} bytes, its header describes {expected}")
    return header


def read_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """Read all tensors of the files, on the CPU."""
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= load_file(file) if file.suffix == ".safetensors" else _read_pickle(file)
    return tensors


def _indexed(folder: Path, index: str) -> tuple[Path, ...]:
    names = read_json(inside(folder, index)).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise ModelError("MODEL-CORRUPT", index, "no weight_map")
    files = tuple(inside(folder, name) for name in sorted(set(names.values())))
    suffix = ".safetensors" if "safetensors" in index else ".bin"
    for file in files:
        if not file.is_file():
            raise ModelError("MODEL-CORRUPT", index, f"names {file.name}, which is missing")
        if file.suffix != suffix:
            raise ModelError("MODEL-CORRUPT", index, f"names {file.name}, not a {suffix} file")
    return files


def _parse(file: Path, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        if all(_is_span(tensor["data_offsets"]) for tensor in header.values()):
            return header
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise _corrupt(file, "not a safetensors file")


def _is_span(offsets: Any) -> bool:
    start, end = offsets
    return type(start) is int and type(end) is int and 0 <= start <= end


def _read_pickle(file: Path) -> dict[str, Tensor]:
    tensors = load_pickle(file)
    if isinstance(tensors, dict) and all(isinstance(t, Tensor) for t in tensors.values()):
        return tensors
    raise _corrupt(file, "not a dictionary of tensors")


def _corrupt(file: Path, message: str) -> ModelError:
    return ModelError("MODEL-CORRUPT", file.name, message)
