"""Two processes with gloo are one process on the same batches."""

import json

import pytest
import torch

from support.commands import command, only_run, small, train
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


PAIR = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]

SCRIPT = """
import json, os, sys, threading, time
from dataclasses import replace
from pathlib import Path
from tunesmith.config.composer import Composer
from tunesmith.search.trial import Segment
from tunesmith.search.worker.input_cache import InputCache
from tunesmith.search.worker.run_segment import run_segment

folder, words = sys.argv[1], sys.argv[2:]

def segment(trial, *more, **options):
    config = Composer().plain([*words, *more])
    settings = dict(trial=trial, seed=0, rung=0, until=0.5, attempt=0, devices=2)
    return Segment(**settings | options, directory=f"{folder}/{trial}", config=config,
                   overrides=[], hparams={})

open_to_all, listened = set(), set()

def watch():
    # The addresses at which this process and its ranks listen, as the kernel has them.
    while True:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        for pid in [str(os.getpid()), *children]:
            try:
                links = {os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()}
                rows = [row.split() for kind in ("tcp", "tcp6")
                        for row in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]]
            except OSError:
                continue
            for row in rows:
                if row[3] == "0A" and f"socket:[{row[9]}]" in links:
                    listened.add(pid)
                    if row[1].split(":")[0] != "0100007F":
                        open_to_all.add(row[1])
        time.sleep(0.02)

if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    warm = InputCache()
    for one in (
        segment(0), segment(0, attempt=1),
        segment(1, "optimizer.lr=1e30", until=1.0), segment(2, until=1.0),
    ):
        began = time.monotonic()
        result = run_segment(one, warm)
        print(json.dumps([result.state, result.failure, time.monotonic() - began]))
    dropouts = [f"model.{part}_dropout=0" for part in ("hidden", "attention", "classifier")]
    for trial, more in ((3, dropouts), (4, [*dropouts, "trainer=cpu", "trainer.devices=1"])):
        first, fast = segment(trial, *more), segment(trial, *more, "optimizer.lr=1e-3", until=1.0)
        assert run_segment(replace(fast, stages=[(0.5, first.config)]), warm).state == "done"
    print(json.dumps({"listened": len(listened), "open": sorted(open_to_all)}))
"""


def test_ranks_decide_together_and_a_failed_run_leaves_no_group(tmp_path):
    """A rung whose result was lost, a run that ends in NaN, and the next one in that process."""
    words = [*small(tmp_path, rows=37), *PAIR, "trainer.precision=32", "optimizer.lr=1e-4"]
    script = tmp_path / "segments.py"
    script.write_text(SCRIPT)
    arguments = [str(script), str(tmp_path / "trials"), *words]
    done = command([*arguments, "trainer.max_epochs=2", "data.batch_size=8"])
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert [result[0] for result in results] == ["done", "done", "failed", "done"]
    pair, alone = (
        checkpoint_io.read(tmp_path / f"trials/{trial}/checkpoints/last.ckpt") for trial in (3, 4)
    )
    for name, tensor in alone["state_dict"].items():  # settings change in mid-run on every rank
        torch.testing.assert_close(pair["state_dict"][name], tensor, atol=1e-5, rtol=0)
    rates = [
        state["optimizer_states"][0]["param_groups"][0]["initial_lr"] for state in (pair, alone)
    ]
    assert rates == [1e-3, 1e-3]
    assert results[2][1] in ("nan", "diverged", "error:TRAIN-NAN")
    assert max(result[2] for result in results) < 50  # a rank that waits for another takes 60 s
    sockets = json.loads(done.stdout.splitlines()[-1])
    assert sockets["listened"] >= 2, "gloo listens in each rank"
    assert sockets["open"] == []


def test_one_mistake_is_one_line_however_many_processes_make_it(tmp_path):
    done = train([*small(tmp_path), *PAIR, "optimizer.lr=1e30", "trainer.precision=32"])
    assert done.returncode == 6
    lines = done.stderr.splitlines()
    told = [line for line in lines if "error[" in line or "Traceback" in line]
    assert len(told) == 1 and told[0].startswith("error[TRAIN-NAN]"), done.stderr[-3000:]
