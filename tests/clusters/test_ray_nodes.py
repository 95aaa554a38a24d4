"""A study on two machines of a Ray cluster, of which one is cut off from the network and back."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.cluster_search import RATES, ClusterSearch
from support.commands import ROOT
from support.network import Network, lacking, wait_until
from support.searches import compared, inputs, left_over

pytestmark = pytest.mark.cluster

GRID = [RATES, "trainer.max_epochs=60"]
PORT = 6379


class RayCluster:
    """A head and a node, of one processor each, on machines of a network."""

    def __init__(self, folder: Path, short: str) -> None:
        self.folder, self.short = folder, short  # Ray's sockets want a short path
        self.network = Network(folder, ["head", "node"])
        self.address = f"{self.network.address('head')}:{PORT}"
        self.env = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "of-this-test-and-no-other-one",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_SCHEDULER_EVENTS": "0",
            "OMP_NUM_THREADS": "1",
            "TUNESMITH_TEST": str(folder),
        }
        try:
            self.start("head", ["--head", f"--port={PORT}", "--include-dashboard=false"])
            self.start_node()
        except BaseException:
            self.close()
            raise

    def start(self, machine: str, options: list[str]) -> "subprocess.Popen[bytes]":
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
        mine = [f"--node-ip-address={self.network.address(machine)}"]
        folder = [f"--temp-dir={self.short}"] if machine == "head" else []
        started = self.network.start(
            machine, [*ray, *options, *mine, *folder], self.env, f"{machine}.out", True
        )
        wait_until(lambda: machine in self.alive(), 120, f"Ray of {machine}")
        return started

    def start_node(self) -> None:
        self.node = self.start("node", [f"--address={self.address}"])

    def alive(self) -> list[str]:
        """Return the machines that Ray counts as alive, as it says itself."""
        script = (
            "import json, ray; from ray._private.state import GlobalState\n"
            f"ray.init(address={self.address!r}, log_to_driver=False, logging_level='ERROR')\n"
            "print(json.dumps([n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']]))"
        )
        done = subprocess.run(
            self.network.command("head", [sys.executable, "-c", script]),
            capture_output=True,
            text=True,
            env={**os.environ, **self.env},
            timeout=60,
        )
        addresses = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else []
        return [n for n in self.network.names if self.network.address(n) in addresses]

    def close(self) -> None:
        self.network.close()


@pytest.fixture
def ray(tmp_path_factory):
    reason = lacking()
    assert not reason, reason
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ts") as short:
        made = RayCluster(tmp_path_factory.mktemp("ray"), short)
        yield made
        made.close()
        wait_until(lambda: left_over(made.folder) == {}, what="nothing is left of Ray")


def test_a_machine_that_is_cut_off_and_back_loses_nothing(ray):
    words = [word for word in inputs(ray.folder) if not word.startswith("paths.runs")]
    on_ray = ["executor=ray", f"executor.address={ray.address}", "executor.workers=2"]
    study = ray.folder / "runs" / "cut-off"
    search = ClusterSearch(ray.network, "head", ray.env, study, [*words, *GRID, *on_ray])
    try:
        disturb(ray, search)
    finally:
        search.stop()
    assert search.result() == run_here(ray.folder, words)


def disturb(ray: RayCluster, search: ClusterSearch) -> None:
    """Cut a machine off in the midst of a search and give it back; the search ends well."""
    search.start()
    machines = search.wait_for_training(2)
    assert sorted(machines.values()) == ["head", "node"]
    ray.network.connect("node", False)
    search.wait_for(lambda: "its node was lost" in search.said(), "Ray gives it up")
    ray.network.connect("node", True)
    ray.node.send_signal(signal.SIGKILL)  # Ray of a machine that was given up ends; here at once
    ray.node.wait()
    ray.start_node()
    search.wait_for(lambda: "node" in search.training().values(), "a trial on the node again")
    search.finish()
    assert ray.alive() == ["head", "node"]


def run_here(folder: Path, words: list[str]) -> list:
    more = ["study=here", f"paths.runs={folder}/here", "executor.workers=2"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", *words, *GRID, *more]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return compared(json.loads((folder / "here/here/summary.json").read_text()))
