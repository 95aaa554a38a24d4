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


def disturbed(folder, precision, accumulate, interval, workers, kind, steps):
    """Run the cases in a process of their own; return (undisturbed, {step: case})."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(TESTS / "kills.py"), str(folder)]
        + [str(v) for v in (precision, accumulate, interval, workers, kind, *steps)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    return told["undisturbed"], told["cases"]


LEFT = {"SIGKILL": ["running"], "SIGTERM": ["interrupted"], "stop_at_step": ["interrupted"]}


def check(folder, precision, accumulate, interval, workers, kind, steps, code):
    undisturbed, cases = disturbed(folder, precision, accumulate, interval, workers, kind, steps)
    assert undisturbed["scalars"]["train/loss"]
    assert undisturbed["scalars"]["val/accuracy"]
    assert len(cases) == len(list(steps))
    output = (folder / "output.txt").read_text()
    assert "Traceback" not in output, output[-3000:]
    for step, case in cases.items():
        assert case.pop("codes") == [code, 0], (step, output[-3000:])
        assert case.pop("left") == ([] if step == "rows" else LEFT[kind])
        assert case == undisturbed, f"{kind} at {step} differs"


def test_killed_at_any_step_in_bf16_with_everything_on(tmp_path):
    check(tmp_path, "bf16-mixed", 2, 3, 2, "SIGKILL", [5, 14], -9)


def test_killed_at_any_step_in_fp32(tmp_path):
    check(tmp_path, "32", 1, 3, 0, "SIGKILL", [0, 3, 4, 7, 13], -9)


def test_sigterm_and_an_early_end_go_on_to_the_bit(tmp_path):
    check(tmp_path, "32", 1, 3, 0, "SIGTERM", [2, 6], 75)
    check(tmp_path, "32", 1, 3, 0, "stop_at_step", [3, 5, 7], 75)


def test_sigterm_outside_of_the_steps_leaves_a_run_that_goes_on_to_the_bit(tmp_path):
    check(tmp_path, "32", 2, 3, 0, "SIGTERM", ["model", "loader", "testing"], 75)


@pytest.mark.torture
def test_sigterm_at_every_place_outside_of_the_steps(tmp_path):
    check(tmp_path, "32", 1, 3, 0, "SIGTERM", ["rows"], -signal.SIGTERM)
    places = ["model", "encoding", "optimizer", "loader", "saving", "testing"]
    check(tmp_path, "32", 1, 3, 0, "SIGTERM", places, 75)


@pytest.mark.torture
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("interval", ["1.0", "3"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_every_step(tmp_path, precision, accumulate, interval, workers):
    steps = range(BATCHES[accumulate])
    check(tmp_path, precision, accumulate, interval, workers, "SIGKILL", steps, -9)


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["SIGTERM", "stop_at_step"])
def test_every_step_of_a_gentle_end(tmp_path, kind):
    check(tmp_path, "bf16-mixed", 2, 3, 2, kind, range(1, 14), 75)
