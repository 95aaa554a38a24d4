"""Hidden states of encoded features on disk: computed once, memory-mapped, shared by runs."""

import io
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunesmith.data.batching.feature_cache import locked
from tunesmith.data.batching.loaders import Batch, Features
from tunesmith.errors import MachineError
from tunesmith.runtime.atomic_files import written_whole

log = logging.getLogger(__name__)

OURS = re.compile(r"[0-9a-f]+-(train|validation)\.npy")  # names of the files that may be deleted
STATES = "states"  # the key of a feature, and of a batch
Computed = tuple[Sequence[int], np.ndarray]  # features, and their states (B, T, H) or (B, 1, H)


class States:
    """The states of a split's features, float32; `states[i]` is (T, H) of the i-th, read-only."""

    def __init__(self, numbers: np.ndarray, counts: np.ndarray) -> None:
        self.numbers = numbers  # (tokens of all features, H)
        self.starts = _starts(counts)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.numbers[self.starts[index] : self.starts[index + 1]]


class FeaturesWithStates:
    """The features of a split, each with its states."""

    def __init__(self, features: Any, states: States) -> None:
        self.features, self.states = features, states

    def __len__(self) -> int:
        return len(self.features)

    def __getitems__(self, indices: Sequence[int]) -> list[Features]:
        several = self.features.__getitems__(indices)
        return [one | {STATES: self.states[i]} for i, one in zip(indices, several, strict=True)]


def collated(collate: Callable[[list[Features]], Batch], features: list[Features]) -> Batch:
    """Return a batch of features as a task makes it, with their states where they have some.

    States are (B, T, H), zeros in the padding; of a first token alone (B, 1, H).
    """
    if STATES not in features[0]:
        return collate(features)
    states = [one.pop(STATES) for one in features]
    batch = collate(features)
    together = torch.from_numpy(np.concatenate(states))  # (tokens, H)
    mask = batch["attention_mask"].bool()  # (B, T)
    if len(together) == len(states) < int(mask.sum()):
        return batch | {STATES: together.unsqueeze(1)}
    padded = together.new_zeros(*mask.shape, together.shape[-1])
    padded[mask] = together
    return batch | {STATES: padded}


def cached_states(
    path: Path,
    counts: np.ndarray,
    width: int,
    compute: Callable[[], Iterator[Computed]],
    limit: int,
) -> States:
    """Open the states in a file; compute and write them first where it is not there, or damaged.

    `counts` (F,) says how many states each feature has, `width` of how many numbers each. Who
    writes the same file at the same time waits. Files of the folder that were used the longest
    time ago are deleted as long as all of them take more than `limit` bytes.
    """
    shape = int(counts.sum()), width
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.is_symlink():
            raise OSError(f"{path.parent} is a link")
        with locked(path.with_suffix(".lock")):
            numbers = _opened(path, shape)
            if numbers is None:
                for unfinished in path.parent.glob(f".{path.name}.*.tmp"):
                    unfinished.unlink()  # of a process that was killed: we hold the lock
                _make_space(path, limit - 4 * shape[0] * shape[1])
                with written_whole(path) as whole:
                    _write(whole, shape, counts, compute())
                numbers = _opened(path, shape)
            os.utime(path)
    except OSError as error:
        what = f"states of frozen layers cannot be written: {error.strerror or error}"
        raise MachineError(
            "ENV-DIR", str(path.parent), what, "adapt.cache_gb=0 computes them in each step"
        ) from error
    if numbers is None:
        raise MachineError("ENV-DIR", str(path), "states of frozen layers cannot be read back")
    return States(numbers, counts)


def _starts(counts: np.ndarray) -> np.ndarray:
    """Return the row of the file where each feature begins, and the end (F + 1,)."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _opened(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Map the file into memory; None where there is none, or it is not as `_write` makes it."""
    if not path.exists():
        return None
    header = _header(shape)
    with path.open("rb") as file:
        is_whole = file.read(len(header)) == header
    if is_whole and path.stat().st_size == len(header) + 4 * shape[0] * shape[1]:
        return np.asarray(np.memmap(path, "<f4", "r", len(header), shape))
    log.warning("states %s are damaged: made anew", path.name)
    return None


def _header(shape: tuple[int, int]) -> bytes:
    """Return how a file of numpy's begins that holds float32 of this shape."""
    text = io.BytesIO()
    facts = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(text, facts)
    return text.getvalue()


def _write(
    path: Path, shape: tuple[int, int], counts: np.ndarray, computed: Iterator[Computed]
) -> None:
    """Write each feature's states to its rows; not by a map, which a full disk would end us by."""
    starts = _starts(counts)
    with path.open("r+b") as file:
        file.write(_header(shape))
        first = file.tell()
        for features, states in computed:
            for feature, own in zip(features, states, strict=True):
                file.seek(first + 4 * shape[1] * int(starts[feature]))
                file.write(own[: counts[feature]].tobytes())


def _make_space(path: Path, limit: int) -> None:
    """Delete the other files that were used the longest time ago, down to so many bytes."""
    files = [other for other in path.parent.glob("*.npy") if OURS.fullmatch(other.name)]
    others = [other for other in files if other != path]
    facts = sorted((other.stat().st_mtime, other.stat().st_size, other) for other in others)
    used = sum(size for _, size, _ in facts)
    for _, size, other in facts:
        if used <= limit:
            return
        other.unlink(missing_ok=True)  # a process that has mapped it still reads it
        used -= size
