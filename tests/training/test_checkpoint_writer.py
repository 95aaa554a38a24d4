"""Checkpoints are written by a thread, from a snapshot, and hashed as they are written."""

import errno
import hashlib
import io
import json
import logging
import os
import threading
import time

import pytest
import torch

import tunesmith
from support.commands import only_run, small
from tunesmith.errors import DataError, MachineError
from tunesmith.runtime import atomic_files
from tunesmith.training import checkpoint_io
from tunesmith.training.checkpoint_writer import CheckpointWriter, take_snapshot
from tunesmith.training.lightning_module import TaskModule


def state(step, size=1000):
    """Return what a checkpoint may hold, of weights that are tied."""
    weights = torch.full((size,), float(step))
    tensors = {"a": weights, "b": weights.view(10, -1)[1:], "head": torch.ones(3)}
    moments = {0: {"exp_avg": weights * 2, "step": torch.tensor(float(step))}}
    return {
        "global_step": step,
        "state_dict": tensors,
        "callbacks": {"x": {"history": [{"step": step}]}},
        "optimizer_states": [{"state": moments}],
    }


def save(writer, step, name="last.ckpt"):
    writer.save_checkpoint(state(step), writer.folder / name)


def steps(folder):
    """Return the step that each file in a folder of checkpoints holds."""
    names = (name for name in checkpoint_io.ALL if (folder / name).exists())
    return {name: checkpoint_io.read(folder / name)["global_step"] for name in names}


def test_the_manifest_has_the_hashes_and_no_file_is_read_for_them(tmp_path, monkeypatch):
    hashed = []
    update = atomic_files.HashedFile.write
    monkeypatch.setattr(
        atomic_files.HashedFile,
        "write",
        lambda f, data: hashed.append(len(data)) or update(f, data),
    )
    monkeypatch.setattr(checkpoint_io, "sha256", None)  # of a file, which would be read
    writer = CheckpointWriter(tmp_path)
    sizes = 0
    for step, name in enumerate(["best.ckpt", "last.ckpt", "best.ckpt", "last.ckpt"], start=1):
        save(writer, step, name)
        writer.wait()
        sizes += sum((tmp_path / n).stat().st_size for n in ("last.ckpt", checkpoint_io.MANIFEST))
    assert sum(hashed) == sizes, "each file was hashed once, as it was written"
    assert steps(tmp_path) == {"last.ckpt": 4, "previous.ckpt": 3, "best.ckpt": 3}
    assert (tmp_path / "best.ckpt").samefile(tmp_path / "previous.ckpt")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest == {
        name: {
            "sha256": hashlib.sha256((tmp_path / name).read_bytes()).hexdigest(),
            "size": (tmp_path / name).stat().st_size,
            "step": step,
        }
        for name, step in steps(tmp_path).items()
    }


def test_a_resumed_run_hands_on_only_what_was_intact(tmp_path):
    writer = CheckpointWriter(tmp_path)
    for step, name in enumerate(["best.ckpt", "last.ckpt", "last.ckpt"], start=1):
        save(writer, step, name)
    writer.wait()
    resumed = CheckpointWriter(tmp_path, own=tmp_path / "last.ckpt")
    save(resumed, 4)
    resumed.wait()
    assert steps(tmp_path) == {"last.ckpt": 4, "previous.ckpt": 3, "best.ckpt": 1}
    assert all(checkpoint_io.is_intact(tmp_path / name) for name in checkpoint_io.ALL)
    (tmp_path / "last.ckpt").write_bytes(b"damaged")
    resumed = CheckpointWriter(tmp_path, own=tmp_path / "previous.ckpt")
    save(resumed, 5)
    resumed.wait()
    assert steps(tmp_path) == {"last.ckpt": 5, "previous.ckpt": 3, "best.ckpt": 1}
    assert set(checkpoint_io.read_manifest(tmp_path)) == {"last.ckpt", "best.ckpt"}


def test_a_snapshot_is_the_state_as_it_was():
    """Tied weights stay tied: the file has them once, as that of the state itself."""
    before = state(1)
    snapshot = take_snapshot(before)
    before["state_dict"]["a"].mul_(7)
    before["optimizer_states"][0]["state"][0]["step"] += 1
    before["callbacks"]["x"]["history"].append({"step": 9})
    kept = snapshot.state
    tensors = kept["state_dict"]
    assert (tensors["a"] == 1).all() and tensors["b"].shape == (9, 100)
    assert kept["optimizer_states"][0]["state"][0]["step"] == 1
    assert kept["callbacks"]["x"]["history"] == [{"step": 1}]
    assert tensors["a"].untyped_storage().data_ptr() == tensors["b"].untyped_storage().data_ptr()
    files = io.BytesIO(), io.BytesIO()
    for saved, file in zip((kept, state(1)), files, strict=True):
        torch.save(saved, file)
    assert len(files[0].getvalue()) == len(files[1].getvalue())


def no_space(descriptor):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_a_write_met_is_raised_once_by_what_comes_next(tmp_path, monkeypatch, caplog):
    writer = CheckpointWriter(tmp_path)
    save(writer, 1, "best.ckpt")
    writer.wait()
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        save(writer, 2)
        with pytest.raises(MachineError, match=r"ENV-DISK.*fresh\.ckpt.*No space left"):
            save(writer, 3)
        save(writer, 3)
        with pytest.raises(MachineError, match="ENV-DISK"):
            writer.wait()
        writer.wait()
        with pytest.raises(MachineError, match="ENV-DISK"), writer:
            save(writer, 4)
        with caplog.at_level(logging.WARNING), pytest.raises(KeyError), writer:
            save(writer, 5)
            raise KeyError("training ended by another error")
        assert "No space left" in caplog.text
    assert steps(tmp_path) == {"last.ckpt": 1, "best.ckpt": 1}
    assert checkpoint_io.is_intact(tmp_path / "last.ckpt")


def test_a_disk_that_fills_up_within_a_file_is_told_of_as_one(tmp_path, monkeypatch):
    write = atomic_files.HashedFile.write

    def fills_up(file, data):
        return write(file, data) if len(data) < 1_000 else no_space(0)

    monkeypatch.setattr(atomic_files.HashedFile, "write", fills_up)
    with pytest.raises(MachineError, match=r"cannot be written: \[Errno 28\] No space left"):
        save(CheckpointWriter(tmp_path, in_background=False), 1)


def test_a_save_in_the_foreground_returns_when_the_file_is_there(tmp_path):
    writer = CheckpointWriter(tmp_path, in_background=False)
    save(writer, 1)
    assert steps(tmp_path) == {"last.ckpt": 1}


@pytest.fixture
def words(tmp_path):
    """A run of five steps that saves at the third."""
    own = ["trainer.max_epochs=1", "callbacks.checkpoint.every_n_steps=3", "logger=none"]
    return [*small(tmp_path), *own, "name=run"]


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch, words):
    """The write of step 3 ends only once step 5 has begun; who ends training there waits for it."""
    further = threading.Event()
    went_on = []
    write, step = checkpoint_io.write, TaskModule.training_step

    def slow(path, fill):
        if path.name == "fresh.ckpt":
            went_on.append(further.wait(60))
            time.sleep(0.5)
        return write(path, fill)

    def training_step(module, batch, index):
        if module.trainer.global_step == 4:
            further.set()
            raise DataError("DATA-X", "", "a row is bad")
        return step(module, batch, index)

    monkeypatch.setattr(checkpoint_io, "write", slow)
    monkeypatch.setattr(TaskModule, "training_step", training_step)
    with pytest.raises(DataError, match="DATA-X"):
        tunesmith.train(words)
    assert went_on == [True]
    folder = only_run(tmp_path, "run") / "checkpoints"
    assert steps(folder) == {"last.ckpt": 3}
    assert checkpoint_io.is_intact(folder / "last.ckpt")


def test_a_disk_that_is_full_for_the_thread_ends_the_run(tmp_path, monkeypatch, words):
    def fsync(descriptor, usual=os.fsync):
        is_writer = threading.current_thread().name.startswith("checkpoint")
        return no_space(descriptor) if is_writer else usual(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(MachineError, match=r"ENV-DISK.*No space left"):
        tunesmith.train(words)
    status = json.loads((only_run(tmp_path, "run") / "status.json").read_text())
    assert status["state"] == "failed"
    assert status["error"].startswith("error[ENV-DISK]")
