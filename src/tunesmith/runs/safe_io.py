"""Files of a run: written whole or not at all, read as a stranger's."""

import json
import math
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.runtime.atomic_files import written_whole
from tunesmith.errors import MachineError

LARGEST = 4 * 1024 * 1024  # bytes that are read of a file somebody else may have written


def write_text(path: Path, text: str, syncs_folder: bool = True) -> None:
    """Write a file so that it is there completely or not at all; raises MachineError.

    Without `syncs_folder` only the next file that is written there makes sure of its name.
    """
    try:
        with written_whole(path, syncs_folder=syncs_folder) as temporary:
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise unwritable(path, error) from error


def write_json(path: Path, value: Any, syncs_folder: bool = True) -> None:
    """Write sorted JSON; what JSON does not know (NaN, infinity) becomes null, floats are exact."""
    text = json.dumps(_plain(value), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", syncs_folder)


def read_json(path: Path, largest: int = LARGEST) -> dict[str, Any]:
    """Return the object in a file, {} if there is none or it is not JSON."""
    try:
        value = json.loads(read_text(path, largest))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_text(path: Path, largest: int = LARGEST) -> str:
    """Return a small regular file's text, "" if it is none (a device, a pipe, too large)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(file.fileno())
            regular = stat.S_ISREG(facts.st_mode) and facts.st_size <= largest
            return file.read(largest).decode("utf-8", "replace") if regular else ""
    except OSError:
        return ""


def trouble_with(path: Path, largest: int = LARGEST) -> str | None:
    """Say why `read_text` reads nothing of a file; None of one that it reads, or that is not."""
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            return "is a link"
        if not stat.S_ISREG(facts.st_mode):
            return "is not a regular file"
        if facts.st_size > largest:
            return f"is larger than {largest:,} bytes"
        return None if os.access(path, os.R_OK) else "may not be read"
    except FileNotFoundError:
        return None
    except OSError as error:
        return (error.strerror or str(error)).lower()


def trouble_with_json(path: Path) -> str | None:
    """Say why `read_json` reads {} of a file that is there; None where it reads it."""
    trouble = trouble_with(path)
    if trouble is None and os.path.lexists(path) and not read_json(path):
        return "is not a JSON object"
    return trouble


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet, through to the disk; raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def unwritable(path: Path, error: OSError) -> MachineError:
    """Return what to say where a run cannot write."""
    what = f"cannot be written: {(error.strerror or str(error)).lower()}"
    return MachineError("ENV-DIR", str(path), what, "paths.runs=DIR moves it")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # tensors and arrays, also those of one number
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)
