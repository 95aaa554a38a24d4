"""Studies on a SLURM that runs, disturbed as on a cluster, and the same as one of this machine."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster_search import RATES, ClusterSearch
from support.commands import ROOT
from support.network import lacking, wait_until
from support.searches import compared, inputs, left_over
from support.slurm_cluster import COMMANDS, CONTROLLER, NODES, SlurmCluster

pytestmark = pytest.mark.cluster

GRID = [RATES, "trainer.max_epochs=40"]
ON_SLURM = ["executor=slurm", "executor.poll=1"]
TWO = "executor.workers=2"
JOBS = 6  # of an undisturbed study: a check, four trials, the winner's model


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    reason = lacking(*COMMANDS)
    assert not reason, reason
    made = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    yield made
    made.close()
    wait_until(lambda: left_over(made.folder) == {}, what="nothing is left of SLURM")


@pytest.fixture(scope="module")
def words(slurm):
    """Make the inputs; return the overrides of a study."""
    return [word for word in inputs(slurm.folder) if not word.startswith("paths.runs")]


@pytest.fixture(scope="module")
def here(slurm, words):
    """Return the study as this machine alone runs it."""
    return run_here(slurm, "grid", [*words, *GRID])


@pytest.fixture
def search(slurm, words, request):
    """Return a search on SLURM, not started yet; what it leaves would be seen by the next test."""
    study = slurm.folder / "runs" / request.node.name.removeprefix("test_")[:40]
    made = ClusterSearch(slurm.network, CONTROLLER, slurm.env, study, [*words, *ON_SLURM])
    yield made
    made.stop()
    for node in NODES:
        slurm.network.connect(node, True)
    slurm.said("scancel", "--user=root")
    for node in NODES:
        wait_until(lambda node=node: slurm.state_of_node(node) == "IDLE", what=f"{node} is idle")


def run_here(slurm, name: str, words: list[str]) -> list:
    study = [*words, f"study={name}", f"paths.runs={slurm.folder}/here", TWO]
    command = [sys.executable, str(ROOT / "train.py"), "-m", *study]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return compared(json.loads((slurm.folder / f"here/{name}/summary.json").read_text()))


def ended_since(slurm, before: dict[str, str]) -> list[str]:
    """Return how the jobs have ended since then, sorted; waits until none is left."""
    wait_until(lambda: slurm.queue() == {}, what="an empty queue")
    return sorted(state for number, state in slurm.ended().items() if number not in before)


def test_a_study_is_that_of_one_machine_to_the_bit(slurm, search, here):
    before = slurm.ended()
    search.words += [*GRID, TWO]
    search.start()
    assert set(search.wait_for_training(2).values()) == set(NODES)
    search.finish()
    assert search.result() == here
    assert ended_since(slurm, before) == ["COMPLETED"] * JOBS
    assert list((search.study / "jobs").iterdir()) == []


def test_who_is_preempted_or_cancelled_goes_on(slurm, search, here):
    before = slurm.ended()
    search.words += [*GRID, TWO]
    search.start()
    [first, second] = search.wait_for_training(2).values()
    wrap = ["--wrap=sleep 3", f"--chdir={slurm.folder}", "--output=urgent.out"]
    slurm.said("sbatch", "--partition=urgent", f"--nodelist={first}", "--cpus-per-task=2", *wrap)
    [victim] = [number for number, node in slurm.queue().items() if node == second]
    slurm.said("scancel", victim)
    search.finish()
    assert search.result() == here
    assert "PREEMPTED" not in search.said()
    assert search.said().count("what runs it has stopped it") == 1  # the one that was cancelled
    ended = ended_since(slurm, before)
    assert ended == ["CANCELLED", *["COMPLETED"] * (JOBS + 1), "PREEMPTED"]


def test_a_time_limit_is_no_end(slurm, search, words):
    before = slurm.ended()
    grid = ["optimizer.lr=1e-3,8e-4", "trainer.max_epochs=60"]
    search.words += [*grid, TWO, "executor.time=1min"]
    search.start()
    search.wait_for_training(2)
    paused = trainings(slurm)
    for pid in paused:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    search.wait_for(lambda: any(is_told(pid) for pid in paused), "a warning of SLURM")
    for pid in paused:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    search.finish()
    assert search.result() == run_here(slurm, "long", [*words, *grid])
    assert "warning: trial" not in search.said(), search.said()  # none has lost a try
    ended = ended_since(slurm, before)
    assert len(ended) >= 5  # a check, two trials of which one was cut off, the winner's model
    assert set(ended) <= {"COMPLETED", "TIMEOUT"}


def trainings(slurm) -> list[int]:
    """Return the processes of jobs that train: those of the steps, not those that wait for them."""
    mine = left_over(slurm.folder)
    return [
        pid for pid, line in mine.items() if "submitit.core._submit" in line and "srun" not in line
    ]


def is_told(pid: int) -> bool:
    """Say whether a signal of SLURM waits for a stopped process, or has ended it before."""
    file = Path(f"/proc/{pid}/status")
    if not file.exists():
        return True
    pending = re.search(r"^ShdPnd:\s*(\w+)$", file.read_text(), re.MULTILINE)
    bits = int(pending[1], 16) if pending else 0
    return any(bits >> (number - 1) & 1 for number in (signal.SIGUSR2, signal.SIGTERM))


def test_nodes_that_fail_or_are_taken_down_lose_nothing(slurm, search, here):
    before = slurm.ended()
    search.words += [*GRID, TWO]
    search.start()
    search.wait_for_training(2)
    slurm.crash("a")
    search.wait_for(lambda: slurm.state_of_node("a") == "DOWN", "node a is down")
    search.wait_for(lambda: "b" in search.training().values(), "a trial on b")
    slurm.start("a")
    search.wait_for(lambda: "a" in search.training().values(), "a trial on a")
    slurm.said("scontrol", "update", "NodeName=b", "State=DOWN", "Reason=test")
    slurm.said("scontrol", "update", "NodeName=b", "State=RESUME")
    search.finish()
    assert search.result() == here
    assert search.said().count("left no result (NODE_FAIL)") >= 1
    ended = ended_since(slurm, before)
    assert ended == ["COMPLETED"] * JOBS + ["NODE_FAIL"] * (len(ended) - JOBS)


def test_a_node_that_is_cut_off_does_not_train_beside_the_next(slurm, search, here):
    before = slurm.ended()
    search.words += [*GRID, TWO]
    search.start()
    by_node = {node: number for number, node in search.wait_for_training(2).items()}
    [cut_off] = [pid for pid in trainings(slurm) if machine_of(pid) == "a"]
    os.kill(cut_off, signal.SIGSTOP)  # it would end by itself too soon to be met
    status = search.study / f"trials/{by_node['a']:04d}/status.json"
    first = begun(status.parent)
    slurm.network.connect("a", False)
    search.wait_for(lambda: "NODE_FAIL" in slurm.ended().values(), "SLURM gives the job up")
    search.wait_for(lambda: begun(status.parent) not in ([], first), "the next job of the trial")
    assert json.loads(status.read_text())["host"] == "a"
    slurm.network.connect("a", True)
    search.finish()
    assert not Path(f"/proc/{cut_off}").exists()
    assert search.result() == here
    assert ended_since(slurm, before) == ["COMPLETED"] * JOBS + ["NODE_FAIL"]


def begun(folder: Path) -> list[Path]:
    """Return the marks of the jobs that have begun in a trial's directory."""
    return list(folder.glob(".began-*"))


def machine_of(pid: int) -> str:
    """Return the name of the machine on which a process runs."""
    done = subprocess.run(["nsenter", f"--target={pid}", "--uts", "hostname"], capture_output=True)
    return done.stdout.decode().strip()


def test_a_killed_controller_and_a_restarted_slurm_lose_nothing(slurm, search, here):
    search.words += [*GRID, TWO]
    search.start()
    search.wait_for_training(2)
    assert search.end(signal.SIGKILL) == -signal.SIGKILL
    old = set(slurm.queue())
    assert len(old) == 2, "its jobs run on"
    search.start()
    search.wait_for(lambda: not old & set(slurm.queue()), "the old jobs are cancelled")
    search.wait_for_training(2)
    slurm.crash(CONTROLLER)
    search.wait_for(lambda: "is tried again" in search.said(), "SLURM is missed")
    slurm.start(CONTROLLER)
    search.finish()
    assert search.result() == here
    assert "left no result" not in search.said()
    assert slurm.queue() == {}


def test_a_stop_is_heard_by_a_job_that_has_not_begun(slurm, search, here):
    search.words += [*GRID, "executor.workers=1"]
    search.start()
    search.wait_for_training(1)
    slow = slurm.folder / "slow"
    slow.write_text("8")  # seconds that a node prepares itself before a job
    search.wait_for(lambda: len(list(search.study.glob("trials/*/metrics.json"))) == 1, "trial 0")
    search.wait_for(lambda: slurm.queue("CONFIGURING,RUNNING"), "the job of trial 1")
    assert search.end(signal.SIGTERM, seconds=60) == 75, search.said()
    slow.unlink()
    assert not (search.study / "trials/0001/status.json").exists()
    wait_until(lambda: slurm.queue() == {}, what="an empty queue")
    search.start()
    search.finish()
    assert search.result() == here


def test_a_job_array_trains_and_a_job_of_one_may_search(slurm, words):
    """Three runs of an array get directories of their own; the search uses all its processors."""
    short = ["trainer.max_epochs=2", f"paths.runs={slurm.folder}/array"]
    run = [sys.executable, str(ROOT / "train.py")]
    one = ["name=array", "optimizer.lr=1e-3", "seed=$SLURM_ARRAY_TASK_ID"]
    command = " ".join([*run, *words, *short, *one])
    sbatch = ["sbatch", "--wait", f"--chdir={slurm.folder}", "--output=array-%a.out"]
    slurm.said(*sbatch, "--array=0-2", f"--wrap={command}")
    runs = sorted((slurm.folder / "array/array").iterdir())
    assert len(runs) == 3
    states = [json.loads((run / "status.json").read_text())["state"] for run in runs]
    assert states == ["finished"] * 3

    kept = [word for word in words if not word.startswith("trainer.num_threads")]
    grid = ["optimizer.lr=1e-3,5e-4", "study=inside", *ON_SLURM, TWO, "executor.cpus=2"]
    command = " ".join([*run, "-m", *kept, *short, *grid])
    slurm.said(*sbatch, "--array=7", "--mem-per-cpu=100", f"--wrap={command}")
    summary = json.loads((slurm.folder / "array/inside/summary.json").read_text())
    assert [trial["state"] for trial in summary["trials"]] == ["complete"] * 2
    for folder in (slurm.folder / "array/inside/trials").iterdir():
        environment = json.loads((folder / "environment.json").read_text())
        assert (environment["threads"], environment["cores"]) == (2, 2)
