"""A study on SLURM, whose commands a stand-in plays."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from support.commands import ROOT, small
from support.fake_slurm import StandIn
from support.servers import eventually
from tunesmith.errors import ConfigError, MachineError, SafetyError
from tunesmith.search.executors.slurm import Queue, SlurmExecutor


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
    assert f"job {victim} left no result" in said
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
    study = tmp_path / "one"
    (study / "jobs").mkdir(parents=True, mode=0o700)
    (study / "jobs" / "777_submitted.pkl").touch()
    SlurmExecutor().check(study)
    assert slurm.called("scancel") == ["--name=tunesmith-one 777"]


def test_jobs_ask_for_what_the_config_says(slurm, tmp_path):
    options = {"qos": "long"}
    made = SlurmExecutor(
        partition="gpu", time="90s", memory="16GB", gpus=1, cpus=4, options=options
    )
    made.check(tmp_path)
    text = made._executor._make_submission_file_text("true", "1")
    wanted = ["partition=gpu", "time=2", "mem=16000M", "qos=long", f"job-name={made.queue.name}"]
    assert [line for line in wanted if f"#SBATCH --{line}\n" not in text] == []
    assert made.threads == 4


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
