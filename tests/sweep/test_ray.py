"""A study on a real Ray cluster: two nodes, of which one is lost in mid-sweep."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands import ROOT, small

ENV = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "of-this-test-and-no-other-one",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all of it on 127.0.0.1
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENV.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]))
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False, "dashboard_host": "127.0.0.1"}
        made = Cluster(initialize_head=True, head_node_args=head)
        yield made
        made.shutdown()


@pytest.fixture
def second_node(cluster):
    node = cluster.add_node(num_cpus=1)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


def test_a_study_goes_on_where_a_node_is_lost(cluster, second_node, tmp_path):
    arguments = [*small(tmp_path), "trainer.max_epochs=60", "optimizer.lr=1e-3,8e-4,6e-4,4e-4"]
    on_ray = ["executor=ray", f"executor.address={cluster.address}", "study=lost"]
    study = tmp_path / "runs" / "lost"
    command = [sys.executable, str(ROOT / "train.py"), "-m", *arguments, *on_ray]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as started:
        try:
            wait_for(lambda: len(training(study)) == 2, started)
            cluster.remove_node(second_node, allow_graceful=False)
            said = started.communicate(timeout=120)[0].decode()
        finally:
            started.kill()
    assert started.returncode == 0, said
    assert "its Ray worker was lost" in said
    trials = json.loads((study / "summary.json").read_text())["trials"]
    assert [(trial["number"], trial["state"]) for trial in trials] == [
        (number, "complete") for number in range(4)
    ]
    for trial in trials:
        steps = [entry["step"] for entry in trial["history"]]
        assert steps == sorted(set(steps))
        assert trial["steps"] == trial["total_steps"] == steps[-1] == 300
        assert trial["threads"] == 1
    assert list(study.glob(".shared-*")) == []


def training(study: Path) -> list[Path]:
    """Return the trials that have a checkpoint and go on."""
    return [
        file.parent
        for file in study.glob("trials/*/status.json")
        if json.loads(file.read_text())["state"] == "running"
        and list(file.parent.glob("checkpoints/last.ckpt"))
    ]


def wait_for(holds, process: "subprocess.Popen[bytes]", seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < end, "took too long"
        time.sleep(0.1)
