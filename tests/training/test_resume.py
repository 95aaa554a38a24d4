"""A run that was disturbed and resumed is the undisturbed run, to the bit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BATCHES = {1: 14, 2: 28}  # micro-batches of the run, by accumulation


def disturbed(folder, precision, micro_batches, interval, workers, names):
    """Run the cases in a process of their own; return (undisturbed, {name: case})."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(TESTS / "support" / "kills.py"), str(folder)]
        + [str(v) for v in (precision, micro_batches, interval, workers, *names)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    return told["undisturbed"], told["cases"]


ENDS = {  # exit codes, and the states that are left
    "SIGKILL": (-signal.SIGKILL, ["running"]),
    "SIGTERM": (75, ["interrupted"]),
    "SIGTERM:rows": (-signal.SIGTERM, []),  # before there is a run directory: as any program
    "pause_at_step": (75, ["interrupted"]),
}


def check(folder, precision, micro_batches, interval, workers, **steps):
    """Disturb a run in each of the ways that `steps` names, at each of its steps."""
    names = [f"{kind}:{step}" for kind, its in steps.items() for step in its]
    undisturbed, cases = disturbed(folder, precision, micro_batches, interval, workers, names)
    assert undisturbed["scalars"]["train/loss"]
    assert undisturbed["scalars"]["val/accuracy"]
    assert list(cases) == names
    output = (folder / "output.txt").read_text()
    assert "Traceback" not in output, output[-3000:]
    for name, case in cases.items():
        code, left = ENDS.get(name) or ENDS[name.split(":")[0]]
        assert case.pop("codes") == [code, 0], (name, output[-3000:])
        assert case.pop("left") == left
        assert case == undisturbed, f"{name} differs"


def test_killed_at_any_step_in_bf16_with_everything_on(tmp_path):
    check(tmp_path, "bf16-mixed", 2, 3, 2, SIGKILL=[5])


def test_killed_stopped_and_ended_early_in_fp32(tmp_path):
    terms = [2, "loader", "testing"]  # the two last are places outside of the steps
    writes = ["flushing", "recording"]  # of a checkpoint, by a thread while training goes on
    check(tmp_path, "32", 1, 3, 0, SIGKILL=[0, 4, 13, *writes], SIGTERM=terms, pause_at_step=[3, 7])


@pytest.mark.torture
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_sigterm_at_every_place_outside_of_the_steps(tmp_path, micro_batches):
    places = ["rows", "model", "encoding", "optimizer", "loader", "saving", "testing"]
    check(tmp_path, "32", micro_batches, 3, 0, SIGTERM=places)


@pytest.mark.torture
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("interval", ["1.0", "3"])
@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_every_step(tmp_path, precision, micro_batches, interval, workers):
    check(
        tmp_path, precision, micro_batches, interval, workers, SIGKILL=range(BATCHES[micro_batches])
    )


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["SIGTERM", "pause_at_step"])
def test_every_step_of_a_gentle_end(tmp_path, kind):
    check(tmp_path, "bf16-mixed", 2, 3, 2, **{kind: range(1, 14)})
