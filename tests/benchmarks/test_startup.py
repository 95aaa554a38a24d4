"""From the command to its answer: `--help`, `--cfg job`, and the first optimizer step.

python -m pytest -s -m benchmark tests/benchmarks/test_startup.py
"""

import os
import subprocess
import sys
import time

import pytest

from support.benchmark_report import report, spread
from support.commands import ROOT, small
from support.first_step import first_step


def seconds(*arguments: str) -> float:
    """Time a whole command."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments], check=True, capture_output=True
    )
    return time.perf_counter() - start


def test_a_start_can_be_timed(tmp_path, capsys):
    arguments = [word for word in small(tmp_path) if not word.startswith("paths.")]
    started = first_step(tmp_path / "runs", *arguments)
    report("startup", first_step=started.seconds)
    assert '"benchmark": "startup", "first_step": ' in capsys.readouterr().out
    assert 100 < started.peak_mb < 4000


@pytest.mark.benchmark
def test_help_and_cfg_job_take_less_than_a_second():
    shown = {"--help": ["--help"], "--cfg job": ["--cfg", "job"]}
    times = {name: [seconds(*words) for _ in range(7)] for name, words in shown.items()}
    report("startup", seconds={name: spread(values) for name, values in times.items()})
    assert max(spread(values)["median"] for values in times.values()) < 1.0


@pytest.mark.benchmark
def test_the_first_step_of_a_run_comes_within_eight_seconds(tmp_path):
    os.sync()  # the disk owes nothing to what ran before
    cold = first_step(tmp_path).seconds
    warm = [first_step(tmp_path).seconds for _ in range(5)]
    report("first step", seconds={"cold": round(cold, 4), "warm": spread(warm)})
    assert spread(warm)["median"] < 8.0
