"""From the command to its answer: `--help`, `--cfg job`, and the first optimizer step.

    python -m pytest -s -m benchmark tests/benchmarks/test_startup.py

The first step is taken as done when the loss of the second is in metrics.csv: a little late,
never early.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.benchmark_report import report, spread
from support.commands import ROOT, small

STARTED = ["trainer.max_epochs=null", "trainer.max_steps=3", "trainer.limit_val_batches=1"]
STARTED += ["trainer.log_every_n_steps=1", "logger=[tensorboard,csv]", "test=false"]


def seconds(*arguments: str) -> float:
    """Time a whole command."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments], check=True, capture_output=True
    )
    return time.perf_counter() - start


def seconds_to_first_step(folder: Path, *arguments: str) -> float:
    """Time `python train.py` until it has taken a step; the run then ends by itself."""
    before = set(folder.rglob("metrics.csv"))
    command = [sys.executable, str(ROOT / "train.py"), *STARTED, f"paths.runs={folder}"]
    start = time.perf_counter()
    with subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL) as process:
        while not any(has_two_steps(path) for path in set(folder.rglob("metrics.csv")) - before):
            assert process.poll() in (None, 0), "the run failed"
            time.sleep(0.01)
        end = time.perf_counter()
    assert process.returncode == 0
    return end - start


def has_two_steps(path: Path) -> bool:
    return "\n2,train/loss," in path.read_text().replace("\r", "")


def test_a_start_can_be_timed(tmp_path, capsys):
    arguments = [word for word in small(tmp_path) if not word.startswith("paths.")]
    report("startup", first_step=seconds_to_first_step(tmp_path / "runs", *arguments))
    assert '"benchmark": "startup", "first_step": ' in capsys.readouterr().out


@pytest.mark.benchmark
def test_help_and_cfg_job_take_less_than_a_second():
    shown = {"--help": ["--help"], "--cfg job": ["--cfg", "job"]}
    times = {name: [seconds(*words) for _ in range(7)] for name, words in shown.items()}
    report("startup", seconds={name: spread(values) for name, values in times.items()})
    assert max(spread(values)["median"] for values in times.values()) < 1.0


@pytest.mark.benchmark
def test_the_first_step_of_a_run_comes_within_eight_seconds(tmp_path):
    os.sync()  # the disk owes nothing to what ran before
    cold = seconds_to_first_step(tmp_path)
    warm = [seconds_to_first_step(tmp_path) for _ in range(5)]
    report("first step", seconds={"cold": round(cold, 4), "warm": spread(warm)})
    assert spread(warm)["median"] < 8.0
