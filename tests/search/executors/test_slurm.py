"""A study on SLURM, whose commands a stand-in plays."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.commands import ROOT, small
from support.fake_slurm import StandIn
from support.servers import eventually
from tunesmith.errors import ConfigError, MachineError, SafetyError
from tunesmith.reporting.trial_results import MACHINE
from tunesmith.search.executors import slurm as slurm_module
from tunesmith.search.executors.jobs import Job, JobLostError
from tunesmith.search.executors.slurm import SlurmExecutor, _name_of
from tunesmith.search.executors.slurm_commands import Queue
from tunesmith.search.executors.slurm_job import listen
from tunesmith.search.trial import Segment


def test_a_study_finishes_and_a_job_that_was_killed_is_tried_again(tmp_path):
    slurm = StandIn(tmp_path / "slurm")
    study = tmp_path / "runs" / "on-slurm"
    kept = [word for word in small(tmp_path) if not word.startswith("optimizer.lr=")]
    arguments = [*kept, "trainer.max_epochs=40", "optimizer.lr=1e-3,8e-4,6e-4"]
    options = ["executor=slurm", "executor.workers=2", "executor.poll=0.2", "study=on-slurm"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", *arguments, *options]
    env = {**os.environ, "PATH": slurm.path, "OMP_NUM_THREADS": "1"}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=env, **output) as started:
        try:
            while not list(study.glob("trials/*/checkpoints/last.ckpt")):
                assert started.poll() is None, started.stdout.read().decode()
                time.sleep(0.1)
            victim = slurm.running()[-1]
            os.killpg(slurm.jobs()[victim], signal.SIGKILL)
            said = started.communicate(timeout=200)[0].decode()
        finally:
            started.kill()
    assert started.returncode == 0, said
    assert f"job {victim} left no result (FAILED)" in said
    trials = json.loads((study / "summary.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * 3
    assert [trial["steps"] for trial in trials] == [200] * 3
    assert len(slurm.jobs()) == 6  # a check, three trials, one of them again, the winner's model
    eventually(lambda: slurm.running() == [])
    assert (study / "jobs").stat().st_mode & 0o777 == 0o700
    assert [file for file in (study / "jobs").iterdir() if victim not in file.name] == []


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    made = StandIn(tmp_path / "slurm")
    monkeypatch.setenv("PATH", made.path)
    return made


def test_what_a_killed_search_left_in_the_queue_is_cancelled(slurm, tmp_path):
    study = tmp_path / "one,two"
    (study / "jobs").mkdir(parents=True, mode=0o700)
    for name in ("777_submitted.pkl", "777.json", "777_0_log.err"):
        (study / "jobs" / name).touch()
    executor = SlurmExecutor()
    executor.check(study)
    name = executor.queue.name
    assert name.startswith("tunesmith-one-two-") and name != _name_of(tmp_path / "x" / "one,two")
    assert slurm.called("scancel") == [f"--user={os.getuid()} --name={name}"]
    assert [file.name for file in (study / "jobs").iterdir()] == ["777_0_log.err"]


def test_jobs_ask_for_what_the_config_says(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")  # of the job that the search itself is in
    monkeypatch.setenv("SLURM_CONF", "/cluster/slurm.conf")
    options = {"qos": "long"}
    made = SlurmExecutor(
        partition="gpu", time="90s", memory="16GB", gpus=1, cpus=4, options=options
    )
    made.check(tmp_path)
    text = made._executor._make_submission_file_text("true", "1")
    wanted = ["partition=gpu", "time=2", "mem=16000M", "qos=long", "signal=USR2@30"]
    assert [line for line in wanted if f"#SBATCH --{line}\n" not in text] == []
    assert made.threads == 4
    command = made._executor._make_submission_command(tmp_path / "job.sh")
    assert command[0] == "env" and command[-3:] == [
        f"--job-name={made.queue.name}",
        "--no-requeue",
        f"{tmp_path}/job.sh",
    ]
    assert "--unset=SLURM_MEM_PER_NODE" in command and "--unset=SLURM_CONF" not in command


def refusing(slurm, said: str, times: int) -> None:
    """Have sbatch refuse the first jobs with these words."""
    sbatch = slurm.commands / "sbatch"
    first, _, rest = sbatch.read_text().partition("\n")
    count = f'n=$(cat "{slurm.calls}/refused" 2> /dev/null | wc -l)'
    refuse = f'echo {said} | tee -a "{slurm.calls}/refused" >&2; exit 1'
    sbatch.write_text(f"{first}\n{count}\nif [ $n -lt {times} ]; then {refuse}; fi\n{rest}")


def test_a_slurm_that_is_out_of_reach_for_a_while_costs_no_trial_a_try(slurm, tmp_path, caplog):
    refusing(slurm, "sbatch: error: Unable to contact slurm controller", times=2)
    executor = SlurmExecutor(poll=1)
    executor.check(tmp_path)
    job = Job(
        Segment(0, 0, 0, 1.0, 0, str(tmp_path), {"trainer": {"num_threads": 1}}, [], {}), (0,)
    )
    assert executor._launch(job) in slurm.jobs()
    assert [r.getMessage() for r in caplog.records] == [
        "SLURM takes no job just now, it is tried again: "
        "sbatch: error: Unable to contact slurm controller"
    ] * 2
    assert [file.name for file in (tmp_path / "jobs").glob("*.pkl")] == ["101_submitted.pkl"]


def test_a_job_that_slurm_refuses_for_good_ends_the_search(slurm, tmp_path):
    refusing(slurm, "sbatch: error: invalid partition specified: gpus", times=9)
    executor = SlurmExecutor(partition="gpus")
    executor.check(tmp_path)
    segment = Segment(0, 0, 0, 1.0, 0, str(tmp_path), {"trainer": {"num_threads": 1}}, [], {})
    result = executor.submit(segment).result(timeout=30)
    assert (result.state, result.failure, result.exit_code) == ("interrupted", MACHINE, 5)
    assert "error[ENV-SLURM] executor=slurm: sbatch: error: invalid partition" in result.error
    assert slurm.jobs() == {}


def test_a_stop_does_not_wait_for_ever_for_a_slurm_that_does_not_answer(
    slurm, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(slurm_module, "SILENCE", 1.0)
    executor = SlurmExecutor(poll=1)
    executor.check(tmp_path)
    (slurm.commands / "squeue").write_text("#!/bin/sh\nexit 1\n")
    job = Job(Segment(0, 0, 0, 1.0, 0, str(tmp_path), {}, [], {}), (0,), handle="777")
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(executor._await, job)
        time.sleep(2)
        assert not waits.done()  # a search that goes on waits
        job.stopped = True
        with pytest.raises(JobLostError, match="SLURM does not answer"):
            waits.result(timeout=30)
    assert "SLURM does not answer: the next start ends job 777" in caplog.text


def test_a_warning_of_the_time_limit_is_heard_by_a_training_alone():
    heard = []
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        listen()
        os.kill(os.getpid(), signal.SIGUSR2)  # while it still imports: it has time left
        signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
        assert heard == []
        os.kill(os.getpid(), signal.SIGUSR2)
        assert heard == [signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_folder_that_others_can_enter_holds_no_pickles(slurm, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs").chmod(0o755)
    with pytest.raises(SafetyError, match="others have access"):
        SlurmExecutor().check(tmp_path)


def test_slurm_is_asked_seldom_and_for_all_jobs_at_once(slurm):
    queue = Queue(poll=60)
    queue.name = "tunesmith-x"
    first, _ = queue.look()
    assert [queue.look()[0] for _ in range(5)] == [first] * 5
    assert len(slurm.called("squeue")) == 1


def test_a_machine_without_slurm_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="no sbatch on this machine"):
        SlurmExecutor().check(tmp_path)


def test_the_number_of_jobs_must_be_said():
    with pytest.raises(ConfigError, match=r"executor\.workers=8"):
        SlurmExecutor(workers="auto")
