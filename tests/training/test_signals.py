"""A run that is told to leave before it has begun to learn: no traceback, and it can go on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from support.commands import ROOT, only_run, small


@pytest.fixture
def started(tmp_path):
    """A run that has just been started, as a user starts one."""
    command = [sys.executable, str(ROOT / "train.py"), *small(tmp_path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        yield process
        process.kill()


def test_sigterm_before_there_is_a_directory_leaves_nothing(started, tmp_path):
    time.sleep(0.3)  # somewhere in its imports
    started.terminate()
    said = started.communicate(timeout=60)
    assert (started.returncode, *said) == (-signal.SIGTERM, "", "")
    assert not (tmp_path / "runs").exists()


def test_sigterm_as_soon_as_there_is_a_directory_is_recorded(started, tmp_path):
    status = []
    while not status and started.poll() is None:
        time.sleep(0.01)
        status = list(tmp_path.glob("runs/default/*/status.json"))
    started.terminate()
    _, said = started.communicate(timeout=120)
    run = only_run(tmp_path)
    assert started.returncode == 75, said
    assert json.loads((run / "status.json").read_text())["state"] == "interrupted"
    assert f"go on with resume={run}" in said
    assert "Traceback" not in said


def test_a_second_sigterm_is_the_first_and_a_second_ctrl_c_leaves_at_once():
    script = """
import os, signal, sys
from tunesmith.training.signals import StopOnSignal
asked = []
with StopOnSignal(lambda: asked.append(1)):
    for _ in range(2):  # of SLURM: to the task itself, and through srun
        os.kill(os.getpid(), signal.SIGTERM)
    print(len(asked), flush=True)
    os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "2\n")
