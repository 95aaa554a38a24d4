"""Frozen layers are computed once for all epochs and runs; only the clock can tell."""

import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.runs import composed, lines, of_files
from support.tiny_models import WORDS, tiny_model
from tunesmith.config import typed
from tunesmith.data.batching import state_cache
from tunesmith.errors import MachineError
from tunesmith.models import frozen_prefix
from tunesmith.pipeline.components import Training, build_training
from tunesmith.pipeline.inputs import load_inputs
from tunesmith.pipeline.run_context import RunContext
from tunesmith.pipeline.train import choose_hardware
from tunesmith.pipeline.train import train as run

OFF = "adapt.cache_gb=0"
FROZEN = ("adapt=frozen", "test=false", "logger=none", "callbacks.figures=false")


@pytest.fixture(params=["bert", "distilbert"])
def folder(request: Any, tmp_path: Path) -> Path:
    tiny_model(request.param, tmp_path / "model")
    for seed, split in enumerate(("train", "validation", "test")):
        rows = [
            {"text": " ".join(WORDS[i + seed : i + seed + 2 + i % 9]), "label": "ab"[i % 2]}
            for i in range(40)
        ]
        lines(tmp_path / f"{split}.jsonl", rows)
    return tmp_path


def overrides(folder: Path, *own: str) -> list[str]:
    common = [*FROZEN, "trainer.precision=32", f"paths.cache={folder}/cache"]
    has_tags = "ner_tags" in (folder / "train.jsonl").read_text()
    task = "token_classification" if has_tags else "classification"
    return of_files(folder, task, *common, *own)


def built(folder: Path, *own: str) -> Training:
    """Put a run together, as its process does before the first step."""
    from omegaconf import OmegaConf

    config = typed(OmegaConf.to_container(composed(*overrides(folder, *own)), resolve=True))
    context = RunContext(folder / "run", False, None)
    return build_training(config, load_inputs(config), context, choose_hardware(config))


def logits(training: Training) -> torch.Tensor:
    """Return the logits of a pass over the train split in its own batches, and all gradients."""
    torch.manual_seed(0)  # of the dropout in what learns
    task = training.module.task.train()
    for module in training.frozen:
        module.eval()
    parts = []
    for batch in training.data.train_dataloader():
        output = task(batch)
        output.loss.backward()
        read = output.logits.detach()
        if read.dim() == 3:  # one of each token: nobody looks at those of the padding
            read = read[batch["attention_mask"].bool()]
        parts += [read.flatten(), output.loss.detach().flatten()]
    parts += [p.grad.flatten() for p in task.parameters() if p.grad is not None]
    return torch.cat(parts)


def ended(folder: Path, name: str, *own: str) -> dict[str, Any]:
    run(composed(*overrides(folder, "trainer.max_epochs=2", *own, f"name={name}")))
    (directory,) = (folder / "runs" / name).iterdir()
    state = torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return {
        "weights": torch.cat([value.flatten().float() for value in state.values()]),
        "scores": json.loads((directory / "metrics.json").read_text())["scores"],
        "log": (directory / "train.log").read_text(),
    }


@pytest.mark.parametrize("layers", ["all", "2", "1", "0"])
def test_logits_and_gradients_are_those_of_layers_that_are_computed(folder, layers):
    own = f"adapt.layers={layers}"
    expected, quick = built(folder, own, OFF), built(folder, own)
    assert not expected.data.states
    assert set(quick.data.states) == {"train", "validation"}
    torch.testing.assert_close(logits(quick), logits(expected), atol=1e-6, rtol=0)
    width = 1 if layers in ("all", "2") else int(quick.data.encoded["train"].lengths.sum())
    rows = len(quick.data.encoded["train"].features) if width == 1 else width
    assert quick.data.states["train"].numbers.shape == (rows, 32)


def test_states_of_all_tokens_where_each_has_an_answer(tmp_path):
    tiny_model("bert", tmp_path / "model")
    rows = [
        {"tokens": WORDS[i : i + 2 + i % 5], "ner_tags": ["O"] * (2 + i % 5)} for i in range(24)
    ]
    rows[0]["ner_tags"][0] = "B-X"
    for split in ("train", "validation", "test"):
        lines(tmp_path / f"{split}.jsonl", rows)
    own = ("data.leakage=ignore",)
    expected, quick = (built(tmp_path, *own, *more) for more in ((OFF,), ()))
    assert quick.data.states["train"].numbers.shape[0] > 24
    torch.testing.assert_close(logits(quick), logits(expected), atol=1e-6, rtol=0)


def test_a_validation_is_the_same_to_the_bit(folder):
    answers = []
    for own in ((OFF,), ()):
        training = built(folder, "adapt.layers=1", *own)
        task = training.module.task.eval()
        with torch.no_grad():
            batches = [task(b).logits for b in training.data.evaluation_loader("validation")]
        answers.append(torch.cat(batches))
    assert torch.equal(*answers)


def test_layers_are_computed_once_for_all_epochs_and_runs(folder, monkeypatch):
    counted = []
    compute = frozen_prefix.FrozenPrefix.compute

    def count(self, run):
        counted.append(1)
        return compute(self, run)

    monkeypatch.setattr(frozen_prefix.FrozenPrefix, "compute", count)
    first = ended(folder, "first", "adapt.layers=1")
    batches = len(counted)
    assert "frozen layers are computed once" in first["log"]
    again = ended(folder, "again", "adapt.layers=1", "optimizer.lr=1e-3")
    assert len(counted) == batches + 1  # one to see of what shape states are
    assert torch.equal(first["weights"], again["weights"])
    assert first["scores"] == again["scores"]
    files = sorted((folder / "cache/states").glob("*.npy"))
    assert len(files) == 2
    ended(folder, "deeper", "adapt.layers=2")
    assert len(list((folder / "cache/states").glob("*.npy"))) == 4
    computed = ended(folder, "computed", "adapt.layers=1", OFF)
    assert "frozen layers are computed in each step: adapt.cache_gb=0" in computed["log"]
    torch.testing.assert_close(computed["weights"], first["weights"], atol=1e-5, rtol=0)


def test_a_damaged_file_is_made_anew_and_a_small_limit_refuses(folder, caplog):
    caplog.set_level(logging.INFO)
    expected = logits(built(folder, "adapt.layers=1"))
    file = next((folder / "cache/states").glob("*-train.npy"))
    whole, zipped = file.read_bytes(), io.BytesIO()
    np.savez(zipped, states=expected)
    for damaged in (whole[:200], zipped.getvalue(), whole[:10] + b"{(" + whole[12:]):
        caplog.clear()
        file.write_bytes(damaged)
        assert torch.equal(logits(built(folder, "adapt.layers=1")), expected)
        assert "are damaged" in caplog.text
    assert not built(folder, "adapt.layers=1", "adapt.cache_gb=1e-6").data.states
    assert "their states take 0.0 GB, adapt.cache_gb=1e-06" in caplog.text


def test_files_used_long_ago_make_space_and_a_full_disk_is_the_machines_fault(
    tmp_path, monkeypatch
):
    counts = np.array([2, 1])
    states = np.arange(2 * 2 * 3, dtype=np.float32).reshape(2, 2, 3)

    def compute():
        yield [1, 0], states

    for age, name in enumerate(("0a", "0b")):
        state_cache.cached_states(tmp_path / f"{name}-train.npy", counts, 3, compute, 10**6)
        os.utime(tmp_path / f"{name}-train.npy", (age, age))
    (tmp_path / "thesis.npy").touch()  # none of ours
    size = (tmp_path / "0a-train.npy").stat().st_size
    made = state_cache.cached_states(tmp_path / "0c-train.npy", counts, 3, compute, size + 36)
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == [
        "0b-train.npy",
        "0c-train.npy",
        "thesis.npy",
    ]
    assert made[1].tolist() == [[0.0, 1.0, 2.0]]
    assert made[0].tolist() == [[6.0, 7.0, 8.0], [9.0, 10.0, 11.0]]

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_cache, "_write", full)
    with pytest.raises(MachineError) as caught:
        state_cache.cached_states(tmp_path / "0d-train.npy", counts, 3, compute, 10**6)
    assert str(caught.value) == (
        f"error[ENV-DIR] {tmp_path}: states of frozen layers cannot be written: No space left on "
        "device; adapt.cache_gb=0 computes them in each step"
    )
    assert not (tmp_path / "0d-train.npy").exists()
