"""Checkpoints are written by a thread, from a snapshot, while training goes on."""

import copy
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from torch import Tensor

from tunesmith.errors import explain
from tunesmith.training import checkpoint_io
from tunesmith.training.checkpoint_state import tensors_of

log = logging.getLogger(__name__)


class CheckpointWriter(CheckpointIO):
    """Lightning's checkpoint files: last.ckpt, the one before it, and best.ckpt, in one folder.

    A save copies the state and returns; a thread writes the copy. One write is in flight at
    most, and the next save waits for it. What a write met (MachineError, OSError) is raised
    once: by the next save or `wait`. A context manager around training: whatever ends it, the
    files are on the disk afterwards. Without `in_background` a save returns when they are.
    `own` is the checkpoint of this folder that the run goes on from.
    """

    def __init__(self, folder: Path, own: Path | None = None, in_background: bool = True) -> None:
        self.folder, self.in_background = folder, in_background
        self.seconds = 0.0  # that the last write took
        self._writing: Future[None] | None = None
        # Where the run goes on from previous.ckpt, last.ckpt is not what the manifest says.
        self._known = checkpoint_io.read_manifest(folder) if own is not None else {}
        if own is not None and own.name != "last.ckpt":
            self._known = {k: v for k, v in self._known.items() if k == "best.ckpt"}

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        """Save as last.ckpt, as best.ckpt too if `path` is that; the last becomes previous.ckpt."""
        self.wait()
        snapshot = take_snapshot(checkpoint)
        thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing = thread.submit(self._write, snapshot, Path(path).name == "best.ckpt")
        thread.shutdown(wait=False)
        if not self.in_background:
            self.wait()

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = True) -> Any:
        return checkpoint_io.read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)

    def wait(self) -> None:
        """Wait until what was saved is on the disk; raise what its write met."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self.wait()
        except Exception as met:
            if kind is None:
                raise
            log.warning("the last checkpoint was not written: %s", explain(met))

    def _write(self, snapshot: "Snapshot", is_best: bool) -> None:
        """Put the files in place: at each moment one that the manifest knows is intact."""
        began = time.monotonic()
        if snapshot.copied is not None:
            snapshot.copied.synchronize()
        fresh, last = self.folder / "fresh.ckpt", self.folder / "last.ckpt"
        known, step = self._known, snapshot.state["global_step"]
        digest = checkpoint_io.write(fresh, lambda file: torch.save(snapshot.state, file))
        entry = {"sha256": digest, "size": fresh.stat().st_size, "step": step}
        if "last.ckpt" in known:
            checkpoint_io.link(last, self.folder / "previous.ckpt")
            known = known | {"previous.ckpt": known["last.ckpt"]}
        if is_best:
            checkpoint_io.link(fresh, self.folder / "best.ckpt")
            known = known | {"best.ckpt": entry}
        fresh.replace(last)
        self._known = known | {"last.ckpt": entry}
        checkpoint_io.write_manifest(self.folder, self._known)
        self.seconds = time.monotonic() - began


class Snapshot(NamedTuple):
    """A state as it was at one moment, in host memory."""

    state: dict[str, Any]
    copied: torch.cuda.Event | None  # until then a GPU is still copying


def take_snapshot(state: dict[str, Any]) -> Snapshot:
    """Copy a state of tensors and plain values; tensors that share memory share it in the copy.

    What lies on a GPU goes to pinned memory, of which torch keeps a pool for the next time, and
    behind the steps that are still queued: nothing waits for it here. (No GPU was at hand when
    this was written: what is proven is the same code on a CPU.)
    """
    copies: dict[int, torch.UntypedStorage] = {}
    memo: dict[int, Any] = {}
    on_gpu = False
    for _, tensor in tensors_of(state):
        if type(tensor) is Tensor and tensor.layout == torch.strided and not tensor.is_quantized:
            on_gpu |= tensor.is_cuda
            memo[id(tensor)] = _copy(tensor, copies)
    copied = torch.cuda.Event() if on_gpu else None
    if copied is not None:
        copied.record()
    return Snapshot(copy.deepcopy(state, memo), copied)


def _copy(tensor: Tensor, copies: dict[int, torch.UntypedStorage]) -> Tensor:
    storage = tensor.untyped_storage()
    if storage.data_ptr() not in copies:
        host = torch.empty(storage.nbytes(), dtype=torch.uint8, pin_memory=tensor.is_cuda)
        copies[storage.data_ptr()] = host.untyped_storage().copy_(storage, non_blocking=True)
    like = torch.empty(0, dtype=tensor.dtype)
    host_storage = copies[storage.data_ptr()]
    return like.set_(host_storage, tensor.storage_offset(), tensor.size(), tensor.stride())
