"""One run on two machines, started by torchrun, is that of two processes on one machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from support.commands import ROOT, only_run, small
from support.network import INTERFACE, Network, lacking
from tunesmith.training import checkpoint_io

pytestmark = pytest.mark.cluster

WORDS = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=4", "trainer.precision=32"]
PORT = 29411


@pytest.fixture
def network(tmp_path):
    reason = lacking()
    assert not reason, reason
    made = Network(tmp_path, ["one", "two"])
    yield made
    made.close()


def test_two_machines_train_the_weights_of_two_processes(network, tmp_path):
    """And the same command a second time makes a run of its own."""
    words = [*small(tmp_path, rows=37), *WORDS]
    words = [word for word in words if not word.startswith("paths.runs")]
    for _ in range(2):
        on_two_machines(network, [*words, f"paths.runs={tmp_path}/two/runs"])
    pair = [*words, "trainer.devices=2", f"paths.runs={tmp_path}/one/runs"]
    command = [sys.executable, str(ROOT / "train.py"), *pair]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    here = only_run(tmp_path / "one")
    first, second = sorted((tmp_path / "two/runs/default").iterdir())
    assert first.name > time.strftime("%Y"), "named by when it began"
    expected = checkpoint_io.read(here / "checkpoints/last.ckpt")
    assert expected["global_step"] == 20
    for run in (first, second):
        got = checkpoint_io.read(run / "checkpoints/last.ckpt")
        assert got["global_step"] == 20
        for name, tensor in expected["state_dict"].items():
            assert torch.equal(got["state_dict"][name], tensor), name
        assert scores_of(run) == scores_of(here)


def on_two_machines(network: Network, words: list[str]) -> None:
    """Run torchrun on both machines; each has one process."""
    started = []
    for rank, machine in enumerate(network.names):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
        torchrun += ["--nproc-per-node=1", f"--node-rank={rank}", f"--master-port={PORT}"]
        torchrun += [f"--master-addr={network.address('one')}", str(ROOT / "train.py")]
        command = [*torchrun, *words, "trainer.num_nodes=2", "trainer.devices=1"]
        env = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": INTERFACE}
        started.append(network.start(machine, command, env, f"{machine}.out", True))
    for machine, process in zip(network.names, started, strict=True):
        assert process.wait(180) == 0, (network.folder / f"{machine}.out").read_text()


def scores_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())["scores"]
