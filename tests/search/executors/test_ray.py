"""A study on a real Ray cluster: two nodes, of which one is lost in mid-sweep."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import pytest

from support.commands import ROOT, small
from tunesmith.errors import MachineError
from tunesmith.search.executors.jobs import Job, JobLostError
from tunesmith.search.executors.ray import RayExecutor, _seen
from tunesmith.search.executors.ray_session import users_of
from tunesmith.search.trial import Segment

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
    assert re.search("its (Ray worker|node) was lost", said)  # whichever is seen first
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
    folder = Path(started_with.options["_temp_dir"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    made.close()
    assert not folder.exists()


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


def test_a_ray_that_does_not_start_names_where_it_keeps_its_files(started_with):
    started_with.error = OSError("AF_UNIX path length cannot exceed 107 bytes")
    with pytest.raises(MachineError, match=r"ENV-RAY.*executor=ray: AF_UNIX.*RAY_TMPDIR=/tmp"):
        RayExecutor()


def test_without_ray_the_line_that_installs_it_is_said(started_with, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineError, match=r"ENV-PACKAGE.*pip install 'tunesmith\[ray\]'"):
        RayExecutor()


def test_storage_that_a_node_does_not_see_is_refused(started_with, tmp_path, monkeypatch):
    made = RayExecutor(address="x:1")
    node = {"NodeID": "1", "NodeManagerHostname": "far", "Alive": True}
    monkeypatch.setattr(made, "_other_nodes", lambda: [node])
    monkeypatch.setattr(made, "_ask", lambda node, marker: _seen(str(marker)))
    made.check(tmp_path)
    monkeypatch.setattr(made, "_ask", lambda node, marker: _seen(f"/nowhere{marker}"))
    with pytest.raises(MachineError, match="node far does not see"):
        made.check(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_trial_is_lost_with_its_node_though_ray_still_waits_for_it(
    started_with, tmp_path, monkeypatch
):
    made = RayExecutor(address="x:1")
    job = Job(Segment(0, 0, 0, 1.0, 0, str(tmp_path), {}, [], {}), (0,), handle="task")
    made.marker(job).write_text("of-this-node")
    cancelled = []
    dead = {"NodeID": "of-this-node", "Alive": False}
    for name, function in {
        "wait": lambda handles, timeout: ([], handles),
        "nodes": lambda: [{"NodeID": "another", "Alive": True}, dead],
        "cancel": lambda handle, force: cancelled.append((handle, force)),
        "exceptions": types.SimpleNamespace(**dict.fromkeys(ERRORS, OSError)),
    }.items():
        monkeypatch.setattr(started_with, name, function, raising=False)
    with pytest.raises(JobLostError, match="its node was lost"):
        made._await(job)
    assert cancelled == [("task", True)]


ERRORS = ("TaskCancelledError", "WorkerCrashedError", "NodeDiedError", "ObjectLostError")
ERRORS += ("RayError",)
STARTED = """
import sys
from tunesmith.search.executors.jobs import Job, JobLostError
from tunesmith.search.executors.ray import RayExecutor
made = RayExecutor(workers=1)
print(made._session.folder.parent, flush=True)
sys.stdin.read()
made.close()
print("closed", flush=True)
"""


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_nothing_of_ray_is_left_and_we_are(end):
    command = [sys.executable, "-c", STARTED]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one:
        folder = Path(one.stdout.readline().strip())
        assert folder.is_dir() and len(users_of(str(folder))) >= 3, "the raylet and its agents"
        if end == "killed":
            one.kill()
        else:
            assert one.communicate()[0] == "closed\n"
            assert one.returncode == 0
            assert not folder.exists()
    latest = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < latest, "its folder is still there"
        time.sleep(0.1)
    assert users_of(str(folder)) == []


@pytest.mark.torture
@pytest.mark.parametrize("seconds", [2, 3, 4, 5, 6, 7])
def test_a_signal_while_ray_starts_ends_the_search_and_leaves_nothing_of_it(tmp_path, seconds):
    command = [sys.executable, str(ROOT / "train.py"), "-m", *listed(small(tmp_path))]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # Ray's sockets want a short path
        environment = {**os.environ, "RAY_TMPDIR": folder}
        started = subprocess.Popen([*command, "executor=ray", "study=ended"], env=environment)
        time.sleep(seconds)
        started.terminate()
        assert started.wait(60) in (75, -signal.SIGTERM)  # the latter: it still imports
        end = time.monotonic() + 30
        while list(Path(folder).iterdir()):
            assert time.monotonic() < end, "its folder is still there"
            time.sleep(0.1)
        assert users_of(folder) == []


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

    def shutdown(self):
        pass

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
