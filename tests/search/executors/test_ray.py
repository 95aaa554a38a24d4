"""A study on a real Ray cluster: two nodes, of which one is lost in mid-sweep."""

import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from support.commands import ROOT, small
from tunesmith.errors import MachineError
from tunesmith.search.executors.ray import RayExecutor, _seen

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
    arguments = [*listed(small(tmp_path)), "trainer.max_epochs=40"]
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
        assert trial["steps"] == trial["total_steps"] == steps[-1] == 200
        assert trial["threads"] == 1
    assert list(study.glob(".shared-*")) == []


def test_what_is_started_here_listens_here_alone_and_wants_a_token(started_with, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    made = RayExecutor(threads=2)
    assert started_with.options["address"] == "local"
    assert started_with.options["dashboard_host"] == "127.0.0.1"
    assert started_with.options["include_dashboard"] is False
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert (made.workers, made.threads) == (4, 2)


def test_what_is_joined_is_spoken_to_with_its_own_token(started_with, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "theirs")
    RayExecutor(address="10.0.0.1:6379", workers=3)
    assert started_with.options["address"] == "10.0.0.1:6379"
    assert "dashboard_host" not in started_with.options
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_AUTH_TOKEN"] == "theirs"


def test_ray_that_cannot_be_reached_says_so_in_one_line(started_with, monkeypatch):
    started_with.error = ConnectionError("nobody there\nat all")
    with pytest.raises(MachineError, match=r"ENV-RAY.*address=x:1: nobody there; .*RAY_AUTH_TOKEN"):
        RayExecutor(address="x:1")


def test_without_ray_the_line_that_installs_it_is_said(started_with, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineError, match=r"ENV-PACKAGE.*pip install 'tunesmith\[ray\]'"):
        RayExecutor()


def test_storage_that_a_node_does_not_see_is_refused(started_with, tmp_path, monkeypatch):
    made = RayExecutor()
    node = {"NodeID": "1", "NodeManagerHostname": "far", "Alive": True}
    monkeypatch.setattr(made, "_other_nodes", lambda: [node])
    monkeypatch.setattr(made, "_ask", lambda node, marker: _seen(str(marker)))
    made.check(tmp_path)
    monkeypatch.setattr(made, "_ask", lambda node, marker: _seen(f"/nowhere{marker}"))
    with pytest.raises(MachineError, match="node far does not see"):
        made.check(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def started_with(monkeypatch):
    """Put a module in Ray's place that keeps what it is started with."""
    for name in ENV:
        monkeypatch.setenv(name, "")  # put back afterwards, whatever is set meanwhile
    made = Pretended("ray")
    monkeypatch.setitem(sys.modules, "ray", made)
    return made


class Pretended(types.ModuleType):
    error: Exception | None = None

    def init(self, **options):
        if self.error is not None:
            raise self.error
        self.options = options

    def cluster_resources(self):
        return {"CPU": 8.0}

    def remote(self, **options):
        return lambda function: function

    def get(self, answer):
        return answer


def listed(arguments: list[str]) -> list[str]:
    """Return the arguments with four learning rates to try in the place of one."""
    kept = [word for word in arguments if not word.startswith("optimizer.lr=")]
    return [*kept, "optimizer.lr=1e-3,8e-4,6e-4,4e-4"]


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
