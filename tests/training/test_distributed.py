"""Two processes with gloo are one process on the same batches."""

import json

import pytest
import torch

from support.commands import only_run, small, train
from tunesmith.training import checkpoint_io


def weights_after(folder, arguments):
    done = train(arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    run = only_run(folder)
    state = checkpoint_io.read(run / "checkpoints/last.ckpt")
    return run, done, state


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    shared = [
        "trainer.precision=32",
        "model.hidden_dropout=0",
        "model.attention_dropout=0",
        "model.classifier_dropout=0",
        "optimizer.lr=1e-4",
        "trainer.max_epochs=4",
        "trainer.log_every_n_steps=1",
        "data.batch_size=8",
    ]
    return {k: small(tmp_path / k, rows=37) + shared for k in ("one", "two")}


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_two_ranks_take_the_steps_of_one(tmp_path, arguments, micro_batches):
    _, _, alone = weights_after(tmp_path / "one", arguments["one"])
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    run, done, pair = weights_after(
        tmp_path / "two", [*arguments["two"], *ddp, f"trainer.micro_batches={micro_batches}"]
    )
    assert alone["global_step"] == pair["global_step"] == 20
    for name, tensor in alone["state_dict"].items():
        torch.testing.assert_close(pair["state_dict"][name], tensor, atol=1e-5, rtol=0)
    scores = json.loads((run / "metrics.json").read_text())["scores"]
    assert {"val/accuracy", "test/accuracy"} <= set(scores)
    assert done.stdout.count("test/accuracy") <= 1
    assert len(list((run / "tensorboard").glob("events*"))) >= 1
    log = (run / "train.log").read_text()
    assert log.count("step 5/20") <= 1
